"""The main job: tables to a published artifact, its measure, its answers and its report.

Every model's measure is recorded as soon as it is made; a run that was stopped goes on from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from graph_etl.snapshot import write_synced
from kgrec.artifact import Artifact, ArtifactDetails, publish, save_artifact
from kgrec.config import RunConfig
from kgrec.data.splits import Split
from kgrec.evaluation.beyond_accuracy import catalogue_facts
from kgrec.evaluation.environment import git_commit
from kgrec.evaluation.records import StoredRun
from kgrec.evaluation.source_recall import UnionRecall
from kgrec.evaluation.tables import Table, metric_table
from kgrec.jobs.comparison import TOWERS, Comparison, Parts, check_quotas, source_names
from kgrec.jobs.measure import Referee
from kgrec.jobs.prepare import Prepared, prepare
from kgrec.jobs.progress import Progress
from kgrec.jobs.settings import tuned_settings, tuned_towers
from kgrec.jobs.workspace import Workspace
from kgrec.models.fit_result import CurvePoint
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import learned_encoder
from kgrec.models.towers_config import TowersConfig
from kgrec.ranking.pipeline import Pipeline
from kgrec.report import ReportInput, write_report
from kgrec.serving.answers import Recommendations
from kgrec.serving.deletion_test import DeletionTest, deletion_test
from kgrec.serving.recommender import Recommender
from kgrec.tuning import TunedModel

TITLES = {
    "all": "all users",
    "among_all": "cold items among all items",
    "among_cold": "cold items among cold items",
    "with_history": "users with a history",
    "without_history": "users without a history",
}


@dataclass(frozen=True)
class ResultTable:
    """One table of the run.

    Attributes:
        split: Name of the split.
        slice: Which users and items.
        title: In words.
        table: Models by row.
        runs: The records it is made of.
    """

    split: str
    slice: str
    title: str
    table: Table
    runs: tuple[StoredRun, ...]


@dataclass(frozen=True)
class RunResult:
    """What a run made and found.

    Attributes:
        workspace: Its folder.
        config: Its configuration, resolved.
        prepared: Its data.
        tables: Metrics by split and slice.
        answers: Recommendations with reasons for a few users, by user id.
        deletion: How often the named reason carried the score; None where it was left out.
        artifact: The published artifact.
        source_recall: What each candidate source brings on validation; None where it was left out.
        curves: What was trained, in words -> its learning curve.
        created_at: UTC time of the end, ISO 8601.
        timings_s: Step -> wall seconds.
    """

    workspace: Workspace
    config: RunConfig
    prepared: Prepared
    tables: tuple[ResultTable, ...]
    answers: Mapping[str, Recommendations]
    deletion: DeletionTest | None
    artifact: Artifact
    source_recall: UnionRecall | None
    curves: Mapping[str, tuple[CurvePoint, ...]]
    created_at: str
    timings_s: Mapping[str, float]


def run(config: RunConfig, out: Path, progress: Progress | None = None) -> RunResult:
    """Build, train, index, measure, publish and answer.

    Args:
        config: What to run.
        out: Folder of the run; one that was stopped goes on.
        progress: Told each step and the share of it that is done.

    Returns:
        What was made and found; the same lies in run.json and report.html of ``out``.

    Raises:
        KgrecError: The configuration or the data does not allow the run.
        GraphEtlError: The tables or their mapping are wrong.
    """
    tell = progress or (lambda step, share: None)
    clock = _Clock()
    workspace = Workspace(out)
    workspace.prepare()
    check_quotas(config)
    prepared = prepare(config, workspace, tell)
    clock.lap("graph and texts")
    split = prepared.split(config.split_config(config.split))
    wanted = {*config.baselines, *source_names(config)}
    tuned = tuned_settings(config, wanted, split, workspace, tell)
    clock.lap("tuning")
    towers: TowersConfig = config.towers
    curve: tuple[CurvePoint, ...] = ()
    if TOWERS in source_names(config):
        towers, curve = tuned_towers(config, split, prepared, tuned, tell)
    clock.lap("towers on validation")
    main = _comparison(config, prepared, split, tuned, towers, workspace, tell)
    runs: dict[str, list[StoredRun]] = {split.name: _rows(main, config, publish_into=workspace)}
    clock.lap(split.name)
    recall = None
    if config.source_recall:
        tell("what each candidate source brings", 0.0)
        recall = main.source_recall()
        clock.lap("recall of sources")
    main.forget_models()
    for name in config.further_splits:
        further = prepared.split(config.split_config(name))
        other = _comparison(config, prepared, further, tuned, towers, workspace, tell)
        runs[name] = _rows(other, config, publish_into=None)
        other.forget_models()
        clock.lap(name)
    if config.publish_on == "all":
        pipeline, train = main.pipeline_on_all(), main.training_on_all()
        publish(_save(main, pipeline, train, "all", workspace), workspace.current)
        main.forget_models()
        clock.lap("the published model on all events")
    recommender = Recommender.load(workspace.current)
    answers = _answers(recommender, config)
    deletion = None
    if config.explained:
        tell(f"deletion test of {config.explained} explanations", 0.0)
        deletion = deletion_test(recommender, num_explanations=config.explained, seed=config.seed)
    clock.lap("answers and explanations")
    result = RunResult(
        workspace,
        config,
        prepared,
        tuple(_tables(runs)),
        answers,
        deletion,
        recommender.artifact,
        recall,
        {"towers, early stopping on validation": curve} if curve else {},
        datetime.now(UTC).isoformat(timespec="seconds"),
        clock.laps,
    )
    write_synced(workspace.summary, json.dumps(summary_of(result), indent=1).encode())
    write_report(_report_of(result, split), workspace.report)
    tell("done", 1.0)
    return result


def summary_of(result: RunResult) -> dict[str, Any]:
    """Return a run's findings as plain JSON: what ``kgrec evaluate --json`` prints."""
    return {
        "name": result.config.name,
        "dataset": result.prepared.dataset.name,
        "snapshot_id": result.prepared.dataset.snapshot_id,
        "artifact_id": result.artifact.artifact_id,
        "commit": git_commit(),
        "created_at": result.created_at,
        "protocol": "full ranking over all items; everything a user had interacted with before "
        "the cut is masked, low ratings included, the same for every model; 95 % bootstrap "
        "intervals over users; test opened once for each model",
        "config": result.config.model_dump(mode="json"),
        "tables": [
            {
                "split": table.split,
                "slice": table.slice,
                "title": table.title,
                "models": [
                    {
                        "model": run.record.model,
                        "record": run.record.run_id,
                        "num_users": run.record.slices[table.slice].num_users,
                        "metrics": {
                            name: value.model_dump()
                            for name, value in run.record.slices[table.slice].metrics.items()
                        },
                    }
                    for run in table.runs
                ],
                "text": table.table.text(),
            }
            for table in result.tables
        ],
        "audit": result.prepared.audit,
        "source_recall": None if result.source_recall is None else result.source_recall.to_dict(),
        "deletion_test": None if result.deletion is None else result.deletion.to_dict(),
        "answers": {user: answer.to_dict() for user, answer in result.answers.items()},
        "timings_s": dict(result.timings_s),
    }


