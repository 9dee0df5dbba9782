"""Forgetting for good: what a log, its nights, snapshots and artifacts hold of users is taken away.

Who is forgotten, the ledger says. What is published cannot be changed: it is named in the report,
and the next night that is given the ledger's folder publishes without them and deletes the rest.
Tables that a build reads are their owner's, and stay as they are.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from graph_etl.snapshot import load_manifest, sync_folder
from kgrec.artifact.pointer import resolve
from kgrec.errors import ConfigError
from kgrec.events import PurgedLog, purge_events
from kgrec.jobs.night_events import purge_taken
from kgrec.jobs.night_journal import night_lock
from kgrec.jobs.workspace import Workspace
from kgrec.serving.forgotten import ForgottenUsers


@dataclass(frozen=True)
class DroppedVersions:
    """Versions with rows of forgotten users.

    Attributes:
        snapshots, artifacts: Names of those that were deleted.
        still_held: What still holds such rows, and until when.
    """

    snapshots: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    still_held: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {name: list(found) for name, found in asdict(self).items()}


@dataclass(frozen=True)
class Purge:
    """What a purge took away.

    Attributes:
        forgotten: Users in the ledger.
        log: Of the event log.
        taken_events: Rows of events that nights had taken in.
        versions: Of snapshots and artifacts.
    """

    forgotten: int
    log: PurgedLog
    taken_events: int
    versions: DroppedVersions

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "forgotten_users": self.forgotten,
            "events": self.log.events,
            "rewritten_segments": self.log.segments,
            "taken_events": self.taken_events,
            **self.versions.to_dict(),
        }


def purge_forgotten(
    forgotten: ForgottenUsers, *, event_log: Path | None = None, out: Path | None = None
) -> Purge:
    """Take away what is stored of all forgotten users; killed at any moment, the same call goes on.

    Args:
        forgotten: The ledger.
        event_log: Folder of the event log; no process may have it open for writing.
        out: Folder of a run or of nights: events taken in, snapshots and artifacts.

    Raises:
        ConfigError: Neither is given, or ``out`` is no folder.
        EventLogError: The log is open elsewhere, or damaged.
        NightRunningError: A night runs in ``out``.
    """
    if event_log is None and out is None:
        raise ConfigError(
            "Expected what to purge, got neither; name the event log with --event-log, the folder "
            "of runs or nights with --out, or both"
        )
    if out is not None and not out.is_dir():
        raise ConfigError(f"Expected the folder of a run or of nights at {out}, found none")
    log, taken, versions = PurgedLog(0, 0), 0, DroppedVersions()
    with ExitStack() as stack:
        if out is not None:
            stack.enter_context(night_lock(Workspace(out).nights / "lock"))
        if event_log is not None:
            log = purge_events(event_log, lambda event: forgotten(event.user_id))
        if out is not None:
            workspace = Workspace(out)
            taken = purge_taken(workspace.taken_events, forgotten)
            for learned in (workspace.night_rows, workspace.text):
                shutil.rmtree(learned, ignore_errors=True)
            versions = drop_versions(workspace, forgotten)
    return Purge(len(forgotten), log, taken, versions)


def drop_versions(workspace: Workspace, forgotten: ForgottenUsers) -> DroppedVersions:
    """Delete snapshots and artifacts that hold forgotten users, all but the published ones."""
    published = set()
    if workspace.snapshot.is_file():
        published.add(load_manifest(workspace.snapshot)[0].resolve())
    if workspace.current.is_file():
        published.add(resolve(workspace.current)[0].resolve())
    gone: dict[Path, list[str]] = {}
    still_held: list[str] = []
    for root in (workspace.snapshot.parent, workspace.artifacts):
        gone[root] = []
        for table in sorted(root.glob("*/users.parquet")):
            folder = table.parent
            users = pl.read_parquet(table, columns=["user_id"])["user_id"].unique().to_list()
            if not forgotten.among(users):
                continue
            if folder.resolve() in published:
                still_held.append(f"{folder.name}, which is published, until the next night")
            else:
                shutil.rmtree(folder)
                gone[root].append(folder.name)
        if gone[root]:
            sync_folder(root)
    still_held += _in_summary(workspace, forgotten)
    snapshots, artifacts = (tuple(names) for names in gone.values())
    return DroppedVersions(snapshots, artifacts, tuple(still_held))


def _in_summary(workspace: Workspace, forgotten: ForgottenUsers) -> list[str]:
    """Return the pages of a run that show a forgotten user's answers."""
    if not workspace.summary.is_file():
        return []
    shown = json.loads(workspace.summary.read_text(encoding="utf-8")).get("answers", {})
    if not forgotten.among(shown):
        return []
    pages = [page.name for page in (workspace.summary, workspace.report) if page.is_file()]
    return [f"{' and '.join(pages)}, until the next run or until you delete them"]
