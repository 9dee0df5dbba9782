"""The GraphStore interface: one labelled property graph that mirrors a snapshot's triples.

What a store must do; CypherStore does most of it in Cypher, an engine's own module the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, Self

import polars as pl

from graph_etl.store.records import (
    Entity,
    GraphPath,
    GraphTables,
    Neighbor,
    QueryResult,
    StoreCounts,
    WriteSummary,
)

MAX_PATH_LENGTH = 6


class GraphStore(ABC):
    """A store of entities (nodes), triples (relationships) and relation types.

    A node has the label of its entity type, the label ``__Entity__`` and the properties entity_id
    and name; a relationship has the relation as its type and the provenance columns of triples as
    properties; (head, relation, tail) is unique. Each row of relation_types is a node of the
    label ``__RelationType__``. Use it as a context manager.
    """

    @abstractmethod
    def close(self) -> None:
        """Release what the store holds; what ``write`` returned from is already durable."""

    @abstractmethod
    def write(
        self,
        entities: pl.DataFrame,
        relation_types: pl.DataFrame,
        triples: pl.DataFrame,
        *,
        delete_missing: bool = False,
        entity_types: Collection[str] | None = None,
        known: GraphTables | None = None,
        compare: bool = False,
    ) -> WriteSummary:
        """Make the store hold these rows, writing only what differs, in one transaction.

        Args:
            entities: Columns as ``graph_etl.snapshot.TABLES`` says.
            relation_types: The declared patterns, likewise.
            triples: Triples by index into the other two, likewise.
            delete_missing: Whether entities, triples and relation types that the store has and
                the frames have not are deleted, so that the store mirrors the frames.
            entity_types: The entity types that the graph schema declares; None: those that occur.
            known: What the store is believed to hold, the published snapshot for example. A store
                whose own record says that it does may write the difference without reading itself
                back; the result is the same. Others ignore it.
            compare: Read the store back whatever its record says, so that a row that another
                client changed is noticed and put right.

        Returns:
            What changed; ``writes`` is 0 where the store already held everything.

        Raises:
            DataError: A text is null or holds a NUL character, an entity_id is empty or given
                twice, or an index points outside; the message names the row.
            SchemaViolationError: An entity type or a pattern is not declared.
            StoreError: The engine refused, or changed another number of rows than planned; the
                store is as it was before.
        """

    @abstractmethod
    def counts(self) -> StoreCounts:
        """Return the number of nodes by entity type and of relationships by relation."""

    @abstractmethod
    def query(
        self,
        cypher: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 30.0,
        max_rows: int = 1000,
    ) -> QueryResult:
        """Run one read-only Cypher query.

        Args:
            cypher: One statement. Clauses that write, LOAD CSV and procedures outside
                ``read_guard.ALLOWED_PROCEDURES`` are refused.
            parameters: Values of ``$name`` in it; text from outside belongs here.
            timeout_s: Seconds after which the engine stops the query.
            max_rows: At most so many rows are kept; ``truncated`` tells whether there were more.

        Raises:
            StoreError: The query was refused, is wrong, or took too long.
        """

    @abstractmethod
    def neighbors(self, entity_id: str, *, limit: int = 100) -> list[Neighbor]:
        """Return neighbors, outgoing first, each direction ordered by relation and entity_id.

        Args:
            entity_id: An entity of the graph.
            limit: At most so many.

        Raises:
            StoreError: The graph has no such entity.
        """

    @abstractmethod
    def entity(self, entity_id: str) -> Entity:
        """Return the entity with this id.

        Raises:
            StoreError: The graph has none.
        """

    @abstractmethod
    def find(self, name: str, *, limit: int = 10) -> list[Entity]:
        """Return entities whose name contains ``name``, case ignored.

        Those whose whole name it is come first, then shorter names, then by entity_id. Empty
        where nothing matches.
        """

    @abstractmethod
    def paths(
        self,
        start_id: str,
        end_id: str,
        max_length: int = 3,
        *,
        limit: int = 100,
        timeout_s: float = 30.0,
    ) -> list[GraphPath]:
        """Return simple paths between two entities, directions ignored, shortest first.

        Among paths of one length the order is that of the entity_ids on the way, then relations.

        Args:
            start_id: An entity of the graph.
            end_id: Another one; an entity has no path to itself.
            max_length: Longest path in relationships, 1 to MAX_PATH_LENGTH.
            limit: At most so many paths.
            timeout_s: Seconds after which the search of one length is stopped.

        Raises:
            StoreError: An entity is unknown, max_length is out of range, or a search took too
                long.
        """

    @abstractmethod
    def export(self) -> GraphTables:
        """Return the whole graph in canonical order.

        Entities are ordered by entity_id; relation types keep the order they were written in;
        triples are ordered by head_idx, relation_idx, tail_idx.
        """

    @abstractmethod
    def clear(self) -> None:
        """Delete every node and relationship."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