def _report_of(result: RunResult, split: Split) -> ReportInput:
    return ReportInput(
        name=result.config.name,
        dataset=result.prepared.dataset,
        tables=result.tables,
        main_split=split.name,
        main_slice=split.primary_slice,
        baselines=result.config.baselines,
        config=result.config.model_dump(mode="json"),
        artifact=result.artifact,
        answers=result.answers,
        deletion=result.deletion,
        statistics=result.prepared.statistics,
        audit=result.prepared.audit,
        data_audit=result.prepared.data_audit,
        source_recall=result.source_recall,
        curves=result.curves,
        timings_s=result.timings_s,
        terms=result.prepared.terms,
        created_at=result.created_at,
    )


def _comparison(
    config: RunConfig,
    prepared: Prepared,
    split: Split,
    tuned: Mapping[str, TunedModel],
    towers: TowersConfig,
    workspace: Workspace,
    progress: Progress,
) -> Comparison:
    train = split.interactions(split.config.refit_on)
    features = prepared.dataset.graph.item_entity_matrix()
    facts = catalogue_facts(train, prepared.dataset.num_items, features)
    referee = Referee(workspace, split, facts, config.cutoffs, config.seed)
    return Comparison(config, prepared, split, tuned, towers, referee, progress)


def _rows(
    comparison: Comparison, config: RunConfig, publish_into: Workspace | None
) -> list[StoredRun]:
    """Return the rows of a split; publish its pipeline where a workspace is given."""
    runs = comparison.baselines()
    if publish_into is None:
        runs.append(comparison.measure_pipeline())
    else:
        pipeline, train = comparison.pipeline(), comparison.training()
        part = comparison.split.config.refit_on
        publish(_save(comparison, pipeline, train, part, publish_into), publish_into.current)
        runs.append(
            comparison.measure_pipeline(
                served=lambda: Recommender.load(publish_into.current).artifact.scorer
            )
        )
    with_towers = TOWERS in source_names(config)
    if with_towers:
        runs.append(comparison.measure_towers())
    if comparison.split.name in config.ablations.splits:
        wanted = config.ablations
        if wanted.without_towers and with_towers:
            runs.append(comparison.measure_pipeline(Parts(towers=False)))
        if wanted.without_text:
            runs.append(comparison.measure_pipeline(Parts(texts=False)))
        runs += [comparison.measure_pipeline(Parts(graph=mode)) for mode in wanted.graph]
        if wanted.without_cold:
            runs.append(comparison.measure_cold_last())
        if wanted.without_ranker:
            runs.append(comparison.measure_candidates())
    return runs


