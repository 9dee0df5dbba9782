"""Finding what an answer says in the text that it was said of; what is not there is rejected.

Whitelists and limits are checked for every engine alike in extraction/validation.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

from graph_etl.extraction.grounding import FoldedText, folded
from graph_etl.extraction.llm.answers import SaidAnswer, SaidTriple
from graph_etl.extraction.llm.parts import sentence_around
from graph_etl.extraction.llm.prompt import SUBJECT
from graph_etl.extraction.records import (
    Document,
    ExtractedTriple,
    Extraction,
    Mention,
    Rejection,
    Span,
)
from graph_etl.extraction.validation import rejection
from graph_etl.graph_schema import GraphSchema

_OCCURRENCES = 20  # of one name that are looked at, from the left
_MOST_SAID = 500  # entities, and triples, of one answer that are looked at


@dataclass
class _Found:
    """What stands in the text so far.

    Attributes:
        text: The part that was shown.
        plain: The same, normalised.
        mentions: Each once, in the order they were found.
        places: A mention's index in ``mentions``.
    """

    text: str
    plain: FoldedText
    confidence: float
    mentions: list[Mention] = field(default_factory=list)
    triples: list[ExtractedTriple] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    places: dict[tuple[Span, str], int] = field(default_factory=dict)

    def reject(self, reason: str, *said: str) -> None:
        self.rejected.append(rejection(reason, " | ".join(said)))

    def mention(self, span: Span, entity_type: str) -> int:
        """Return the index of a mention, new or not."""
        place = self.places.setdefault((span, entity_type), len(self.mentions))
        if place == len(self.mentions):
            self.mentions.append(Mention(*span, entity_type, self.confidence))
        return place

    def places_of(self, name: str, within: Span | None = None) -> list[Span]:
        return list(islice(self.plain.occurrences(name, within), _OCCURRENCES))


def grounded(
    document: Document, text: str, said: SaidAnswer, schema: GraphSchema, confidence: float
) -> Extraction:
    """Return what of an answer stands in a text, positions counted from the text's start.

    Every occurrence of a name that was said is a mention, but for those inside a longer name. A
    triple takes the two occurrences that stand nearest to each other, within its evidence where
    both are there. The subject is meant by its sign, or by its name and type.

    Args:
        document: Whose text it is.
        text: What the model was shown.
        said: What it answered.
        schema: The whitelist.
        confidence: Of all that is found.
    """
    found = _Found(text, folded(text), confidence)
    types: dict[str, list[str]] = {}  # normalised name -> the types it was said to have
    longest_first = sorted(said.entities[:_MOST_SAID], key=lambda one: -len(one.name))
    longest = [0] * len(text)  # length of the longest name over each character
    for entity in longest_first:
        types.setdefault(folded(entity.name).text, []).append(entity.type)
        if entity.name == SUBJECT:
            continue
        spans = found.places_of(entity.name)
        free = [
            (start, end)
            for start, end in spans
            if min(longest[start], longest[end - 1]) <= end - start
        ]
        if not spans:
            found.reject("no_evidence", entity.name, entity.type)
        for span in free or spans[:1]:
            found.mention(span, entity.type)
        for start, end in spans:
            longest[start:end] = [max(one, end - start) for one in longest[start:end]]
    for triple in said.triples[:_MOST_SAID]:
        _take(found, triple, types, document, schema)
    for what, number in (("entities", len(said.entities)), ("triples", len(said.triples))):
        if number > _MOST_SAID:
            found.reject("too_many", f"{number - _MOST_SAID} further {what}")
    return Extraction(
        document.doc_id, tuple(found.mentions), tuple(found.triples), tuple(found.rejected)
    )


def joined(doc_id: str, parts: Iterable[tuple[int, Extraction]]) -> Extraction:
    """Return the extractions of parts of a text as one of the whole, each with its offset."""
    mentions: list[Mention] = []
    triples: list[ExtractedTriple] = []
    rejected: list[Rejection] = []
    for offset, part in parts:
        before = len(mentions)
        mentions += [
            Mention(one.start + offset, one.end + offset, one.entity_type, one.confidence)
            for one in part.mentions
        ]
        for one in part.triples:
            head, tail = (None if end is None else end + before for end in (one.head, one.tail))
            evidence = (one.evidence[0] + offset, one.evidence[1] + offset)
            triples.append(ExtractedTriple(head, one.relation, tail, evidence, one.confidence))
        rejected += part.rejected
    order = sorted(range(len(mentions)), key=lambda at: _order(mentions[at]))
    rank = {at: place for place, at in enumerate(order)}
    return Extraction(
        doc_id,
        tuple(mentions[at] for at in order),
        tuple(
            ExtractedTriple(
                None if one.head is None else rank[one.head],
                one.relation,
                None if one.tail is None else rank[one.tail],
                one.evidence,
                one.confidence,
            )
            for one in triples
        ),
        tuple(rejected),
    )


def _take(
    found: _Found,
    triple: SaidTriple,
    types: dict[str, list[str]],
    document: Document,
    schema: GraphSchema,
) -> None:
    said = (triple.head, triple.relation, triple.tail)
    pattern = _pattern_of(triple, types, document, schema)
    if pattern is None:
        found.reject("unknown_pattern", *said)
        return
    evidence = found.plain.find(triple.evidence)
    if triple.evidence.strip() and evidence is None:
        found.reject("no_evidence", *said, triple.evidence)
        return
    head_type, relation, tail_type = pattern
    heads = _ends(found, triple.head, head_type, document, evidence)
    tails = _ends(found, triple.tail, tail_type, document, evidence)
    if not heads or not tails or heads == tails == [None]:
        found.reject("no_evidence", *said)
        return
    head, tail = min(product(heads, tails), key=_distance)
    spans = [span for span in (head, tail) if span is not None]
    if evidence is None:
        both = (min(one[0] for one in spans), max(one[1] for one in spans))
        evidence = sentence_around(found.text, both)
    found.triples.append(
        ExtractedTriple(
            None if head is None else found.mention(head, head_type),
            relation,
            None if tail is None else found.mention(tail, tail_type),
            evidence,
            found.confidence,
        )
    )


def _pattern_of(
    triple: SaidTriple, types: dict[str, list[str]], document: Document, schema: GraphSchema
) -> tuple[str, str, str] | None:
    """Return the whitelisted pattern that a triple means; None where there is none."""
    for one in schema.relation_types:
        whole = " ".join(one.pattern) == triple.relation
        if whole and all(
            name != SUBJECT or kind == document.subject_type
            for name, kind in ((triple.head, one.head), (triple.tail, one.tail))
        ):
            return one.pattern
        if (
            one.relation == triple.relation
            and one.head in _types_of(triple.head, types, document)
            and one.tail in _types_of(triple.tail, types, document)
        ):
            return one.pattern
    return None


def _types_of(name: str, types: dict[str, list[str]], document: Document) -> Sequence[str]:
    if name == SUBJECT:
        return [document.subject_type] if document.subject_type else []
    return types.get(folded(name).text, [])


def _ends(
    found: _Found, name: str, kind: str, document: Document, evidence: Span | None
) -> list[Span] | list[None]:
    """Return where an end of a triple may stand; [None] is the subject, [] nowhere."""
    if name == SUBJECT or (
        kind == document.subject_type
        and document.subject_name
        and folded(name).text == folded(document.subject_name).text
    ):
        return [None]
    within = found.places_of(name, evidence) if evidence else []
    return within or found.places_of(name)


def _distance(ends: tuple[Span | None, Span | None]) -> tuple[bool, int, int]:
    """Return how far apart two ends are; those that overlap come last."""
    head, tail = ends
    if head is None or tail is None:
        return (False, 0, (head or tail or (0, 0))[0])
    gap = max(head[0], tail[0]) - min(head[1], tail[1])
    return (gap < 0, abs(gap), head[0])


def _order(mention: Mention) -> tuple[int, int, str]:
    return (mention.start, mention.end, mention.entity_type)
