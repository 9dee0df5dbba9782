"""A change set too large for one transaction, applied in many, the additions by several writers.

New rows are taken in the order of relation and head, so that a transaction stays with few heads.
The server takes the locks of a creation in order when it commits, so writers may meet at a tail.
MERGE and DELETE lock nodes as they go; several writers of those would run into deadlocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from graph_etl.store import change_statements, cypher_queries, neo4j_queries
from graph_etl.store.change_statements import Counters, parts, written
from graph_etl.store.changes import ChangeSet
from graph_etl.store.cypher_queries import PROVENANCE, Statement
from graph_etl.store.graph_rows import PATTERN
from graph_etl.store.neo4j_queries import SAID
from graph_etl.store.neo4j_reading import NODE_IDS

Rows = list[dict[str, Any]]


class Batch(NamedTuple):
    """Statements of one transaction, and what the server has to report."""

    statements: list[Statement]
    expected: Counters


class StagedChanges:
    """Applies change sets batch by batch.

    Args:
        run: Runs one batch as one transaction and returns its answers' rows.
        writers: How many batches of additions run at a time.
    """

    def __init__(self, run: Callable[[list[Statement], Counters], Rows], writers: int) -> None:
        self._run = run
        self._writers = writers

    def apply(
        self,
        changes: ChangeSet,
        node_ids: pl.DataFrame,
        *,
        constrain: Callable[[], None] | None = None,
    ) -> None:
        """Apply a change set: deletions first, from relationships to nodes.

        Args:
            changes: What to do.
            node_ids: The server's ids of nodes that are there, columns NODE_IDS; at least of those
                that new or changed triples touch.
            constrain: Defines the constraints, where the database surely is empty: the server
                then need not look for nodes and relationships before it creates them, and fills
                each index once, after the nodes.

        Raises:
            StoreError: As ``run`` raises it; batches that ran before stay.
        """
        self._run_all(map(_deletions, _slices(changes.old.named(changes.triples.gone))))
        self._run_all(
            Batch([cypher_queries.delete_entities(label, rows)], Counters(nodes_deleted=len(rows)))
            for (label,), rows in parts(changes.entities.gone, ["entity_type"])
        )
        fresh = constrain is not None
        make = neo4j_queries.create_entities if fresh else neo4j_queries.merge_entities
        made = self._run_all(_entities(changes.entities.new, make, new=True), self._writers)
        if constrain is not None:
            constrain()
        self._run_all(_relation_types(changes))
        changed = _entities(changes.entities.changed, neo4j_queries.merge_entities, new=False)
        self._run_all(changed, self._writers)
        ids = [node_ids, *(pl.DataFrame(row, schema=NODE_IDS) for row in made)]
        node_of = _node_of(changes.new.entities, pl.concat(ids))
        join = neo4j_queries.create_relationships if fresh else neo4j_queries.merge_relationships
        relations = changes.new.relation_types["relation"]
        for frame, new in ((changes.triples.new, True), (changes.triples.changed, False)):
            ordered = frame.sort("relation_idx", "head_idx")
            joined = ordered.select(
                relations.gather(ordered["relation_idx"]).alias("relation"),
                node_of.gather(ordered["head_idx"]).alias("head"),
                node_of.gather(ordered["tail_idx"]).alias("tail"),
                *PROVENANCE,
            )
            batches = map(partial(_writes, join, new=new), _slices(joined))
            self._run_all(batches, self._writers if fresh else 1)

    def _run_all(self, batches: Iterable[Batch], writers: int = 1) -> Rows:
        """Run batches in any order, several at a time; the first failure stops all."""
        shared, stop = _Shared(batches), threading.Event()

        def write() -> Rows:
            rows: Rows = []
            try:
                for batch in shared:
                    if stop.is_set():
                        break
                    rows += self._run(*batch)
            except BaseException:
                stop.set()
                raise
            return rows

        with ThreadPoolExecutor(writers) as pool:
            futures = [pool.submit(write) for _ in range(writers)]
        return [row for future in futures for row in future.result()]


class _Shared:
    """An iterator that several threads may draw from."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        with self._lock:
            return next(self._batches)


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    return frame.iter_slices(change_statements.BATCH_ROWS)


def _deletions(frame: pl.DataFrame) -> Batch:
    statements = [
        cypher_queries.delete_relationships(pattern, rows)
        for pattern, rows in parts(frame, PATTERN)
    ]
    return Batch(statements, Counters(relationships_deleted=frame.height))


def _relation_types(changes: ChangeSet) -> Iterator[Batch]:
    change = changes.relation_types
    if change.gone.height:
        gone = cypher_queries.delete_relation_types(change.gone.to_dicts())
        yield Batch([gone], Counters(nodes_deleted=change.gone.height))
    if rows := written(change).to_dicts():
        made = cypher_queries.merge_relation_types(rows)
        yield Batch([made], Counters(nodes_created=change.new.height))


def _entities(frame: pl.DataFrame, make: Callable[..., Statement], *, new: bool) -> Iterator[Batch]:
    for (label,), typed in frame.partition_by("entity_type", as_dict=True).items():
        for part in _slices(typed):
            statement = make(label, part.select("entity_id", "name").to_dict(as_series=False))
            yield Batch([statement], Counters(nodes_created=part.height if new else 0))


def _writes(make: Callable[..., Statement], frame: pl.DataFrame, *, new: bool) -> Batch:
    patterns = frame.partition_by("relation", as_dict=True, maintain_order=True)
    statements = [make(relation, _columns(part)) for (relation,), part in patterns.items()]
    return Batch(statements, Counters(relationships_created=frame.height if new else 0))


def _columns(part: pl.DataFrame) -> dict[str, list[Any]]:
    """Return the columns that neo4j_queries.create_relationships takes."""
    said = part.select(SAID).unique(maintain_order=True)
    said_of = part.join(
        said.with_row_index("said_of"), on=SAID, nulls_equal=True, maintain_order="left"
    )
    columns = said_of.select("head", "tail", "doc_id", "confidence", "said_of")
    return {**columns.to_dict(as_series=False), "said": [list(row) for row in said.rows()]}


def _node_of(entities: pl.DataFrame, node_ids: pl.DataFrame) -> pl.Series:
    """Return the node id of each entity, null where none is known; the last one told counts."""
    known = node_ids.unique("entity_id", keep="last")
    return entities.join(known, on="entity_id", how="left", maintain_order="left")["node_id"]
