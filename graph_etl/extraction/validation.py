"""What counts of an answer: spans inside the text, whitelisted types and patterns, within limits.

The same rules for every engine. What does not count is kept with its reason, never dropped in
silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import Field

from graph_etl.extraction.records import (
    Document,
    ExtractedTriple,
    Extraction,
    Mention,
    Rejection,
)
from graph_etl.graph_schema import GraphSchema
from graph_etl.table_config import FrozenModel

REASONS = (
    "no_evidence",  # the quote, or a name in it, does not stand in the text
    "bad_span",  # a range outside the text, or empty
    "long_name",  # a name of more characters than a name has
    "unknown_type",  # an entity type that the schema has not
    "unknown_pattern",  # a (head, relation, tail) that the schema has not
    "self_loop",  # head and tail are one
    "low_confidence",  # below the threshold
    "too_many",  # more than one document may say
)
_SAID_CHARACTERS = 200


class ExtractionLimits(FrozenModel):
    """What a document's answer must keep to."""

    min_confidence: float = Field(default=0.5, ge=0, le=1)
    """Triples and mentions below it do not count."""
    max_mentions: int = Field(default=200, ge=1)
    """Most mentions of one document; the surest stay."""
    max_triples: int = Field(default=60, ge=1)
    """Most triples of one document; the surest stay."""
    max_name_characters: int = Field(default=120, ge=1)
    """Longest name of an entity."""


@dataclass
class _Kept:
    """What counts so far, and what does not."""

    mentions: dict[int, Mention] = field(default_factory=dict)  # by index of the answer
    triples: list[ExtractedTriple] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    def reject(self, reason: str, said: str) -> None:
        self.rejected.append(rejection(reason, said))


def rejection(reason: str, said: str) -> Rejection:
    """Return a rejection with what was said cut to a readable length."""
    if reason not in REASONS:
        raise ValueError(f"Expected a reason among {REASONS}, got '{reason}'")
    return Rejection(reason, said if len(said) <= _SAID_CHARACTERS else said[:_SAID_CHARACTERS])


def validated(
    document: Document, extraction: Extraction, schema: GraphSchema, limits: ExtractionLimits
) -> Extraction:
    """Return what counts of an engine's extraction, with what does not among the rejected.

    Mentions come out ordered by start, end and type, each once; of equal triples the surest stays.

    Args:
        document: What was read.
        extraction: What the engine said of it.
        schema: The whitelist.
        limits: How sure, how many, how long.
    """
    kept = _Kept(rejected=list(extraction.rejected))
    for index, mention in enumerate(extraction.mentions):
        _take_mention(kept, index, mention, document, schema, limits)
    for triple in extraction.triples:
        _take_triple(kept, triple, document, extraction, schema, limits)
    return _packed(kept, document, limits)


def _take_mention(
    kept: _Kept,
    index: int,
    mention: Mention,
    document: Document,
    schema: GraphSchema,
    limits: ExtractionLimits,
) -> None:
    name = document.text[max(mention.start, 0) : max(mention.end, 0)]
    said = f"{name} ({mention.entity_type})"
    inside = 0 <= mention.start < mention.end <= len(document.text)
    if not inside or not name.strip() or "\0" in name:
        kept.reject("bad_span", f"{mention.span} {said}")
    elif mention.end - mention.start > limits.max_name_characters:
        kept.reject("long_name", said)
    elif all(mention.entity_type != one.name for one in schema.entity_types):
        kept.reject("unknown_type", said)
    elif mention.confidence < limits.min_confidence:
        kept.reject("low_confidence", said)
    else:
        kept.mentions[index] = mention


