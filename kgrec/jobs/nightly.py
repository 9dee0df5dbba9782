"""The night: tables to a checked graph, a model that is measured, and then published or refused.

Every step's end is in a journal: a night that was killed goes on where it stood. What was published
before stands until the last step, and stays where a gate refuses.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from graph_etl.errors import GateError
from graph_etl.snapshot import load_manifest, write_synced
from kgrec.artifact import (
    Artifact,
    ArtifactDetails,
    artifact_id_of,
    load_artifact,
    prune_artifacts,
    publish,
    save_artifact,
)
from kgrec.config import NightlyConfig
from kgrec.data.splits import Split, SplitConfig, make_split
from kgrec.evaluation.beyond_accuracy import catalogue_facts
from kgrec.evaluation.environment import git_commit
from kgrec.evaluation.ledger import TestLedger
from kgrec.jobs.comparison import TOWERS, Comparison, check_quotas, source_names
from kgrec.jobs.disk_faults import disk_faults_told
from kgrec.jobs.measure import Referee
from kgrec.jobs.model_gate import judge
from kgrec.jobs.night_events import TakenEvents, end_to_take, purge_taken, take_in
from kgrec.jobs.night_journal import NightJournal, night_lock
from kgrec.jobs.night_warm_start import earlier_towers
from kgrec.jobs.prepare import Prepared, prepare
from kgrec.jobs.progress import Progress
from kgrec.jobs.purge import drop_versions
from kgrec.jobs.settings import tuned_settings, tuned_towers
from kgrec.jobs.workspace import Workspace
from kgrec.models.text.side import learned_encoder
from kgrec.serving.forgotten import ForgottenUsers

Outcome = Literal["published", "unchanged", "refused"]


@dataclass(frozen=True)
class Night:
    """What a night came to.

    Attributes:
        night: Its id, the UTC time it began.
        outcome: "published", "unchanged" or "refused".
        reason: Why, in words.
        snapshot_id: The graph that stands now; "" where none does.
        artifact_id: The artifact that stands now; "" where none does.
        steps: Step -> what it gave, from the journal.
        summary: The same as JSON, in a file; the Markdown lies beside it.
    """

    night: str
    outcome: Outcome
    reason: str
    snapshot_id: str
    artifact_id: str
    steps: Mapping[str, Mapping[str, Any]]
    summary: Path


def nightly(
    config: NightlyConfig,
    out: Path,
    *,
    accepted: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Night:
    """Build the graph, train, measure against the published model, and publish or refuse.

    Args:
        config: What to build, to train and to allow.
        out: Folder of all nights; a night that was stopped goes on.
        accepted: Name of a gate of the graph that may fail this once -> why.
        progress: Told each step and the share of it that is done.

    Raises:
        NightRunningError: Another night runs in ``out``.
        DiskError: The disk is full; as with the following.
        KgrecError, GraphEtlError: The configuration, the data or the store does not allow the
            night; what was published stands, and the next start goes on.
    """
    tell = progress or (lambda step, share: None)
    workspace = Workspace(out)
    workspace.prepare()
    check_quotas(config)
    with disk_faults_told(out), night_lock(workspace.nights / "lock"):
        digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
        journal = NightJournal.open(workspace.nights / "journal.json", digest)
        try:
            outcome, reason = _steps(config, workspace, journal, accepted, tell)
        except GateError as error:
            outcome, reason = "refused", str(error)
        if config.state is not None:
            ledger = ForgottenUsers(config.state)
            dropped = drop_versions(workspace, ledger)
            journal.record("forgotten", {"users": len(ledger), **dropped.to_dict()})
        journal.record("end", {"outcome": outcome, "reason": reason})
        night = _summed_up(workspace, journal, outcome, reason)
        journal.finish()
        for needed_no_more in (workspace.night_rows, workspace.text):
            shutil.rmtree(needed_no_more, ignore_errors=True)
        prune_artifacts(workspace.artifacts, workspace.current, config.keep_artifacts)
        tell(outcome, 1.0)
        return night


def _steps(
    config: NightlyConfig,
    workspace: Workspace,
    journal: NightJournal,
    accepted: Mapping[str, str] | None,
    tell: Progress,
) -> tuple[Outcome, str]:
    events = _events(config, workspace, journal, tell)
    prepared = prepare(
        config,
        workspace,
        tell,
        gated=True,
        accepted=accepted,
        events=events,
        state=config.state,
    )
    snapshot_id = prepared.dataset.snapshot_id
    if journal.steps.get("graph", {}).get("snapshot_id") != snapshot_id:
        journal.keep_only("events")  # the tables changed while the night was stopped
        journal.record("graph", {"snapshot_id": snapshot_id})
    if events is not None:
        journal.record("events", {"until": events.until, **events.counts(prepared.audit)})
    published = load_artifact(workspace.current) if workspace.current.is_file() else None
    trained = journal.steps.get("train")
    if trained is not None and not (workspace.artifacts / str(trained["artifact"])).is_dir():
        journal.keep_only("events", "graph")  # a purge deleted it
    if "train" not in journal.steps:
        if published is not None and _same(published.manifest, snapshot_id, config):
            return "unchanged", "neither the graph, the events nor the settings changed"
        folder = _train(config, prepared, published, workspace, tell)
        journal.record("train", {"artifact": folder.name})
    folder = workspace.artifacts / str(journal.steps["train"]["artifact"])
    if "measure" not in journal.steps:
        tell("measuring against the published model", 0.0)
        split = _split(config, prepared)
        ledger = TestLedger(workspace.nights / "test-ledger.jsonl")
        task = split.open_test(ledger, model=folder.name, config_hash=journal.night, repeat=True)
        verdict = judge(
            load_artifact(folder).scorer,
            published,
            task[split.primary_slice],
            prepared.dataset,
            max_drop=config.max_drop,
            drop_p_value=config.drop_p_value,
            p_value=config.p_value,
            min_users=config.min_users,
        )
        journal.record("measure", asdict(verdict))
    measured = journal.steps["measure"]
    if not measured["passes"]:
        return "refused", str(measured["reason"])
    publish(folder, workspace.current)
    return "published", str(measured["reason"])


def _events(
    config: NightlyConfig, workspace: Workspace, journal: NightJournal, tell: Progress
) -> TakenEvents | None:
    """Return the events of the night, up to where the log ended when it first began."""
    if config.event_log is None:
        return None
    folder = workspace.taken_events
    if "events" not in journal.steps:
        journal.record("events", {"until": end_to_take(config.event_log, folder)})
    tell("taking in the event log", 0.0)
    until = int(journal.steps["events"]["until"])
    forgotten = None if config.state is None else ForgottenUsers(config.state)
    if forgotten is not None:
        purge_taken(folder, forgotten)
    return take_in(config.event_log, folder, until, config.events_left_out, forgotten)


def _train(
    config: NightlyConfig,
    prepared: Prepared,
    published: Artifact | None,
    workspace: Workspace,
    tell: Progress,
) -> Path:
    """Return the folder of a new artifact, trained on all but the newest events."""
    split = _split(config, prepared)
    tuned = tuned_settings(config, source_names(config), split, workspace, tell, search_anew=False)
    towers = config.towers
    if TOWERS in source_names(config):
        towers, _ = tuned_towers(config, split, prepared, tuned, tell)
    events = split.interactions(split.config.refit_on)
    facts = catalogue_facts(
        events, prepared.dataset.num_items, prepared.dataset.graph.item_entity_matrix()
    )
    referee = Referee(workspace, split, facts, config.cutoffs, config.seed)
    comparison = Comparison(
        config, prepared, split, tuned, towers, referee, tell, rows_folder=workspace.night_rows
    )
    earlier = earlier_towers(published, config, prepared.dataset, events)
    comparison.earlier_towers = earlier
    pipeline = comparison.pipeline()
    tell("writing the artifact", 0.0)
    known = replace(comparison.training(), interactions=prepared.dataset.interactions)
    return save_artifact(
        workspace.artifacts,
        pipeline,
        known,  # histories are complete: only learning stops before the newest events
        ArtifactDetails(
            config=config.model_dump(mode="json"),
            seeds={"run": config.seed},
            git_commit=git_commit(),
            metrics={
                "rankers": pipeline.describe()["rankers"],
                "learned_until": int(events.timestamp.max(initial=0)),
                "towers_began_with": published.artifact_id if earlier and published else None,
            },
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        encoder=learned_encoder(prepared.text_vectors, comparison.training()),
    )


def _split(config: NightlyConfig, prepared: Prepared) -> Split:
    settings = SplitConfig(
        name=config.split, seed=config.seed, test_fraction=config.newest_fraction
    )
    return make_split(prepared.dataset, settings)


def _same(manifest: Mapping[str, Any], snapshot_id: str, config: NightlyConfig) -> bool:
    return bool(
        manifest["snapshot_id"] == snapshot_id
        and manifest["config"] == config.model_dump(mode="json")
    )


def _summed_up(workspace: Workspace, journal: NightJournal, outcome: Outcome, reason: str) -> Night:
    """Write the night's summary as JSON and Markdown, and return it."""
    current = workspace.current
    night = Night(
        night=journal.night,
        outcome=outcome,
        reason=reason,
        snapshot_id=_standing_snapshot(workspace),
        artifact_id=artifact_id_of(current) if current.is_file() else "",
        steps=dict(journal.steps),
        summary=workspace.nights / f"{journal.night}.json",
    )
    record = {**asdict(night), "summary": night.summary.name}
    write_synced(night.summary, json.dumps(record, indent=1).encode())
    write_synced(night.summary.with_suffix(".md"), _markdown(night).encode())
    return night


