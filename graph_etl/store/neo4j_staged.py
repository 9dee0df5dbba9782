"""A change set too large for one transaction, applied in many by several writers.

Relationships are dealt out so that no node is written by two writers at a time: nodes fall into
buckets, a cell holds the relationships between two buckets, and a round runs cells that share none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import polars as pl

from graph_etl.store import change_statements, cypher_queries, neo4j_queries
from graph_etl.store.change_statements import PATTERN_COLUMNS, Counters, parts, written
from graph_etl.store.changes import ChangeSet
from graph_etl.store.cypher_queries import PROVENANCE, Statement
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
        writers: How many batches run at a time.
    """

    def __init__(self, run: Callable[[list[Statement], Counters], Rows], writers: int) -> None:
        self._run = run
        self._writers = writers

    def apply(self, changes: ChangeSet, node_ids: pl.DataFrame, *, fresh: bool) -> None:
        """Apply a change set: deletions first, from relationships to nodes.

        Args:
            changes: What to do.
            node_ids: The server's ids of the nodes that are there, columns NODE_IDS.
            fresh: Whether the graph surely has none of the new relationships, so that the server
                need not look for them.

        Raises:
            StoreError: As ``run`` raises it; batches that ran before stay.
        """
        buckets = 2 * self._writers
        self._rounds(_cells(changes.triples.gone, buckets, _deletions), buckets)
        gone = parts(changes.entities.gone, ("entity_type",))
        self._all(
            Batch([cypher_queries.delete_entities(label, rows)], Counters(nodes_deleted=len(rows)))
            for (label,), rows in gone
        )
        self._all(_relation_types(changes))
        made = self._all(_entities(changes.entities.new, new=True))
        self._all(_entities(changes.entities.changed, new=False))
        ids = [node_ids, *(pl.DataFrame(row, schema=NODE_IDS) for row in made)]
        known = pl.concat(ids).unique("entity_id", keep="last")
        make = neo4j_queries.create_relationships if fresh else neo4j_queries.merge_relationships
        for frame, new in ((changes.triples.new, True), (changes.triples.changed, False)):
            joined = _with_node_ids(frame, known)
            self._rounds(_cells(joined, buckets, _writes(make, new=new)), buckets)

    def _all(self, batches: Iterable[Batch]) -> Rows:
        """Run batches that touch different nodes."""
        return self._at_once([_Shared(batches)] * self._writers)

    def _rounds(self, cells: dict[tuple[int, int], Iterator[Batch]], buckets: int) -> None:
        for pairs in disjoint_rounds(buckets):
            self._at_once([cells[pair] for pair in pairs if pair in cells])

    def _at_once(self, queues: Sequence[Iterable[Batch]]) -> Rows:
        """Run each queue in order, several queues at a time; the first failure stops all."""
        stop = threading.Event()

        def run_queue(batches: Iterable[Batch]) -> Rows:
            rows: Rows = []
            try:
                for batch in batches:
                    if stop.is_set():
                        break
                    rows += self._run(*batch)
            except BaseException:
                stop.set()
                raise
            return rows

        with ThreadPoolExecutor(self._writers) as pool:
            futures = [pool.submit(run_queue, batches) for batches in queues]
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


def disjoint_rounds(buckets: int) -> Iterator[list[tuple[int, int]]]:
    """Yield every pair (i, j) with i <= j < ``buckets`` once, in rounds that share no bucket.

    The round-robin of a tournament; the first round pairs each bucket with itself.

    Args:
        buckets: An even number.
    """
    yield [(i, i) for i in range(buckets)]
    ring = list(range(buckets))
    for _ in range(buckets - 1):
        pairs = zip(ring[: buckets // 2], reversed(ring[buckets // 2 :]), strict=True)
        yield [(min(pair), max(pair)) for pair in pairs]
        ring = [ring[0], ring[-1], *ring[1:-1]]


def _cells(
    frame: pl.DataFrame, buckets: int, batch_of: Callable[[pl.DataFrame], Batch]
) -> dict[tuple[int, int], Iterator[Batch]]:
    """Deal relationships out by the buckets of their two nodes; batches are made when asked."""
    head, tail = pl.col("head_id").hash() % buckets, pl.col("tail_id").hash() % buckets
    cells = frame.with_columns(
        low=pl.min_horizontal(head, tail), high=pl.max_horizontal(head, tail)
    ).partition_by("low", "high", as_dict=True, include_key=False)
    return {
        (int(low), int(high)): map(batch_of, _slices(cell.sort("relation", "head_id")))
        for (low, high), cell in cells.items()
    }


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    return frame.iter_slices(change_statements.BATCH_ROWS)


def _deletions(frame: pl.DataFrame) -> Batch:
    statements = [
        cypher_queries.delete_relationships(pattern, rows)
        for pattern, rows in parts(frame, PATTERN_COLUMNS)
    ]
    return Batch(statements, Counters(relationships_deleted=frame.height))


def _relation_types(changes: ChangeSet) -> Iterator[Batch]:
    change = changes.relation_types
    statements = [
        cypher_queries.delete_relation_types(change.gone.to_dicts()),
        cypher_queries.merge_relation_types(written(change).to_dicts()),
    ]
    yield Batch(
        statements, Counters(nodes_created=change.new.height, nodes_deleted=change.gone.height)
    )


def _entities(frame: pl.DataFrame, *, new: bool) -> Iterator[Batch]:
    for (label,), typed in frame.partition_by("entity_type", as_dict=True).items():
        for part in _slices(typed):
            statement = neo4j_queries.merge_entities(label, part.select("entity_id", "name").rows())
            yield Batch([statement], Counters(nodes_created=part.height if new else 0))


def _writes(make: Callable[..., Statement], *, new: bool) -> Callable[[pl.DataFrame], Batch]:
    def batch_of(frame: pl.DataFrame) -> Batch:
        patterns = frame.partition_by(PATTERN_COLUMNS, as_dict=True, maintain_order=True)
        statements = [
            make(pattern, part.select("head_node", "tail_node", *PROVENANCE).rows())
            for pattern, part in patterns.items()
        ]
        return Batch(statements, Counters(relationships_created=frame.height if new else 0))

    return batch_of


def _with_node_ids(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    heads = known.rename({"entity_id": "head_id", "node_id": "head_node"})
    tails = known.rename({"entity_id": "tail_id", "node_id": "tail_node"})
    return frame.join(heads, on="head_id", how="left").join(tails, on="tail_id", how="left")
