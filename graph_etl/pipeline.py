"""The build: dataset.yaml and tables in, a published snapshot out.

read -> audit -> statements -> entities and triples -> snapshot -> (store) -> pointer. The same
input gives the same snapshot, byte for byte; what came in is accounted for in its manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from graph_etl.audit import BuildAudit
from graph_etl.dataset_config import DatasetConfig
from graph_etl.dataset_yaml import load_dataset_config
from graph_etl.errors import ConfigError, SnapshotError
from graph_etl.mappings import load_mapping, mapping_names, recognise
from graph_etl.snapshot import Snapshot, load_snapshot, publish_snapshot, write_snapshot
from graph_etl.snapshot_tables import Progress as Progress
from graph_etl.snapshot_tables import snapshot_tables
from graph_etl.tables import TableReader

if TYPE_CHECKING:
    from graph_etl.store import GraphStore, WriteSummary

SNAPSHOTS = "snapshots"
POINTER = "current"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildResult:
    """What a build made.

    Attributes:
        snapshot: The snapshot, read back and verified.
        pointer: The small file that names it; give it to load_snapshot or load_dataset.
        changed: False where the same snapshot already was the published one.
        audit: Counts as the manifest has them: tables, links.
        store: What changed in the store; None without one.
    """

    snapshot: Snapshot
    pointer: Path
    changed: bool
    audit: dict[str, Any]
    store: WriteSummary | None = None


def open_dataset(path: Path) -> tuple[DatasetConfig, Path]:
    """Return the config and the data folder of a dataset.yaml, or of a folder.

    A folder is used by its own dataset.yaml, else by the shipped mapping that recognises it.

    Raises:
        ConfigError: There is neither, or the YAML is wrong.
    """
    if not path.is_dir():
        return load_dataset_config(path), path.parent
    if (path / "dataset.yaml").is_file():
        return load_dataset_config(path / "dataset.yaml"), path
    name = recognise(path)
    if name is None:
        there = sorted(file.name for file in path.iterdir())[:12]
        raise ConfigError(
            f"Expected a dataset.yaml in {path}, or the files of one of "
            f"{', '.join(mapping_names())}, got {', '.join(there) or 'an empty folder'}; write a "
            "dataset.yaml (graph_etl/mappings/examples has two to copy)"
        )
    return load_mapping(name), path


def build(
    config: DatasetConfig | Path,
    *,
    out: Path,
    data: Path | None = None,
    sources: Mapping[str, pl.DataFrame] | None = None,
    store: GraphStore | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build a snapshot from tables and publish it under ``out``/snapshots.

    Args:
        config: A DatasetConfig, a dataset.yaml, or a folder that a shipped mapping recognises.
        out: Folder of the run; snapshots and their pointer lie in its folder "snapshots".
        data: What the paths in the config are relative to; default the YAML's folder, or the
            current one for a DatasetConfig.
        sources: Frames by the name that a table's path says, instead of files.
        store: A graph store that is made to mirror the snapshot before it is published.
        progress: Called with what happens now and the share done, 0 to 1.

    Returns:
        The snapshot, and whether it differs from the one published before.

    Raises:
        ConfigError: The config is wrong.
        DataError: A table is absent, lacks a column, or holds rows that no rule allows.
        SchemaViolationError: A triple is outside the graph schema.
        StoreError: The store refused; nothing is published then.
    """
    tell = progress or _silent
    tell("reading the configuration", 0.0)
    if isinstance(config, Path):
        config, folder = open_dataset(config)
        data = data or folder
    reader = TableReader(data or Path(), dict(sources or {}))
    audit = BuildAudit()
    tables = snapshot_tables(config, reader, audit, tell)
    audit.check()
    tell("writing the snapshot", 0.8)
    details = {
        "dataset": _described(config),
        "audit": audit.as_dict(),
        "inputs": reader.inputs,
        "run_ids": sorted(tables["triples"]["run_id"].unique().to_list()),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    root = out / SNAPSHOTS
    pointer = root / POINTER
    before = _published_id(pointer)
    snapshot = write_snapshot(tables, root, {**details, "parent": before})
    summary = None
    if store is not None:
        tell("loading the store", 0.9)
        from graph_etl.store import load_store

        summary = load_store(snapshot, store)
    changed = snapshot.snapshot_id != before
    if changed:
        publish_snapshot(snapshot, pointer)
    tell("published" if changed else "unchanged", 1.0)
    return BuildResult(snapshot, pointer, changed, snapshot.manifest["audit"], summary)


def _silent(what: str, share: float) -> None:
    """Tell nobody."""


def _published_id(pointer: Path) -> str | None:
    if not pointer.is_file():
        return None
    try:
        return load_snapshot(pointer).snapshot_id
    except SnapshotError as error:
        _log.warning("the published snapshot is replaced: %s", error)
        return None


def _described(config: DatasetConfig) -> dict[str, Any]:
    told = config.model_dump(include={"name", "description", "license", "terms"})
    return {**told, "positive": config.interactions.positive.model_dump(exclude_none=True)}
