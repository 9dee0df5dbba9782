"""What a report is made of; gathering it is for the job that ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from graph_etl.statistics import GraphStatistics
from kgrec.artifact import Artifact
from kgrec.data.audit import AuditReport
from kgrec.data.dataset import Dataset
from kgrec.evaluation.records import StoredRun
from kgrec.evaluation.source_recall import UnionRecall
from kgrec.evaluation.tables import Table
from kgrec.models.fit_result import CurvePoint
from kgrec.serving.answers import Recommendations
from kgrec.serving.deletion_test import DeletionTest


class MeasuredTable(Protocol):
    """Metrics of several models on one slice of one split."""

    @property
    def split(self) -> str:
        """Name of the split."""

    @property
    def slice(self) -> str:
        """Which users and items."""

    @property
    def title(self) -> str:
        """In words."""

    @property
    def table(self) -> Table:
        """One row for each model label, best first."""

    @property
    def runs(self) -> tuple[StoredRun, ...]:
        """The records it is made of."""


@dataclass(frozen=True)
class ReportInput:
    """All that a report shows. What is None or empty is left out of the page.

    Attributes:
        name: Name of the run.
        dataset: Catalogue, users, graph and interactions.
        tables: Metrics by split and slice.
        main_split, main_slice: The table that the summary and the first plot are made of.
        published: Label of the published model's rows.
        baselines: Labels of methods that are not ours; all other rows are marked as ours.
        reference: The baseline that the others are compared with.
        config: The resolved configuration, plain JSON values.
        artifact: The published artifact; gives sources, rankers, histories and the drawing.
        answers: Recommendations with reasons for a few users, by user id.
        deletion: How often the named reason carried the score.
        statistics: Figures of the graph.
        audit: What the build of the graph counted: "tables" and "links".
        data_audit: What the look over the dataset found.
        source_recall: What each candidate source brings on validation.
        curves: What was trained, in words -> its learning curve.
        timings_s: Step -> wall seconds.
        terms: Terms of the data in use, a line each.
        created_at: When the run ended, as it is to be shown.
    """

    name: str
    dataset: Dataset
    tables: Sequence[MeasuredTable]
    main_split: str
    main_slice: str = "all"
    published: str = "pipeline"
    baselines: tuple[str, ...] = ()
    reference: str = "ease"
    config: Mapping[str, Any] = field(default_factory=dict)
    artifact: Artifact | None = None
    answers: Mapping[str, Recommendations] = field(default_factory=dict)
    deletion: DeletionTest | None = None
    statistics: GraphStatistics | None = None
    audit: Mapping[str, Any] = field(default_factory=dict)
    data_audit: AuditReport | None = None
    source_recall: UnionRecall | None = None
    curves: Mapping[str, Sequence[CurvePoint]] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    terms: tuple[str, ...] = ()
    created_at: str = ""

    def main_table(self) -> MeasuredTable | None:
        """Return the table of the main split and slice, None where there is none."""
        for table in self.tables:
            if (table.split, table.slice) == (self.main_split, self.main_slice):
                return table
        return None

    def kind_of(self, label: str) -> str:
        """Return what a row is: "published", "ours", "reference" or "baseline"."""
        if label == self.published:
            return "published"
        if label == self.reference:
            return "reference"
        return "baseline" if label in self.baselines else "ours"
