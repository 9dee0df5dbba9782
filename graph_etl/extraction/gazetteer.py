"""The engine "gazetteer": names of entities that the graph knows, found in texts.

A mention is a known name; a triple is what the graph knows of the document's subject and a found
name already (confidence 1), or what ``relates`` says of names of a type. How names are found is
name_index.py's (exactly) and near_names.py's (nearly) business.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

import polars as pl

from graph_etl.errors import ConfigError
from graph_etl.extraction.bert.words import sentences_of, words_of
from graph_etl.extraction.config import GazetteerConfig
from graph_etl.extraction.extractor import Extractor, Request
from graph_etl.extraction.grounding import folded
from graph_etl.extraction.name_index import Found, NameIndex, apart, normalised
from graph_etl.extraction.near_names import NearNames
from graph_etl.extraction.records import (
    Answer,
    Document,
    ExtractedTriple,
    Extraction,
    Mention,
    Span,
)
from graph_etl.graph_schema import GraphSchema

VERSION = 1
"""Of the rules here; a change of them asks about every text anew."""
KNOWN = 1.0
"""Confidence of what the graph says already."""
RELATED = 0.7
"""Confidence that a name in a text stands in the relation that ``relates`` gives to its type."""
MAX_NAME_CHARACTERS = 200
"""Longer names are not looked for."""

_Entity = tuple[str, str]  # entity type, entity id


class GazetteerExtractor(Extractor):
    """Finds names that the graph knows.

    Of overlapping names the longest counts, then the first. A name of several entity types is of
    the type that the graph relates to the document's subject; where it relates none, or several,
    there is a mention of each, their confidence divided by their number. The subject itself is no
    mention. A name that is spelled otherwise has its similarity for confidence.

    Args:
        config: The settings.
        schema: What may be extracted.
        names: Columns entity_id, entity_type, name.
        triples: Columns head_id, relation, tail_id: what the graph knows.

    Raises:
        ConfigError: An entity type of the settings is not in the schema, or ``relates`` names a
            relation that no subject has with that type.
    """

    engine = "gazetteer"

    def __init__(
        self,
        config: GazetteerConfig,
        schema: GraphSchema,
        names: pl.DataFrame,
        triples: pl.DataFrame,
    ) -> None:
        self._config = config
        self._patterns = frozenset(one.pattern for one in schema.relation_types)
        declared = [one.name for one in schema.entity_types]
        _check(config, declared, self._patterns)
        wanted = names.filter(pl.col("entity_type").is_in(config.entity_types or declared))
        self._entities = _entities(wanted, config)
        self._known = _known(triples, wanted, {relation for _, relation, _ in self._patterns})
        self._index = NameIndex(self._entities)
        self._near = None if config.fuzzy is None else NearNames(self._entities, least=config.fuzzy)
        self.model = f"names-{self.fingerprint[:12]}"

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the settings, the names and what the graph knows of them."""
        digest = hashlib.sha256()
        settings = self._config.model_dump(exclude={"unsure_below"})
        for part in (
            [VERSION, settings, sorted(self._patterns)],
            [(name, sorted(entities)) for name, entities in sorted(self._entities.items())],
            [(key, sorted(relations)) for key, relations in sorted(self._known.items())],
        ):
            digest.update(json.dumps(part, sort_keys=True).encode())
        return digest.hexdigest()

    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Yield what is found in each document, in their order; none fails."""
        for request in requests:
            document = request.document
            yield Answer(document.doc_id, "", extraction=self._extraction(document))

    def _extraction(self, document: Document) -> Extraction:
        mentions: dict[Mention, set[str]] = {}  # with the ids it may mean
        for found in self._places(document.text):
            meant = self._meant(document, found.name)
            for entity_type, ids in meant.items():
                sure = found.similarity / len(meant)
                mentions[Mention(found.start, found.end, entity_type, sure)] = ids
        ordered = sorted(mentions, key=lambda one: (one.start, one.end, one.entity_type))
        triples = self._triples(document, ordered, [mentions[one] for one in ordered])
        return Extraction(document.doc_id, tuple(ordered), tuple(triples))

    def _places(self, text: str) -> list[Found]:
        """Return names that do not overlap: exact ones, then the nearest."""
        exact = self._index.longest_in(folded(text))
        if self._near is None:
            return exact
        near = sorted(self._near.all_in(text), key=lambda one: (-one.similarity, one.start))
        return exact + apart(near, [(one.start, one.end) for one in exact])

    def _meant(self, document: Document, name: str) -> dict[str, set[str]]:
        """Return the entity types that a name may have in a document, with the ids of each."""
        meant: dict[str, set[str]] = defaultdict(set)
        for entity_type, entity_id in self._entities[name]:
            if entity_id != document.subject_id:
                meant[entity_type].add(entity_id)
        related = {
            entity_type: ids
            for entity_type, ids in meant.items()
            if any((document.subject_id, entity_id) in self._known for entity_id in ids)
        }
        return related or meant

    def _triples(
        self, document: Document, mentions: Sequence[Mention], ids: Sequence[set[str]]
    ) -> Iterator[ExtractedTriple]:
        """Yield each relation of the subject with each thing once, by its longest mention."""
        best: dict[tuple[str, str, frozenset[str]], tuple[int, float]] = {}
        for place, mention in enumerate(mentions):
            for relation, confidence in self._relations(document, mention, ids[place]):
                key = (relation, mention.entity_type, frozenset(ids[place]))
                other = best.get(key)
                if other is None or _length(mention) > _length(mentions[other[0]]):
                    best[key] = (place, confidence)
        sentences = _sentences(document.text) if best else []
        for (relation, _, _), (place, confidence) in best.items():
            evidence = _around(mentions[place].span, sentences)
            yield ExtractedTriple(None, relation, place, evidence, confidence)

    def _relations(
        self, document: Document, mention: Mention, ids: set[str]
    ) -> Iterator[tuple[str, float]]:
        known = set().union(*(self._known.get((document.subject_id, one), ()) for one in ids))
        for relation in sorted(known):
            if (document.subject_type, relation, mention.entity_type) in self._patterns:
                yield relation, KNOWN * mention.confidence
        relation = self._config.relates.get(mention.entity_type, "")
        pattern = (document.subject_type, relation, mention.entity_type)
        if relation not in known and pattern in self._patterns:
            yield relation, RELATED * mention.confidence


def _check(
    config: GazetteerConfig, declared: Sequence[str], patterns: frozenset[tuple[str, str, str]]
) -> None:
    strange = sorted(set(config.entity_types or ()) - set(declared))
    if strange:
        raise ConfigError(
            f"Expected entity_types of the gazetteer among {list(declared)}, got '{strange[0]}'; "
            "add the type to the extraction's schema or take it out"
        )
    for tail, relation in config.relates.items():
        if all(pattern[1:] != (relation, tail) for pattern in patterns):
            raise ConfigError(
                f"Expected 'relates' of the gazetteer to name a relation of the schema with tail "
                f"'{tail}', got '{relation}'; add the pattern to the extraction's schema or take "
                "it out"
            )


def _entities(names: pl.DataFrame, config: GazetteerConfig) -> dict[str, set[_Entity]]:
    """Return the entities of each name that is looked for."""
    dropped = {normalised(name) for name in config.drop}
    entities: dict[str, set[_Entity]] = defaultdict(set)
    columns = names.select("name", "entity_type", "entity_id").drop_nulls().iter_rows()
    for name, entity_type, entity_id in columns:
        key = normalised(name) if len(name) <= MAX_NAME_CHARACTERS else ""
        if key not in dropped and config.min_characters <= len(key) <= MAX_NAME_CHARACTERS:
            entities[key].add((entity_type, entity_id))
    return dict(entities)


def _known(
    triples: pl.DataFrame, names: pl.DataFrame, relations: set[str]
) -> dict[tuple[str, str], set[str]]:
    """Return the relations between each head and each entity whose name is looked for."""
    known: dict[tuple[str, str], set[str]] = defaultdict(set)
    useful = triples.filter(pl.col("relation").is_in(sorted(relations))).join(
        names.select(tail_id="entity_id").unique(), on="tail_id", how="semi"
    )
    for head, relation, tail in useful.select("head_id", "relation", "tail_id").iter_rows():
        known[head, tail].add(relation)
    return dict(known)


def _sentences(text: str) -> list[Span]:
    """Return where the sentences of a text stand."""
    words = words_of(text)
    return [(words[first][0], words[end - 1][1]) for first, end in sentences_of(text, words)]


def _around(span: Span, sentences: Sequence[Span]) -> Span:
    """Return the sentences that a mention stands in, from the first to the last."""
    touched = [one for one in sentences if one[0] < span[1] and span[0] < one[1]]
    if not touched:
        return span
    return (min(span[0], touched[0][0]), max(span[1], touched[-1][1]))


def _length(mention: Mention) -> int:
    return mention.end - mention.start
