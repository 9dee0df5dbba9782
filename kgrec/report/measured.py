"""What the records behind a table say, by label; several seeds of one label count as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kgrec.evaluation.records import StoredRun
from kgrec.evaluation.statistics import Interval, PairedTest, bootstrap_interval
from kgrec.evaluation.tables import compare_runs, user_values
from kgrec.report.inputs import MeasuredTable, ReportInput

MAIN_METRIC = "ndcg@20"


@dataclass(frozen=True)
class Comparison:
    """Two labels of one table, compared on MAIN_METRIC by user.

    Attributes:
        ours, other: The labels.
        test: The paired test of the first less the second.
        table: Where both stand.
    """

    ours: str
    other: str
    test: PairedTest
    table: MeasuredTable

    @property
    def relative(self) -> Interval:
        """The difference as a share of the other's mean, which is taken as fixed."""
        change = self.test.difference
        if not change.value:
            return Interval(0.0, float("nan"), float("nan"))
        scale = self.test.relative / change.value
        return Interval(self.test.relative, change.low * scale, change.high * scale)

    @property
    def proven(self) -> bool:
        """Whether p is below 0.05."""
        return self.test.p_bootstrap < 0.05


def labels_of(table: MeasuredTable) -> list[str]:
    """Return the labels of a table, best first by MAIN_METRIC."""
    known = dict.fromkeys(run.record.model for run in table.runs)
    values = {label: value_of(table, label, MAIN_METRIC) for label in known}
    return sorted(known, key=lambda label: -(one.value if (one := values[label]) else -1.0))


def runs_of(table: MeasuredTable, label: str) -> list[StoredRun]:
    """Return the records of one label."""
    return [run for run in table.runs if run.record.model == label]


def value_of(table: MeasuredTable, label: str, metric: str) -> Interval | None:
    """Return a metric of a label with its 95 % interval; None where it was not measured."""
    runs = runs_of(table, label)
    stored = [
        value
        for run in runs
        if (value := run.record.slices[table.slice].metrics.get(metric)) is not None
    ]
    if not runs or len(stored) < len(runs):
        return None
    if len(runs) > 1 and all(metric in run.results[table.slice].metrics for run in runs):
        return bootstrap_interval(user_values(runs, table.slice, metric)[1])
    number = len(stored)
    return Interval(
        sum(one.value for one in stored) / number,
        sum(one.low for one in stored) / number,
        sum(one.high for one in stored) / number,
    )


def metrics_of(table: MeasuredTable) -> list[str]:
    """Return the names of all metrics that the records of a table hold, in their order."""
    names: dict[str, None] = {}
    for run in table.runs:
        names |= dict.fromkeys(run.record.slices[table.slice].metrics)
    return list(names)


def comparison(table: MeasuredTable, ours: str, other: str) -> Comparison | None:
    """Return the paired comparison of two labels; None where either was not measured.

    Raises:
        DataError: They were asked about other users.
    """
    first, second = runs_of(table, ours), runs_of(table, other)
    if not first or not second or ours == other:
        return None
    if any(MAIN_METRIC not in run.results[table.slice].metrics for run in (*first, *second)):
        return None
    test = compare_runs(first, second, MAIN_METRIC, slice_name=table.slice)
    return Comparison(ours, other, test, table)


def strongest_baseline(report: ReportInput, table: MeasuredTable) -> str | None:
    """Return the label of the best row that is not ours; None where there is none."""
    for label in labels_of(table):
        if report.kind_of(label) in ("reference", "baseline"):
            return label
    return None


def all_runs(tables: Sequence[MeasuredTable]) -> list[StoredRun]:
    """Return every record once, in the order of the tables."""
    return list({run.record.run_id: run for table in tables for run in table.runs}.values())
