"""The build: dataset.yaml and tables in, a published snapshot out.

read -> audit -> statements -> entities and triples -> snapshot -> gates -> (store) -> pointer. The
same input after the same version gives the same snapshot, byte for byte; what came in is accounted
for in its manifest.
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
from graph_etl.build_folder import pointer_of
from graph_etl.dataset_config import DatasetConfig
from graph_etl.dataset_yaml import load_dataset_config
from graph_etl.errors import ConfigError, SnapshotError
from graph_etl.extraction.build_step import LEDGER
from graph_etl.gates import GateFinding, check_gates, gate_findings
from graph_etl.known_triples import with_first_runs
from graph_etl.left_out_users import LeaveOut
from graph_etl.mappings import load_mapping, mapping_names, recognise
from graph_etl.resolution.resolved_statements import EntityResolution
from graph_etl.snapshot import Snapshot, load_snapshot, write_snapshot
from graph_etl.snapshot_tables import Progress as Progress
from graph_etl.snapshot_tables import snapshot_tables
from graph_etl.tables import TableReader
from graph_etl.versions import DEFAULT_KEPT, prune, publish_version

if TYPE_CHECKING:
    from graph_etl.store import GraphStore, WriteSummary

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
        accepted: Gates that did not hold, and were accepted.
    """

    snapshot: Snapshot
    pointer: Path
    changed: bool
    audit: dict[str, Any]
    store: WriteSummary | None = None
    accepted: tuple[GateFinding, ...] = ()


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
    extra_interactions: pl.DataFrame | None = None,
    leave_out: LeaveOut | None = None,
    store: GraphStore | None = None,
    gated: bool = True,
    accepted: Mapping[str, str] | None = None,
    keep: int = DEFAULT_KEPT,
    progress: Progress | None = None,
) -> BuildResult:
    """Build a snapshot from tables and publish it under ``out``/snapshots.

    Args:
        config: A DatasetConfig, a dataset.yaml, or a folder that a shipped mapping recognises.
        out: Folder of the run; snapshots and their pointer lie in its folder "snapshots".
        data: What the paths in the config are relative to; default the YAML's folder, or the
            current one for a DatasetConfig.
        sources: Frames by the name that a table's path says, instead of files.
        extra_interactions: Interactions of a log, added to the tables' after the same audit;
            columns as ``extra_interactions.COLUMNS``.
        leave_out: Says of users which of them stand nowhere in the snapshot, whatever the tables
            and the log hold of them; counted. None: nobody.
        store: A graph store that is made to mirror the snapshot before it is published.
        gated: Whether the config's gates judge the change from the published version.
        accepted: Name of a gate that may fail this once -> why; both are logged.
        keep: Published versions that stay; older ones are deleted.
        progress: Called with what happens now and the share done, 0 to 1.

    Returns:
        The snapshot, and whether it differs from the one published before.

    Raises:
        ConfigError: The config is wrong.
        DataError: A table is absent, lacks a column, or holds rows that no rule allows.
        SchemaViolationError: A triple is outside the graph schema.
        GateError: Too much changed; the published version and the store are as they were.
        StoreError: The store refused; nothing is published then.
    """
    tell = progress or _silent
    tell("reading the configuration", 0.0)
    if isinstance(config, Path):
        config, folder = open_dataset(config)
        data = data or folder
        tell(f"the data set is {config.name}", 0.0)
    reader = TableReader(data or Path(), dict(sources or {}))
    audit = BuildAudit()
    pointer = pointer_of(out)
    before = _published(pointer)
    resolution = EntityResolution(config.resolution, out, before)
    tables = snapshot_tables(
        config,
        reader,
        audit,
        tell,
        resolution,
        extra_interactions,
        ledger=out / LEDGER,
        leave_out=leave_out,
    )
    audit.check()
    if before is not None:
        tables = {**tables, "triples": with_first_runs(tables, before)}
    tell("writing the snapshot", 0.8)
    details = {
        "dataset": _described(config),
        "audit": audit.as_dict(),
        "inputs": reader.inputs,
        "run_ids": sorted(tables["triples"]["run_id"].unique().to_list()),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    parent = None if before is None else before.snapshot_id
    snapshot = write_snapshot(tables, pointer.parent, {**details, "parent": parent})
    resolution.write(snapshot.snapshot_id)
    tell("comparing with the published version", 0.85)
    findings = gate_findings(before, snapshot, config.gates) if gated else ()
    check_gates(findings, accepted or {})
    summary = None
    if store is not None:
        tell("loading the store", 0.9)
        from graph_etl.store import load_store

        summary = load_store(snapshot, store, known=before)
    changed = publish_version(snapshot, pointer, findings=findings, accepted=accepted)
    prune(out, keep)
    tell("published" if changed else "unchanged", 1.0)
    return BuildResult(snapshot, pointer, changed, snapshot.manifest["audit"], summary, findings)


def _silent(what: str, share: float) -> None:
    """Tell nobody."""


def _published(pointer: Path) -> Snapshot | None:
    if not pointer.is_file():
        return None
    try:
        return load_snapshot(pointer)
    except SnapshotError as error:
        _log.warning("the published snapshot is replaced: %s", error)
        return None


def _described(config: DatasetConfig) -> dict[str, Any]:
    told = config.model_dump(include={"name", "description", "license", "terms"})
    return {**told, "positive": config.interactions.positive.model_dump(exclude_none=True)}