def _save(
    comparison: Comparison,
    pipeline: Pipeline,
    train: TrainingData,
    learned_from: str,
    workspace: Workspace,
) -> Path:
    config, described = comparison.config, pipeline.describe()
    comparison.progress("writing the artifact", 0.0)
    return save_artifact(
        workspace.artifacts,
        pipeline,
        train,
        ArtifactDetails(
            config=config.model_dump(mode="json"),
            seeds={"run": config.seed},
            git_commit=git_commit(),
            metrics={
                "rankers": described["rankers"],
                "indexes": described["indexes"],
                "learned_from": learned_from,
            },
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        encoder=learned_encoder(comparison.prepared.text_vectors, train),
    )


def _tables(runs: Mapping[str, list[StoredRun]]) -> list[ResultTable]:
    tables = []
    for split, rows in runs.items():
        baseline = "ease" if any(run.record.model == "ease" for run in rows) else None
        for name in rows[0].results:
            title = f"{split}: {TITLES.get(name, name)}"
            table = metric_table(
                rows, ("recall@20", "ndcg@20", "mrr@10"), slice_name=name, baseline=baseline
            )
            tables.append(ResultTable(split, name, title, table, tuple(rows)))
    return tables


def _answers(recommender: Recommender, config: RunConfig) -> dict[str, Recommendations]:
    """Return the top 10 of users drawn by seed among those with at least ten likes."""
    events = recommender.artifact.interactions
    likes = np.bincount(
        events.user_idx[events.positive], minlength=len(recommender.artifact.users.ids)
    )
    known = np.flatnonzero(likes >= min(10, int(likes.max(initial=0))))
    size = min(config.shown_users, len(known))
    drawn = np.random.default_rng(config.seed).choice(known, size=size, replace=False)
    ids = [str(recommender.artifact.users.ids[user]) for user in np.sort(drawn)]
    return {user: recommender.recommend(user, k=10, explain=True) for user in ids}


class _Clock:
    """Wall seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = round(now - self._last, 2), now
