"""Labels from a graph: names that it knows are mentions, triples that it knows are relations.

A graph is not whole, so what it does not know is not taken to be false: a stretch that looks like
a name and is none that the graph has is unknown, and of the subject's relations only those count
of which the graph knows some (local closed world).

Source: Mintz et al., Distant supervision for relation extraction without labeled data, ACL 2009;
Dong et al., Knowledge Vault, KDD 2014, section 3.2 (the local closed world). What differs: labels
are of single texts, and unlabelled names are left out of the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graph_etl.extraction.bert.words import sentences_of, shape_of, words_of
from graph_etl.extraction.gold import GoldDocument, GoldRelation
from graph_etl.extraction.records import Document, Mention, Span
from graph_etl.graph_schema import GraphSchema

_NAME_SHAPES = (1, 2, 3, 5)  # Capital, UPPER, miXed, l3tters


@dataclass(frozen=True, slots=True)
class KnownTriple:
    """A triple of the graph, by entity ids."""

    head_id: str
    relation: str
    tail_id: str


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names of the graph's entities.

    Attributes:
        entity_ids: Name -> ids of the entities that have it.
        entity_types: Entity id -> its type.
        longest: Words of the longest name.
    """

    entity_ids: Mapping[tuple[str, ...], tuple[str, ...]]
    entity_types: Mapping[str, str]
    longest: int

    @classmethod
    def of(cls, entities: Iterable[tuple[str, str, str]]) -> KnownNames:
        """Return the names of (entity_id, entity_type, name) rows."""
        ids: dict[tuple[str, ...], list[str]] = {}
        types: dict[str, str] = {}
        for entity_id, entity_type, name in entities:
            words = tuple(name[start:end] for start, end in words_of(name))
            if words:
                ids.setdefault(words, []).append(entity_id)
                types[entity_id] = entity_type
        longest = max(map(len, ids), default=0)
        return cls({name: tuple(one) for name, one in ids.items()}, types, longest)


@dataclass
class _Facts:
    tails: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def add(self, triple: KnownTriple) -> None:
        self.tails.setdefault((triple.head_id, triple.relation), set()).add(triple.tail_id)


def silver_documents(
    documents: Sequence[Document],
    entities: Iterable[tuple[str, str, str]],
    triples: Iterable[KnownTriple],
    schema: GraphSchema,
) -> list[GoldDocument]:
    """Return documents with the labels that a graph gives them.

    - A name of the graph, written as it stands there, is a mention where all entities of that name
      are of one type of the schema; of overlapping ones the longest counts, then the first.
    - A relation of the schema holds where the graph has the triple. Whether one holds that it has
      not is unsure, unless the graph knows another tail of that head and relation.
    - Capitalised words that are none of these mentions are unknown, but for the commonest words at
      the start of an English sentence; nothing else is, and in scripts without case nothing.

    Args:
        documents: The texts; those without subject_id have no relations of the subject.
        entities: (entity_id, entity_type, name) of the graph.
        triples: The graph's triples.
        schema: What may be found.
    """
    names = KnownNames.of(entities)
    facts = _Facts()
    for triple in triples:
        facts.add(triple)
    types = {one.name for one in schema.entity_types}
    return [_labelled(one, names, facts, schema, types) for one in documents]


def _labelled(
    document: Document, names: KnownNames, facts: _Facts, schema: GraphSchema, types: set[str]
) -> GoldDocument:
    words = words_of(document.text)
    found = _known_names(document.text, words, names, types)
    mentions = tuple(Mention(*span, entity_type) for span, entity_type, _ in found)
    holding, unsure = [], set()
    ends: list[tuple[int | None, str, tuple[str, ...]]] = [
        (place, entity_type, ids) for place, (_, entity_type, ids) in enumerate(found)
    ]
    if document.subject_id and document.subject_type:
        ends.append((None, document.subject_type, (document.subject_id,)))
    for head, head_type, head_ids in ends:
        for tail, tail_type, tail_ids in ends:
            if head == tail:
                continue
            for one in schema.relation_types:
                if (one.head, one.tail) != (head_type, tail_type):
                    continue
                relation = GoldRelation(head, one.relation, tail)
                known = [facts.tails.get((each, one.relation), set()) for each in head_ids]
                if any(tails.intersection(tail_ids) for tails in known):
                    holding.append(relation)
                elif not any(known):
                    unsure.add(relation)
    unknown = _unknown_names(document.text, words, [span for span, _, _ in found])
    return GoldDocument(document, mentions, tuple(holding), unknown, frozenset(unsure))


def _known_names(
    text: str, words: Sequence[Span], names: KnownNames, types: set[str]
) -> list[tuple[Span, str, tuple[str, ...]]]:
    """Return (span, type, entity ids) of the names in a text, from left to right."""
    spelled = [text[start:end] for start, end in words]
    hits: list[tuple[int, int, str, tuple[str, ...]]] = []
    for first in range(len(words)):
        for count in range(min(names.longest, len(words) - first), 0, -1):
            ids = names.entity_ids.get(tuple(spelled[first : first + count]), ())
            kinds = {names.entity_types[one] for one in ids}
            if len(kinds) == 1 and kinds <= types:
                hits.append((first, count, kinds.pop(), ids))
                break
    taken: set[int] = set()
    found = []
    for first, count, entity_type, ids in sorted(hits, key=lambda hit: (-hit[1], hit[0])):
        places = set(range(first, first + count))
        if not places & taken:
            taken |= places
            span = (words[first][0], words[first + count - 1][1])
            found.append((span, entity_type, ids))
    return sorted(found)


def _unknown_names(text: str, words: Sequence[Span], known: Sequence[Span]) -> tuple[Span, ...]:
    """Return words that may belong to a name that the graph has not."""
    covered = {
        place
        for start, end in known
        for place, (first, last) in enumerate(words)
        if first < end and start < last
    }
    starts = {start for start, _ in sentences_of(text, words)}
    return tuple(
        (start, end)
        for place, (start, end) in enumerate(words)
        if place not in covered
        and (shape_of(text[start:end]) in _NAME_SHAPES)
        and not (place in starts and text[start:end].lower() in _OPENERS)
    )


_COMMON = (
    "a an the this that these those it its he his she her they their we our i you in on at of for "
    "from to by with and but or as if when while after before there here what who how why"
)
_OPENERS = frozenset(_COMMON.split())