def _take_triple(
    kept: _Kept,
    triple: ExtractedTriple,
    document: Document,
    extraction: Extraction,
    schema: GraphSchema,
    limits: ExtractionLimits,
) -> None:
    said = triple_text(document, extraction, triple)
    ends = [end for end in (triple.head, triple.tail) if end is not None]
    if not ends or any(not 0 <= end < len(extraction.mentions) for end in ends):
        kept.reject("no_evidence", said)
        return
    if any(end not in kept.mentions for end in ends):
        return  # its mention was rejected, with the reason
    start, stop = triple.evidence
    pattern = (
        _type(document, extraction, triple.head),
        triple.relation,
        _type(document, extraction, triple.tail),
    )
    if not 0 <= start < stop <= len(document.text):
        kept.reject("no_evidence", said)
    elif all(pattern != one.pattern for one in schema.relation_types):
        kept.reject("unknown_pattern", said)
    elif pattern[0] == pattern[2] and (
        _name(document, extraction, triple.head) == _name(document, extraction, triple.tail)
    ):
        kept.reject("self_loop", said)
    elif triple.confidence < limits.min_confidence:
        kept.reject("low_confidence", said)
    else:
        kept.triples.append(triple)


def _packed(kept: _Kept, document: Document, limits: ExtractionLimits) -> Extraction:
    """Return what is kept in canonical order, numbered anew, within the limits of number."""
    unique: dict[tuple[int, int, str], Mention] = {}
    for mention in sorted(kept.mentions.values(), key=_surest):
        unique.setdefault((mention.start, mention.end, mention.entity_type), mention)
    surest = list(unique.values())[: limits.max_mentions]
    for mention in list(unique.values())[limits.max_mentions :]:
        kept.reject("too_many", document.text[mention.start : mention.end])
    ordered = sorted(surest, key=lambda one: (one.start, one.end, one.entity_type))
    place = {(one.start, one.end, one.entity_type): i for i, one in enumerate(ordered)}

    def renumbered(end: int | None) -> int | None:
        if end is None:
            return None
        mention = kept.mentions[end]
        return place.get((mention.start, mention.end, mention.entity_type), -1)

    triples: dict[tuple[int | None, str, int | None], ExtractedTriple] = {}
    for triple in sorted(kept.triples, key=lambda one: -one.confidence):
        head, tail = renumbered(triple.head), renumbered(triple.tail)
        if -1 in (head, tail):
            kept.reject("too_many", f"{triple.relation}, with a mention too many")
        else:
            moved = ExtractedTriple(head, triple.relation, tail, triple.evidence, triple.confidence)
            triples.setdefault((head, triple.relation, tail), moved)
    for triple in list(triples.values())[limits.max_triples :]:
        kept.reject("too_many", triple.relation)
    return Extraction(
        document.doc_id,
        tuple(ordered),
        tuple(list(triples.values())[: limits.max_triples]),
        tuple(kept.rejected),
    )


def triple_text(document: Document, extraction: Extraction, triple: ExtractedTriple) -> str:
    """Return a triple in words: "Alien | set_in | space"."""
    head = _name(document, extraction, triple.head)
    return f"{head} | {triple.relation} | {_name(document, extraction, triple.tail)}"


def _name(document: Document, extraction: Extraction, end: int | None) -> str:
    if end is None:
        return document.subject_name or document.subject_id or document.doc_id
    if not 0 <= end < len(extraction.mentions):
        return f"mention {end}"
    mention = extraction.mentions[end]
    return document.text[mention.start : mention.end]


def _type(document: Document, extraction: Extraction, end: int | None) -> str:
    return document.subject_type if end is None else extraction.mentions[end].entity_type


def _surest(mention: Mention) -> tuple[float, int, int, str]:
    return (-mention.confidence, mention.start, mention.end, mention.entity_type)


def rejections_by_reason(extractions: Iterable[Extraction]) -> dict[str, int]:
    """Return how often each reason occurs, those that do, in the order of REASONS."""
    counts = dict.fromkeys(REASONS, 0)
    for extraction in extractions:
        for one in extraction.rejected:
            counts[one.reason] += 1
    return {reason: count for reason, count in counts.items() if count}
