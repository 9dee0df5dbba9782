"""Tables made from run records: metrics with intervals, and each row against a named baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgrec.data.interactions import IntArray
from kgrec.errors import DataError
from kgrec.evaluation.metrics import MetricArray
from kgrec.evaluation.records import StoredRun
from kgrec.evaluation.statistics import Interval, PairedTest, bootstrap_interval, paired_test


@dataclass(frozen=True)
class Table:
    """Headings, rows of cells, and the lines under them."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Return the table in Markdown, notes below."""
        lines = [self.headings, ("---",) * len(self.headings), *self.rows]
        body = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return body + "\n\n" + "\n\n".join(self.notes) + "\n"

    def text(self) -> str:
        """Return the table in aligned columns for a terminal, notes below."""
        lines = [self.headings, *self.rows]
        widths = [max(len(cells[i]) for cells in lines) for i in range(len(self.headings))]
        padded = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in lines]
        rule = "  ".join("-" * width for width in widths)
        body = [padded[0], rule, *padded[1:]]
        return "\n".join([line.rstrip() for line in body] + ["", *self.notes]) + "\n"


def metric_table(
    runs: Sequence[StoredRun],
    metrics: Sequence[str] = ("recall@20", "ndcg@20"),
    *,
    slice_name: str = "all",
    baseline: str | None = None,
    compare: str = "ndcg@20",
    seed: int = 0,
) -> Table:
    """Return one row for each model label, best first by ``compare``.

    Runs of one label are averaged user by user, over seeds and over split seeds.

    Args:
        runs: Of one dataset, one kind of split and one part.
        metrics: Columns.
        slice_name: Which slice.
        baseline: Label that the others are compared with, paired by user; None for no comparison.
        compare: Metric of the comparison.
        seed: Seed of the resampling.

    Raises:
        DataError: The runs do not belong into one table, or do not name a metric or the baseline.
    """
    _check_comparable(runs, slice_name)
    labels = list(dict.fromkeys(run.record.model for run in runs))
    of_label = {label: [r for r in runs if r.record.model == label] for label in labels}
    if baseline is not None and baseline not in of_label:
        raise DataError(f"Expected the baseline '{baseline}' among the runs, got {labels}")
    values = {label: user_values(of_label[label], slice_name, compare) for label in labels}
    labels.sort(key=lambda label: -float(values[label][1].mean()))
    headings = ["model", *metrics]
    if baseline is not None:
        headings += [f"{compare} against {baseline}", "p bootstrap", "p Wilcoxon"]
    rows = []
    for label in labels:
        cells = [_label_cell(of_label[label])]
        cells += [_metric_cell(of_label[label], slice_name, metric, seed) for metric in metrics]
        if baseline is not None:
            cells += _paired_cells(label, baseline, values, seed)
        rows.append(tuple(cells))
    return Table(tuple(headings), tuple(rows), tuple(_notes(runs, slice_name, baseline)))


def compare_runs(
    a: Sequence[StoredRun],
    b: Sequence[StoredRun],
    metric: str,
    *,
    slice_name: str = "all",
    seed: int = 0,
) -> PairedTest:
    """Return the paired test of two labels on one metric, each averaged over its runs.

    Raises:
        DataError: They were not asked about the same users of the same splits.
    """
    _check_comparable([*a, *b], slice_name)
    users_a, values_a = user_values(a, slice_name, metric)
    users_b, values_b = user_values(b, slice_name, metric)
    if not np.array_equal(users_a, users_b):
        raise DataError("Expected the same users on both sides of a paired test, got others")
    return paired_test(values_a, values_b, seed=seed)


def user_values(
    runs: Sequence[StoredRun], slice_name: str, metric: str
) -> tuple[IntArray, MetricArray]:
    """Return each user's mean of a metric over runs: users ascending, and their values.

    Raises:
        DataError: A run does not hold the metric.
    """
    for run in runs:
        held = run.results[slice_name].metrics
        if metric not in held:
            raise DataError(
                f"Expected metric '{metric}' for each user in {run.record.run_id}, got "
                f"{sorted(held)}"
            )
    results = [run.results[slice_name] for run in runs]
    users, place = np.unique(
        np.concatenate([result.user_idx for result in results]), return_inverse=True
    )
    values = np.concatenate([result.metrics[metric] for result in results])
    return users, np.bincount(place, values) / np.bincount(place)


