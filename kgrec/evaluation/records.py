"""Run records: what was measured, of what, with what, on what; per-user values lie beside them.

Tables and claims are made from these files alone, so a later paired test needs no new run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graph_etl.snapshot import sha256_of, write_synced
from kgrec.data.splits import Split
from kgrec.errors import DataError
from kgrec.evaluation.beyond_accuracy import set_metrics
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.evaluation.evaluator import EvaluationResult
from kgrec.evaluation.ledger import TestLedger
from kgrec.evaluation.statistics import bootstrap_intervals, set_interval

SCHEMA_VERSION = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricValue(_Frozen):
    """A metric with its 95 % interval over users."""

    value: float
    """Mean over users, or the value of all lists together."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""


class SliceRecord(_Frozen):
    """What was measured on one slice of a task."""

    task: str
    """Split, part and slice."""
    num_users: int
    """Users asked."""
    num_targets: int
    """Hidden positives of all of them."""
    ranked_items: int
    """Items that could be recommended."""
    metrics: dict[str, MetricValue]
    """Metric and cutoff -> value."""


class LedgerState(_Frozen):
    """Where the ledger of test openings stood after the run."""

    count: int
    """Openings so far."""
    head: str
    """Hash of the last line."""


class RunRecord(_Frozen):
    """One model, measured on one part of one split."""

    schema_version: int = SCHEMA_VERSION
    """Version of this format."""
    run_id: str
    """The file name, made of what was run."""
    created_at: str
    """UTC time, ISO 8601."""
    dataset: str
    """Name of the dataset."""
    snapshot_id: str
    """Content-derived id of its snapshot."""
    split: dict[str, Any]
    """Configuration, checksum, counts and cuts of the split."""
    part: Literal["val", "test"]
    """Which part was asked."""
    model: str
    """Label of the row in tables; runs of one label differ in seeds only."""
    config: dict[str, Any]
    """Everything that was set, or chosen on validation."""
    config_hash: str
    """SHA-256 of model, configuration and seed."""
    seed: int
    """Seed of the model."""
    commit: str
    """Commit of the code."""
    machine: dict[str, str]
    """Processor, cores, memory, system."""
    versions: dict[str, str]
    """Versions of Python and the libraries."""
    slices: dict[str, SliceRecord]
    """Slice -> what was measured."""
    ledger: LedgerState | None = None
    """State of the ledger; required where part is "test"."""
    timings_s: dict[str, float] = Field(default_factory=dict)
    """Step -> seconds."""
    notes: dict[str, Any] = Field(default_factory=dict)
    """Anything else that a reader needs."""
    per_user_sha256: str = ""
    """SHA-256 of the file of per-user values."""


@dataclass(frozen=True)
class StoredRun:
    """A record with the values of each user, by slice."""

    record: RunRecord
    results: Mapping[str, EvaluationResult]


