"""The published versions of a graph: their log, going back, pruning.

A version is a snapshot. The log, snapshots/history.jsonl, has one line for each time the pointer
moved, and lifetime_log.py keeps what came and went by it; where the process died before either,
the next build, rollback or prune adds what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graph_etl.build_folder import pointer_of
from graph_etl.errors import SnapshotError, StoreError
from graph_etl.gates import GateFinding
from graph_etl.lifetime_log import log_changes
from graph_etl.snapshot import (
    Snapshot,
    load_manifest,
    load_snapshot,
    publish_snapshot,
    sync_folder,
)

if TYPE_CHECKING:
    from graph_etl.store import WriteSummary

HISTORY = "history.jsonl"
DEFAULT_KEPT = 7
Action = Literal["publish", "rollback"]


@dataclass(frozen=True)
class Version:
    """One move of the pointer.

    Attributes:
        at: UTC time, ISO 8601.
        action: "publish" by a build, or "rollback".
        snapshot_id: What the pointer was moved to.
        previous: What it stood on; None for the first.
        counts: Rows of each table.
        findings: Gates that did not hold and were accepted.
        accepted: Name of such a gate -> the reason given.
        current: Whether the pointer stands there now.
        kept: Whether the snapshot's folder is still there.
    """

    at: str
    action: Action
    snapshot_id: str
    previous: str | None
    counts: dict[str, int]
    findings: tuple[dict[str, Any], ...] = ()
    accepted: Mapping[str, str] | None = None
    current: bool = False
    kept: bool = True


def publish_version(
    snapshot: Snapshot,
    pointer: Path,
    *,
    action: Action = "publish",
    findings: Sequence[GateFinding] = (),
    accepted: Mapping[str, str] | None = None,
) -> bool:
    """Move the pointer to a snapshot and log it; return whether the pointer moved.

    Args:
        snapshot: What shall stand.
        pointer: The pointer file.
        action: Why.
        findings: Gates that did not hold.
        accepted: Why they were accepted.
    """
    previous = _readable_id(pointer)
    moved = previous != snapshot.snapshot_id
    if moved:
        _log_what_stands(pointer)
        publish_snapshot(snapshot, pointer)
    logged = _lines(pointer.parent)
    if moved or not logged or logged[-1]["snapshot_id"] != snapshot.snapshot_id:
        line = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "action": action,
            "snapshot_id": snapshot.snapshot_id,
            "previous": previous if moved else (logged[-1]["snapshot_id"] if logged else None),
            "counts": snapshot.manifest["counts"],
            "findings": [asdict(finding) for finding in findings],
            "accepted": dict(accepted or {}) if findings else {},
        }
        _append(pointer.parent / HISTORY, line)
    _log_lifetimes(pointer)
    return moved


def published_id(pointer: Path) -> str | None:
    """Return the id of the snapshot that a pointer names; None where there is no pointer.

    Raises:
        SnapshotError: The pointer names nothing that can be read.
    """
    return str(load_manifest(pointer)[1]["snapshot_id"]) if pointer.is_file() else None


def history(folder: Path) -> tuple[Version, ...]:
    """Return the versions of a build folder, newest first.

    Raises:
        SnapshotError: Nothing was published in the folder.
    """
    pointer = pointer_of(folder)
    current = published_id(pointer)
    if current is None:
        raise SnapshotError(
            f"Expected a published graph in {folder}, found none; make one with 'graph-etl build'"
        )
    lines = _lines(pointer.parent)
    if not lines or lines[-1]["snapshot_id"] != current:
        lines.append(_unlogged(pointer))
    return tuple(
        Version(
            **{**line, "findings": tuple(line["findings"])},
            current=number == len(lines) - 1,
            kept=(pointer.parent / line["snapshot_id"]).is_dir(),
        )
        for number, line in reversed(list(enumerate(lines)))
    )


def version_path(folder: Path, name: str | None, *, before_current: bool = False) -> Path:
    """Return the snapshot folder of a version.

    Args:
        folder: The build folder.
        name: A snapshot id or the beginning of one; None for the current version.
        before_current: With no name: the newest other version that is still there.

    Raises:
        SnapshotError: There is no such version, or the beginning fits several.
    """
    root = pointer_of(folder).parent
    if name is None and not before_current:
        return load_manifest(pointer_of(folder))[0]
    there = sorted(path.name for path in root.glob("snapshot-*") if path.is_dir())
    if name is None:
        versions = history(folder)
        current = next(version.snapshot_id for version in versions if version.current)
        others = [v.snapshot_id for v in versions if v.kept and v.snapshot_id != current]
        if not others:
            raise SnapshotError(
                f"Expected another version beside the current {current} in {root}, found none; a "
                "build whose input changed makes one"
            )
        name = others[0]
    fitting = [found for found in there if found.startswith((name, f"snapshot-{name}"))]
    if len(fitting) != 1:
        raise SnapshotError(
            f"Expected one version '{name}' in {root}, got {len(fitting)} of {there}; "
            "'graph-etl history' lists them"
        )
    return root / fitting[0]


def rollback(folder: Path, to: str | None = None) -> Version:
    """Make an older version the current one, in the store and by the pointer.

    Args:
        folder: The build folder.
        to: Its snapshot id, or the beginning; None for the newest other version.

    Raises:
        SnapshotError: There is no such version, or it is damaged.
        StoreError: The store refused; the pointer stays then.
    """
    from graph_etl.builds import open_written_store
    from graph_etl.store import load_store

    snapshot = load_snapshot(version_path(folder, to, before_current=to is None))
    store = open_written_store(folder)
    if store is not None:
        with store:
            load_store(snapshot, store, known=_readable(pointer_of(folder)))
    publish_version(snapshot, pointer_of(folder), action="rollback")
    return next(version for version in history(folder) if version.current)


def verify_store(folder: Path) -> WriteSummary:
    """Compare every row of the store with the current version and put right what differs.

    Raises:
        SnapshotError: There is no current version, or it is damaged.
        StoreError: It was built without a store, or the store refused.
    """
    from graph_etl.builds import open_written_store
    from graph_etl.store import load_store

    snapshot = load_snapshot(version_path(folder, None))
    store = open_written_store(folder)
    if store is None:
        raise StoreError(
            f"Expected a build with a graph store in {folder}, got one without; build again with "
            "'graph-etl build ... --store neo4j'"
        )
    with store:
        return load_store(snapshot, store, compare=True)


def prune(folder: Path, keep: int = DEFAULT_KEPT) -> tuple[str, ...]:
    """Delete all snapshots but the current one and the last published; return what went.

    Args:
        folder: The build folder.
        keep: Versions that stay, the current one among them; at least 1.
    """
    if keep < 1:
        raise SnapshotError(f"Expected at least 1 version to keep, got {keep}")
    _log_what_stands(pointer_of(folder))
    _log_lifetimes(pointer_of(folder))  # while the versions that tell it are still there
    versions = history(folder)
    current = next(version.snapshot_id for version in versions if version.current)
    kept = list(dict.fromkeys([current, *(v.snapshot_id for v in versions if v.kept)]))[:keep]
    root = pointer_of(folder).parent
    gone = sorted(path for path in root.glob("snapshot-*") if path.name not in kept)
    for path in gone:
        shutil.rmtree(path)
    sync_folder(root)
    return tuple(path.name for path in gone)


def _log_what_stands(pointer: Path) -> None:
    """Add the line of the version that stands, where a kill kept it from the log."""
    standing, lines = _readable_id(pointer), _lines(pointer.parent)
    if standing is not None and (not lines or lines[-1]["snapshot_id"] != standing):
        _append(pointer.parent / HISTORY, _unlogged(pointer))


def _log_lifetimes(pointer: Path) -> None:
    log_changes(pointer.parent, [line["snapshot_id"] for line in _lines(pointer.parent)])


def _unlogged(pointer: Path) -> dict[str, Any]:
    """Return the line of a move that was made without one."""
    manifest = load_manifest(pointer)[1]
    logged = [line["snapshot_id"] for line in _lines(pointer.parent)]
    moved_at = datetime.fromtimestamp(pointer.stat().st_mtime, UTC)
    return {
        "at": moved_at.isoformat(timespec="seconds"),
        "action": "rollback" if manifest["snapshot_id"] in logged else "publish",
        "snapshot_id": manifest["snapshot_id"],
        "previous": logged[-1] if logged else manifest.get("parent"),
        "counts": manifest["counts"],
        "findings": [],
        "accepted": {},
    }


def _readable_id(pointer: Path) -> str | None:
    """Return the published id, None where the pointer names nothing that can be read."""
    try:
        return published_id(pointer)
    except SnapshotError:
        return None


def _readable(pointer: Path) -> Snapshot | None:
    """Return the published snapshot, None where it cannot be read."""
    try:
        return load_snapshot(pointer)
    except SnapshotError:
        return None


def _lines(root: Path) -> list[dict[str, Any]]:
    file = root / HISTORY
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")
    whole = lines if lines[-1] == "" else lines[:-1]  # a line cut off by a kill never counted
    return [json.loads(line) for line in whole if line]


def _append(file: Path, line: Mapping[str, Any]) -> None:
    """Append a line and return when it is on disk; a torn last line is dropped first."""
    kept = "".join(json.dumps(old) + "\n" for old in _lines(file.parent))
    staging = file.with_name(f".{file.name}.new")
    with staging.open("w", encoding="utf-8") as handle:
        handle.write(kept + json.dumps(line) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    staging.replace(file)
    sync_folder(file.parent)
