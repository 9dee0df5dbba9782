"""A snapshot for people and other tools: its manifest, its graph with ids instead of indexes.

Forms of the graph that libraries for graphs read are graph_exports.py's business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from graph_etl.errors import ConfigError
from graph_etl.graph_exports import GRAPH_FILES, write_graph
from graph_etl.snapshot import MANIFEST, TABLES, Snapshot, load_manifest, load_snapshot

FORMATS = ("csv", "jsonl", "parquet")


def described_snapshot(path: Path, *, verify: bool = False) -> dict[str, Any]:
    """Return {"path", "verified", "manifest"} of a snapshot folder or pointer.

    Args:
        path: A snapshot folder or a pointer file.
        verify: Whether to read every table and check it; else only the manifest is.

    Raises:
        SnapshotError: Something is absent, truncated or altered; the message names the file.
    """
    if verify:
        snapshot = load_snapshot(path)
        return {
            "path": str(snapshot.path),
            "verified": [MANIFEST, *(f"{name}.parquet" for name in TABLES)],
            "manifest": snapshot.manifest,
        }
    folder, manifest = load_manifest(path)
    return {"path": str(folder), "verified": [MANIFEST], "manifest": manifest}


def export_graph(snapshot: Snapshot, out: Path, *, file_format: str = "csv") -> list[Path]:
    """Write the graph with ids and names, as tables or as one graph file; return the files.

    Args:
        snapshot: The graph.
        out: Folder, made where it is not there; files of the same name are replaced.
        file_format: One of FORMATS for the tables entities, relation_types and triples, or of
            graph_exports.GRAPH_FILES.

    Raises:
        ConfigError: The format is another.
        MissingDependencyError: A library that writes the format is not installed.
    """
    if file_format in GRAPH_FILES:
        return [write_graph(snapshot, out, file_format)]
    if file_format not in FORMATS:
        known = ", ".join((*FORMATS, *GRAPH_FILES))
        raise ConfigError(f"Expected a format among {known}, got '{file_format}'")
    out.mkdir(parents=True, exist_ok=True)
    tables = _tables(snapshot)
    return [_written(table, out / f"{name}.{file_format}") for name, table in tables.items()]


def _tables(snapshot: Snapshot) -> dict[str, pl.DataFrame]:
    names = snapshot.entities.select("entity_idx", "entity_id", "name")
    head = names.select(pl.all().name.map(lambda column: f"head_{column}"))
    tail = names.select(pl.all().name.map(lambda column: f"tail_{column}"))
    triples = (
        snapshot.triples.join(
            head, left_on="head_idx", right_on="head_entity_idx", maintain_order="left"
        )
        .join(tail, left_on="tail_idx", right_on="tail_entity_idx", maintain_order="left")
        .join(snapshot.relation_types, on="relation_idx", maintain_order="left")
        .select(
            pl.col("head_entity_id").alias("head_id"),
            "head_name",
            "relation",
            pl.col("tail_entity_id").alias("tail_id"),
            "tail_name",
            *[name for name in TABLES["triples"] if not name.endswith("_idx")],
        )
    )
    return {
        "entities": snapshot.entities.drop("entity_idx"),
        "relation_types": snapshot.relation_types.drop("relation_idx"),
        "triples": triples,
    }


def _written(table: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        table.write_csv(path)
    elif path.suffix == ".jsonl":
        table.write_ndjson(path)
    else:
        table.write_parquet(path)
    return path
