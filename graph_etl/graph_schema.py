"""Entity types and whitelisted (head, relation, tail) patterns, and checking triples against them.

The one declaration that stores, extraction and validation are derived from; it reads no tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import polars as pl
import yaml
from pydantic import ValidationError, field_validator, model_validator

from graph_etl.errors import ConfigError, SchemaViolationError
from graph_etl.table_config import FrozenModel

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]*")


class EntityType(FrozenModel):
    """One kind of node."""

    name: str
    """Identifier: a letter, then letters, digits or any of "_.-/"."""
    description: str = ""
    """What it is, in words; extraction prompts show it."""

    _check_name = field_validator("name")(classmethod(lambda cls, value: check_name(value)))


class RelationType(FrozenModel):
    """One allowed pattern (head type, relation, tail type)."""

    relation: str
    """Identifier, the same rule as an entity type's name."""
    head: str
    """Entity type of heads."""
    tail: str
    """Entity type of tails."""
    phrase: str
    """In words, read as "HEAD <phrase> TAIL": "was directed by"."""
    max_tails_per_head: int | None = None
    """Constraint: a head has at most this many tails ("a book has one publisher": 1)."""

    _check_relation = field_validator("relation")(classmethod(lambda cls, value: check_name(value)))

    @property
    def pattern(self) -> tuple[str, str, str]:
        """(head type, relation, tail type), unique in a schema."""
        return (self.head, self.relation, self.tail)


class GraphSchema(FrozenModel):
    """The whitelist of what may stand in the graph."""

    entity_types: list[EntityType]
    """Kinds of nodes."""
    relation_types: list[RelationType]
    """Allowed patterns; their order is that of relation_idx in a snapshot."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [entity.name for entity in self.entity_types]
        _once("entity type", names)
        _once("relation type", [str(relation.pattern) for relation in self.relation_types])
        for relation in self.relation_types:
            for side in (relation.head, relation.tail):
                if side not in names:
                    raise ValueError(
                        f"expected relation '{relation.relation}' to join declared entity types "
                        f"(got '{side}'); declared are {names}"
                    )
        return self

    def check_triples(self, triples: pl.DataFrame, where: str) -> None:
        """Raise where a triple breaks the whitelist or a constraint.

        Args:
            triples: Columns head_id, head_type, relation, tail_id, tail_type, all String.
            where: What the message calls the place the triples come from.

        Raises:
            SchemaViolationError: Naming the first offending triple and what is allowed.
        """
        keys = ["head_type", "relation", "tail_type"]
        allowed = pl.DataFrame(
            [relation.pattern for relation in self.relation_types],
            schema=dict.fromkeys(keys, pl.String()),
            orient="row",
        )
        strange = triples.join(allowed, on=keys, how="anti")
        if strange.height:
            row = strange.row(0, named=True)
            raise SchemaViolationError(
                f"Expected triples of a whitelisted (head, relation, tail) pattern, got "
                f"({row['head_type']}, {row['relation']}, {row['tail_type']}) for "
                f"{row['head_id']} -> {row['tail_id']} in {where}, {strange.height} such triples; "
                f"add the pattern to relation_types of the graph schema or correct the mapping"
            )
        for relation in self.relation_types:
            if relation.max_tails_per_head is not None:
                self._check_cardinality(relation, triples, where)

    def _check_cardinality(self, relation: RelationType, triples: pl.DataFrame, where: str) -> None:
        pattern = dict(zip(("head_type", "relation", "tail_type"), relation.pattern, strict=True))
        same = triples.filter(**pattern)
        counts = same.group_by("head_id").agg(pl.col("tail_id").n_unique().alias("tails"))
        over = counts.filter(pl.col("tails") > relation.max_tails_per_head).sort("head_id")
        if over.height:
            raise SchemaViolationError(
                f"Expected at most {relation.max_tails_per_head} '{relation.relation}' for each "
                f"{relation.head}, got {over['tails'][0]} for {over['head_id'][0]} in {where} "
                f"({over.height} such heads); correct the table or raise max_tails_per_head"
            )


def _once(kind: str, values: list[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"expected each {kind} once (got twice: {', '.join(twice)})")


def check_name(value: str) -> str:
    """Return ``value`` if it can name an entity or relation type, else raise ValueError."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"expected a letter followed by letters, digits or any of '_.-/' (got '{value}')"
        )
    return value


def words_of(relation: str) -> str:
    """Return a relation's name as words: "film.film.actor" gives "film actor".

    >>> words_of("directed_by"), words_of("film.film.actor")
    ('directed by', 'film actor')
    """
    words = re.sub(r"[^A-Za-z0-9]+", " ", relation).strip().lower().split()
    return " ".join(word for i, word in enumerate(words) if i == 0 or word != words[i - 1])


def schema_of(relations: Iterable[RelationType], item_type: str) -> GraphSchema:
    """Return the schema that these relations need, entity types in order of appearance."""
    relations = list(relations)
    sides = [side for relation in relations for side in (relation.head, relation.tail)]
    names = list(dict.fromkeys([item_type, *sides]))
    return GraphSchema(
        entity_types=[EntityType(name=name) for name in names], relation_types=relations
    )


def load_graph_schema(path: Path) -> GraphSchema:
    """Read graph_schema.yaml.

    Raises:
        ConfigError: The file is absent, no YAML, or not a valid schema; the message names it.
    """
    try:
        return GraphSchema.model_validate(yaml.safe_load(path.read_bytes()))
    except FileNotFoundError as error:
        raise ConfigError(
            f"Expected a graph schema at {path}, found none; correct 'graph_schema' in the "
            "dataset's YAML, or leave it out and it is derived from the attributes"
        ) from error
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"Expected a graph schema in {path}, got: {error}") from error
