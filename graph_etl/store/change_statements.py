"""What a change set means for a store: its summary, the counters to expect, its statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from graph_etl.store import cypher_queries as queries
from graph_etl.store.changes import ChangeSet, TableChange
from graph_etl.store.cypher_queries import Statement
from graph_etl.store.graph_rows import PATTERN
from graph_etl.store.records import WriteSummary

BATCH_ROWS = 5_000


@dataclass(frozen=True)
class Counters:
    """What an engine says that statements changed."""

    nodes_created: int = 0
    nodes_deleted: int = 0
    relationships_created: int = 0
    relationships_deleted: int = 0


def summary_of(changes: ChangeSet, duplicates: int) -> WriteSummary:
    """Return what a change set changes."""
    return WriteSummary(
        nodes_created=changes.entities.new.height,
        nodes_updated=changes.entities.changed.height,
        nodes_deleted=changes.entities.gone.height,
        relationships_created=changes.triples.new.height,
        relationships_updated=changes.triples.changed.height,
        relationships_deleted=changes.triples.gone.height,
        relation_types_changed=changes.relation_types.size,
        unchanged=changes.entities.unchanged + changes.triples.unchanged,
        duplicates=duplicates,
    )


def expected_of(changes: ChangeSet) -> Counters:
    """Return what an engine has to report for the statements of a change set."""
    return Counters(
        nodes_created=changes.entities.new.height + changes.relation_types.new.height,
        nodes_deleted=changes.entities.gone.height + changes.relation_types.gone.height,
        relationships_created=changes.triples.new.height,
        relationships_deleted=changes.triples.gone.height,
    )


def constraints_of(entities: pl.DataFrame) -> Iterator[Statement]:
    """Return the constraints that entities need; each may hold already."""
    yield from queries.unique_marker_ids()
    for label in entities["entity_type"].unique().sort():
        yield queries.unique_entity_ids(label)


def statements_of(changes: ChangeSet) -> Iterator[Statement]:
    """Deletions first, from relationships to nodes, so that a changed type finds its id free."""
    triples = changes.named_triples()
    for pattern, rows in parts(triples.gone, PATTERN):
        yield queries.delete_relationships(pattern, rows)
    for (label,), rows in parts(changes.entities.gone, ["entity_type"]):
        yield queries.delete_entities(label, rows)
    for batch in batches(changes.relation_types.gone.to_dicts()):
        yield queries.delete_relation_types(batch)
    for batch in batches(written(changes.relation_types).to_dicts()):
        yield queries.merge_relation_types(batch)
    for (label,), rows in parts(written(changes.entities), ["entity_type"]):
        yield queries.merge_entities(label, rows)
    for pattern, rows in parts(written(triples), PATTERN):
        yield queries.merge_relationships(pattern, rows)


def written(change: TableChange) -> pl.DataFrame:
    """Return the rows of a table that are created or updated."""
    return pl.concat([change.new, change.changed])


def parts(
    frame: pl.DataFrame, columns: list[str]
) -> Iterator[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    """Split a frame by columns into batches of rows without them."""
    for key, part in frame.group_by(columns, maintain_order=True):
        for start in range(0, part.height, BATCH_ROWS):
            yield key, part.slice(start, BATCH_ROWS).drop(columns).to_dicts()


def batches(rows: list[Any]) -> Iterator[list[Any]]:
    """Split rows into lists of at most BATCH_ROWS."""
    for start in range(0, len(rows), BATCH_ROWS):
        yield rows[start : start + BATCH_ROWS]
