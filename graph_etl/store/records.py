"""What goes into a graph store and comes out of it: plain records, without any engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Entity:
    """One node: its deterministic id, its type (a node_label in the store) and its name."""

    entity_id: str
    entity_type: str
    name: str


@dataclass(frozen=True)
class Neighbor:
    """An entity one relationship away.

    Attributes:
        relation: Relation of the triple that joins the two.
        outgoing: True where the neighbor is the tail of that triple, False where it is the head.
        entity: The neighbor.
    """

    relation: str
    outgoing: bool
    entity: Entity


@dataclass(frozen=True)
class Step:
    """One relationship of a path; ``outgoing`` where the path follows it from head to tail."""

    relation: str
    outgoing: bool


@dataclass(frozen=True)
class GraphPath:
    """A simple path: no entity stands twice.

    Attributes:
        entities: length + 1 of them, from the asked start to the asked end.
        steps: ``steps[i]`` joins ``entities[i]`` and ``entities[i + 1]``.
    """

    entities: tuple[Entity, ...]
    steps: tuple[Step, ...]

    @property
    def length(self) -> int:
        """Number of relationships."""
        return len(self.steps)


@dataclass(frozen=True)
class QueryResult:
    """The answer to a read query.

    Nodes come as {"labels": [...], "properties": {...}}, relationships as {"type": ...,
    "properties": {...}}, paths as {"nodes": [...], "relationships": [...]}; other values as plain
    Python ones.

    Attributes:
        columns: Names of the returned columns, in order; empty where no row came back and the
            engine does not say.
        rows: At most ``max_rows`` of them, column -> value.
        truncated: Whether the query had more rows than that.
        warnings: What the engine remarks, an unknown label for example.
    """

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    truncated: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriteSummary:
    """What one ``write`` changed; a second write of the same data changes nothing.

    Attributes:
        nodes_created, nodes_updated, nodes_deleted: Entities; an entity whose type changed counts
            as one deleted and one created.
        relationships_created, relationships_updated, relationships_deleted: Triples.
        relation_types_changed: Rows of relation_types written or deleted.
        unchanged: Entities and triples that were already as given.
        duplicates: Triples left out because the same (head, relation, tail) was given with at
            least the same confidence.
    """

    nodes_created: int = 0
    nodes_updated: int = 0
    nodes_deleted: int = 0
    relationships_created: int = 0
    relationships_updated: int = 0
    relationships_deleted: int = 0
    relation_types_changed: int = 0
    unchanged: int = 0
    duplicates: int = 0

    @property
    def writes(self) -> int:
        """Number of changes made in the store; 0 says that it already held the data."""
        return (
            self.nodes_created
            + self.nodes_updated
            + self.nodes_deleted
            + self.relationships_created
            + self.relationships_updated
            + self.relationships_deleted
            + self.relation_types_changed
        )


@dataclass(frozen=True)
class StoreCounts:
    """Sizes of the graph.

    Attributes:
        entities: Entity type -> number of nodes, ordered by name; types without a node are absent.
        relations: Relation -> number of relationships, over all its patterns, ordered by name;
            declared relations without a relationship stand with 0.
    """

    entities: Mapping[str, int]
    relations: Mapping[str, int]

    @property
    def num_entities(self) -> int:
        """Number of nodes."""
        return sum(self.entities.values())

    @property
    def num_triples(self) -> int:
        """Number of relationships."""
        return sum(self.relations.values())


@dataclass(frozen=True)
class GraphTables:
    """The graph as the frames that a snapshot holds.

    Attributes:
        entities, relation_types, triples: Columns as ``graph_etl.snapshot.TABLES`` says; indexes
            are dense row numbers.
    """

    entities: pl.DataFrame
    relation_types: pl.DataFrame
    triples: pl.DataFrame