def _standing_snapshot(workspace: Workspace) -> str:
    pointer = workspace.snapshot
    return str(load_manifest(pointer)[1]["snapshot_id"]) if pointer.is_file() else ""


def _markdown(night: Night) -> str:
    lines = [
        f"# Night {night.night}: {night.outcome}",
        "",
        night.reason,
        "",
        f"- graph: {night.snapshot_id or 'none published'}",
        f"- artifact: {night.artifact_id or 'none published'}",
    ]
    events = night.steps.get("events", {})
    if "read" in events:
        lost = "".join(f", {rows} {reason}" for reason, rows in events["dropped"].items())
        lines.append(f"- event log: {events['read']} events, {events['kept']} taken{lost}")
    forgotten = night.steps.get("forgotten")
    if forgotten:
        deleted = len(forgotten["snapshots"]) + len(forgotten["artifacts"])
        lines.append(
            f"- forgotten users: {forgotten['users']} in the ledger, {deleted} versions that held "
            "some are deleted"
        )
        lines += [f"  - still held by {place}" for place in forgotten["still_held"]]
    measured = night.steps.get("measure")
    if measured:
        published = measured["published"]
        lines += ["", "| model | NDCG@20 |", "| --- | --- |"]
        lines.append(f"| candidate | {measured['candidate']:.4f} |")
        if published is not None:
            lines.append(f"| published before | {published:.4f} |")
        lines += ["", f"{measured['num_users']} users with likes among the newest events."]
    return "\n".join(lines) + "\n"