def hash_of_config(model: str, config: Mapping[str, Any], seed: int) -> str:
    """Return the SHA-256 that stands for a model's whole configuration in ledger and records."""
    content = json.dumps({"model": model, "config": config, "seed": seed}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def make_run(
    results: Mapping[str, EvaluationResult],
    *,
    split: Split,
    part: Literal["val", "test"],
    model: str,
    config: Mapping[str, Any],
    seed: int = 0,
    ledger: TestLedger | None = None,
    timings_s: Mapping[str, float] | None = None,
    notes: Mapping[str, Any] | None = None,
    bootstrap_seed: int = 0,
) -> StoredRun:
    """Return the record of an evaluation, intervals included.

    Args:
        results: Slice -> result, of the tasks that the split handed out.
        split: The split they came from.
        part: Which part was asked.
        model: Label of the row in tables.
        config: JSON-ready settings.
        seed: Seed of the model.
        ledger: Where the opening of test was written down.
        timings_s: Step -> seconds.
        notes: Anything else that a reader needs; JSON-ready.
        bootstrap_seed: Seed of the intervals.

    Raises:
        DataError: ``part`` is "test" and no ledger is given.
    """
    if part == "test" and ledger is None:
        raise DataError("Expected a ledger for a record on test, got none; pass that of open_test")
    config_hash = hash_of_config(model, config, seed)
    described = split.describe()
    return StoredRun(
        RunRecord(
            run_id=(
                f"{split.dataset.name}-{split.name}-{split.seed}-{part}-{model}-{seed}-"
                f"{config_hash[:8]}"
            ).replace("/", "_"),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            dataset=split.dataset.name,
            snapshot_id=split.dataset.snapshot_id,
            split=described,
            part=part,
            model=model,
            config=dict(config),
            config_hash=config_hash,
            seed=seed,
            commit=git_commit(),
            machine=machine(),
            versions=versions(),
            slices={name: _slice(result, bootstrap_seed) for name, result in results.items()},
            ledger=LedgerState(count=ledger.count, head=ledger.head) if ledger else None,
            timings_s={**_timings(results), **(timings_s or {})},
            notes=dict(notes or {}),
        ),
        dict(results),
    )


def save_run(run: StoredRun, folder: Path) -> Path:
    """Write a run as RUN_ID.json and RUN_ID.npz into ``folder`` and return the path of the JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    for name, result in run.results.items():
        arrays[f"{name}|user_idx"] = result.user_idx.astype(np.int32)
        arrays[f"{name}|lists"] = result.lists
        for metric, values in result.metrics.items():
            arrays[f"{name}|metric|{metric}"] = values.astype(np.float32)
    values_file = folder / f"{run.record.run_id}.npz"
    np.savez_compressed(values_file, **arrays)
    record = run.record.model_copy(update={"per_user_sha256": sha256_of(values_file)})
    path = folder / f"{run.record.run_id}.json"
    write_synced(path, record.model_dump_json(indent=1).encode())
    return path


def load_record(path: Path) -> RunRecord:
    """Return a record without its per-user values.

    Raises:
        DataError: The file is absent, no record, or of another schema version.
    """
    if not path.is_file():
        raise DataError(f"Expected the run record {path}, found none; run the evaluation again")
    try:
        content = json.loads(path.read_bytes())
        version = content.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DataError(
                f"Expected record schema version {SCHEMA_VERSION}, got {version} in {path}; "
                "run the evaluation again"
            )
        return RunRecord.model_validate(content)
    except (ValueError, AttributeError, ValidationError) as error:
        raise DataError(f"Expected a run record in {path}, got: {error}") from error


def load_run(path: Path) -> StoredRun:
    """Return a record with its per-user values, checked against the checksum.

    Raises:
        DataError: A file is absent, altered, or of another schema version.
    """
    record = load_record(path)
    values_file = path.with_suffix(".npz")
    if not values_file.is_file() or sha256_of(values_file) != record.per_user_sha256:
        raise DataError(
            f"Expected {values_file} with sha256 {record.per_user_sha256[:12]}…, got none or "
            "another; restore it, or run the evaluation again"
        )
    with np.load(values_file, allow_pickle=False) as arrays:
        results = {
            name: _result(name, part, record, arrays) for name, part in record.slices.items()
        }
    return StoredRun(record, results)


def load_runs(folder: Path) -> list[StoredRun]:
    """Return all runs of a folder, in the order of their file names."""
    return [load_run(path) for path in sorted(folder.glob("*.json"))]


def _slice(result: EvaluationResult, seed: int) -> SliceRecord:
    names = list(result.metrics)
    table = np.column_stack([result.metrics[name] for name in names])
    intervals = dict(zip(names, bootstrap_intervals(table, seed=seed), strict=True))
    for name in result.set_metrics:
        statistic = partial(_set_metric, result, name)
        intervals[name] = set_interval(statistic, len(result), seed=seed)
    return SliceRecord(
        task=result.task,
        num_users=len(result),
        num_targets=result.num_targets,
        ranked_items=result.ranked_items,
        metrics={
            name: MetricValue(value=one.value, low=one.low, high=one.high)
            for name, one in intervals.items()
        },
    )


def _timings(results: Mapping[str, EvaluationResult]) -> dict[str, float]:
    timings: dict[str, float] = {}
    for name, result in results.items():
        timings[f"evaluate_{name}"] = result.wall_s
        timings[f"model_{name}"] = result.model_s
    return timings


def _set_metric(result: EvaluationResult, name: str, weights: npt.NDArray[np.int64]) -> float:
    return set_metrics(result.lists, result.ranked_items, weights)[name]


def _result(
    name: str, part: SliceRecord, record: RunRecord, arrays: Mapping[str, Any]
) -> EvaluationResult:
    prefix = f"{name}|metric|"
    return EvaluationResult(
        task=part.task,
        user_idx=arrays[f"{name}|user_idx"].astype(np.int64),
        metrics={
            key.removeprefix(prefix): arrays[key].astype(np.float64)
            for key in arrays
            if key.startswith(prefix)
        },
        set_metrics={
            key: value.value
            for key, value in part.metrics.items()
            if f"{prefix}{key}" not in arrays
        },
        lists=arrays[f"{name}|lists"],
        ranked_items=part.ranked_items,
        num_targets=part.num_targets,
        wall_s=record.timings_s.get(f"evaluate_{name}", float("nan")),
        model_s=record.timings_s.get(f"model_{name}", float("nan")),
    )
