"""What a gazetteer looks for outside of a build: the names of a snapshot, or of a table."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from graph_etl.build_folder import snapshot_path
from graph_etl.entities import entity_key
from graph_etl.errors import DataError
from graph_etl.extraction.stages import KnownGraph
from graph_etl.snapshot import Snapshot, load_snapshot
from graph_etl.table_config import TableConfig
from graph_etl.tables import TableReader

_NAMES = dict.fromkeys(("entity_id", "entity_type", "name"), pl.String)
_TRIPLES = dict.fromkeys(("head_id", "relation", "tail_id"), pl.String)
NOTHING = KnownGraph(pl.DataFrame(schema=_NAMES), pl.DataFrame(schema=_TRIPLES))
"""A graph that knows no name."""


def read_known(path: Path) -> KnownGraph:
    """Return what a graph knows.

    Args:
        path: Folder of a build, a snapshot or its pointer: the names and triples that its tables
            gave, nothing that was read from texts. Or a table (.csv, .jsonl, .parquet) with the
            columns entity_type and name, and entity_id where the names' entities have one.

    Raises:
        DataError: The table is absent, damaged or lacks a column.
        SnapshotError: The folder is no build, or a file of it is damaged.
    """
    is_table = path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet")
    if not is_table and path.exists():
        return known_of(load_snapshot(snapshot_path(path)))
    if not path.exists():
        raise DataError(f"Expected names at {path} (a build, a snapshot or a table), found nothing")
    table = TableReader(path.parent).read(TableConfig(path=path.name))
    table.require(["entity_type", "name"])
    rows = table.frame.select(pl.col("entity_type", "name").cast(pl.String)).drop_nulls()
    made = rows.with_columns(
        entity_id=pl.col("entity_type") + entity_key("", pl.col("name"))
    ).select(*_NAMES)
    if "entity_id" in table.frame.columns:
        made = table.frame.select(pl.col(*_NAMES).cast(pl.String)).drop_nulls()
    return KnownGraph(made.unique().sort(pl.all()), NOTHING.triples)


def known_of(snapshot: Snapshot) -> KnownGraph:
    """Return the names and triples that a snapshot has from tables; items' titles are no names."""
    said = snapshot.triples.filter(pl.col("engine") == "table")
    touched = pl.concat([said["head_idx"], said["tail_idx"]]).unique().implode()
    is_item = pl.col("entity_idx").is_in(snapshot.items["entity_idx"].implode())
    names = snapshot.entities.filter(pl.col("entity_idx").is_in(touched) & ~is_item)
    ids = snapshot.entities["entity_id"]
    return KnownGraph(
        names.select(*_NAMES).sort(pl.all()),
        said.select(
            head_id=ids.gather(said["head_idx"]),
            relation=snapshot.relation_types["relation"].gather(said["relation_idx"]),
            tail_id=ids.gather(said["tail_idx"]),
        ).unique(),
    )
