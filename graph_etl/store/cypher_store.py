"""GraphStore over any engine that speaks the Cypher of cypher_queries.py.

An engine's module adds how statements are run: one read, and one list of writes as a transaction.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import polars as pl

from graph_etl.errors import StoreError
from graph_etl.store import cypher_queries as queries
from graph_etl.store.base import MAX_PATH_LENGTH, GraphStore
from graph_etl.store.change_statements import (
    Counters,
    batches,
    constraints_of,
    expected_of,
    statements_of,
    summary_of,
)
from graph_etl.store.changes import changes_between
from graph_etl.store.cypher_queries import PROVENANCE, Statement
from graph_etl.store.graph_rows import (
    ENTITY_ROWS,
    PATTERN,
    RELATION_TYPE_ROWS,
    TRIPLE_ROWS,
    GraphRows,
    rows_of,
    tables_of,
)
from graph_etl.store.read_guard import checked_read_only
from graph_etl.store.records import (
    Entity,
    GraphPath,
    GraphTables,
    Neighbor,
    QueryResult,
    Step,
    StoreCounts,
    WriteSummary,
)


class CypherStore(GraphStore):
    """The whole GraphStore interface in Cypher, over three primitives."""

    @abstractmethod
    def _read(
        self, statement: Statement, *, timeout_s: float | None = None, max_rows: int | None = None
    ) -> QueryResult:
        """Run a statement that only reads; None: no limit. Raises StoreError."""

    @abstractmethod
    def _define(self, statements: Iterable[Statement]) -> None:
        """Run constraint statements, each of which may already hold. Raises StoreError."""

    @abstractmethod
    def _change(self, statements: Iterable[Statement], expected: Counters) -> None:
        """Run statements as one durable transaction.

        Raises:
            StoreError: The engine refused, or its own counters are not ``expected``; nothing is
                changed then.
        """

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
        """Write what differs from what is read back; see GraphStore.write."""
        new = rows_of(entities, relation_types, triples, entity_types)
        changes = changes_between(self._rows(), new, delete_missing=delete_missing)
        summary = summary_of(changes, new.duplicates)
        if summary.writes:
            self._define(constraints_of(new.entities))
            self._change(statements_of(changes), expected_of(changes))
        return summary

    def counts(self) -> StoreCounts:
        """Return sizes by type; see GraphStore.counts."""
        entities = {
            type_of(row["labels"]): row["count"]
            for row in self._read(queries.count_entities()).rows
        }
        declared = self._read(queries.all_relation_types()).rows
        found = {
            row["relation"]: row["count"] for row in self._read(queries.count_relationships()).rows
        }
        relations = {row["relation"]: found.get(row["relation"], 0) for row in declared}
        return StoreCounts(
            entities=dict(sorted(entities.items())), relations=dict(sorted(relations.items()))
        )

    def query(
        self,
        cypher: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 30.0,
        max_rows: int = 1000,
    ) -> QueryResult:
        """Run one read-only query; see GraphStore.query."""
        if timeout_s <= 0 or max_rows < 1:
            raise StoreError(
                f"Expected timeout_s above 0 and max_rows of at least 1, got {timeout_s} and "
                f"{max_rows}"
            )
        statement = Statement(checked_read_only(cypher), dict(parameters or {}))
        return self._read(statement, timeout_s=timeout_s, max_rows=max_rows)

    def entity(self, entity_id: str) -> Entity:
        """Return one entity; see GraphStore.entity."""
        return self._entities([entity_id])[entity_id]

    def neighbors(self, entity_id: str, *, limit: int = 100) -> list[Neighbor]:
        """Return neighbors in order; see GraphStore.neighbors."""
        self.entity(entity_id)
        found: list[Neighbor] = []
        for outgoing in (True, False):
            statement = queries.neighbors(entity_id, outgoing, max(0, limit - len(found)))
            found += [
                Neighbor(row["relation"], outgoing, _entity(row))
                for row in self._read(statement).rows
            ]
        return found

    def find(self, name: str, *, limit: int = 10) -> list[Entity]:
        """Return entities by name; see GraphStore.find."""
        return [_entity(row) for row in self._read(queries.entities_by_name(name, limit)).rows]

    def paths(
        self,
        start_id: str,
        end_id: str,
        max_length: int = 3,
        *,
        limit: int = 100,
        timeout_s: float = 30.0,
    ) -> list[GraphPath]:
        """Return simple paths, shortest first; see GraphStore.paths."""
        if not 1 <= max_length <= MAX_PATH_LENGTH:
            raise StoreError(
                f"Expected max_length in 1..{MAX_PATH_LENGTH}, got {max_length}; longer paths are "
                "too many to be of use"
            )
        known = self._entities([start_id, end_id])
        found: list[tuple[list[str], tuple[Step, ...]]] = []
        for length in range(1, max_length + 1):
            if start_id == end_id or len(found) >= limit:
                break
            statement = queries.paths(start_id, end_id, length, limit - len(found))
            for row in self._read(statement, timeout_s=timeout_s).rows:
                ids = [start_id, *(row[f"id{i}"] for i in range(1, length)), end_id]
                steps = (
                    Step(row[f"relation{i}"], row[f"head{i}"] == ids[i]) for i in range(length)
                )
                found.append((ids, tuple(steps)))
        inner = {entity_id for ids, _ in found for entity_id in ids} - set(known)
        known |= self._entities(sorted(inner))
        return [GraphPath(tuple(known[i] for i in ids), steps) for ids, steps in found]

    def export(self) -> GraphTables:
        """Return the whole graph in canonical order; see GraphStore.export."""
        return tables_of(self._rows())

    def clear(self) -> None:
        """Delete every node and relationship."""
        counts = self.counts()
        num_types = len(self._read(queries.all_relation_types()).rows)
        expected = Counters(
            nodes_deleted=counts.num_entities + num_types,
            relationships_deleted=counts.num_triples,
        )
        if expected != Counters():
            self._change([queries.delete_everything()], expected)

    def _entities(self, entity_ids: Collection[str]) -> dict[str, Entity]:
        found: dict[str, Entity] = {}
        for batch in batches(sorted(set(entity_ids))):
            rows = self._read(queries.entities_by_id(batch)).rows
            found |= {row["entity_id"]: _entity(row) for row in rows}
        for entity_id in entity_ids:
            if entity_id not in found:
                raise StoreError(
                    f"Expected an entity_id of the graph, got {entity_id[:80]!r}; find ids by name "
                    "with find()"
                )
        return found

    def _rows(self) -> GraphRows:
        """Everything the store holds."""
        entities = pl.DataFrame(
            [
                (row["entity_id"], type_of(row["labels"]), row["name"])
                for row in self._read(queries.all_entities()).rows
            ],
            schema=ENTITY_ROWS,
            orient="row",
        )
        patterns = pl.DataFrame(
            list(self._read(queries.all_relation_types()).rows), schema=RELATION_TYPE_ROWS
        )
        place = entities.select("entity_id", pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
        ends = {"head_id": pl.String(), "tail_id": pl.String()}
        schema = {**ends, **{name: TRIPLE_ROWS[name] for name in PROVENANCE}}
        triples = [pl.DataFrame(schema=TRIPLE_ROWS)]
        for number, pattern in enumerate(patterns.select(PATTERN).iter_rows()):
            rows = list(self._read(queries.all_relationships(pattern)).rows)
            frame = pl.DataFrame(rows, schema=schema)
            for end in ("head", "tail"):
                frame = frame.join(
                    place.rename({"place": f"{end}_idx"}),
                    left_on=f"{end}_id",
                    right_on="entity_id",
                    maintain_order="left",
                )
            relation_idx = pl.lit(number, dtype=pl.Int32).alias("relation_idx")
            triples.append(frame.with_columns(relation_idx).select(*TRIPLE_ROWS))
        return GraphRows(entities, patterns, pl.concat(triples))


def type_of(labels: Collection[str]) -> str:
    """Return the entity type among the labels of a node."""
    return next(label for label in labels if label != queries.ENTITY_LABEL)


def _entity(row: Mapping[str, Any]) -> Entity:
    return Entity(row["entity_id"], type_of(row["labels"]), row["name"])