def _check_comparable(runs: Sequence[StoredRun], slice_name: str) -> None:
    if not runs:
        raise DataError("Expected run records for a table, got none")
    kinds = {
        (r.record.dataset, r.record.snapshot_id, str(r.record.split["name"]), r.record.part)
        for r in runs
    }
    if len(kinds) != 1:
        raise DataError(f"Expected one dataset, split and part in a table, got {sorted(kinds)}")
    for run in runs:
        if slice_name not in run.results:
            raise DataError(
                f"Expected slice '{slice_name}' in {run.record.run_id}, got {sorted(run.results)}"
            )
    splits: dict[str, set[str]] = {}
    for run in runs:
        splits.setdefault(run.record.model, set()).add(str(run.record.split["checksum"]))
    if len({frozenset(checksums) for checksums in splits.values()}) != 1:
        raise DataError(
            "Expected every model to be measured on the same splits, got "
            f"{ {label: len(checksums) for label, checksums in splits.items()} } splits by model, "
            "not all the same; run what is missing"
        )


def _label_cell(runs: Sequence[StoredRun]) -> str:
    seeds = len({run.record.seed for run in runs})
    return f"{runs[0].record.model} ({seeds} seeds)" if seeds > 1 else runs[0].record.model


def _metric_cell(runs: Sequence[StoredRun], slice_name: str, metric: str, seed: int) -> str:
    if all(metric in run.results[slice_name].metrics for run in runs):
        _, values = user_values(runs, slice_name, metric)
        return format_interval(bootstrap_interval(values, seed=seed))
    stored = [run.record.slices[slice_name].metrics.get(metric) for run in runs]
    found = [one for one in stored if one is not None]
    if len(found) < len(runs):
        raise DataError(f"Expected metric '{metric}' in every run, got none in some")
    ends = np.mean([(one.value, one.low, one.high) for one in found], axis=0)
    return format_interval(Interval(*map(float, ends)))


def _paired_cells(
    label: str, baseline: str, values: dict[str, tuple[IntArray, MetricArray]], seed: int
) -> list[str]:
    if label == baseline:
        return ["", "", ""]
    if not np.array_equal(values[label][0], values[baseline][0]):
        raise DataError(f"Expected the same users for '{label}' and '{baseline}', got others")
    test = paired_test(values[label][1], values[baseline][1], seed=seed)
    change = test.difference
    relative = "" if np.isnan(test.relative) else f"{100 * test.relative:+.1f} % "
    return [
        f"{relative}({change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}])",
        format_p(test.p_bootstrap),
        format_p(test.p_wilcoxon),
    ]


def _notes(runs: Sequence[StoredRun], slice_name: str, baseline: str | None) -> list[str]:
    first = runs[0].record
    seeds = sorted({int(run.record.split["seed"]) for run in runs})
    size = {(run.results[slice_name].num_targets, len(run.results[slice_name])) for run in runs}
    targets = ", ".join(
        f"{num_targets} positives of {users} users" for num_targets, users in sorted(size)
    )
    notes = [
        f"{first.dataset} ({first.snapshot_id}), split {first.split['name']} seed "
        f"{', '.join(map(str, seeds))}, {first.part}, slice {slice_name}: {targets}. "
        "Full ranking; everything a user had interacted with is masked, for every model.",
        "Brackets: 95 % bootstrap interval over users."
        + (f" p: paired by user against {baseline}." if baseline else ""),
    ]
    states = [run.record.ledger for run in runs if run.record.ledger is not None]
    if states:
        last = max(states, key=lambda state: state.count)
        notes.append(f"Test openings in the ledger: {last.count} (head {last.head[:12]}).")
    return notes


def format_interval(interval: Interval) -> str:
    """Return "0.1586 [0.1466, 0.1712]"."""
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def format_p(p: float) -> str:
    """Return a p-value with three places, "<0.001" below that."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
