"""Sections about quality: interval plot, metric tables, what lists are like beyond hits."""

from __future__ import annotations

import re

from graph_etl.markup import Content, Markup, folded, join, table, tag
from kgrec.evaluation.statistics import Interval
from kgrec.report import wording
from kgrec.report.charts import Row, bars, intervals
from kgrec.report.inputs import MeasuredTable, ReportInput
from kgrec.report.measured import MAIN_METRIC, labels_of, metrics_of, value_of

BEYOND = {
    "coverage": "Share of the catalogue that stands in at least one list. Higher reaches more.",
    "gini": "How unevenly lists use the items: 0 all alike, 1 always the same few.",
    "novelty": "Mean self-information of a listed item in bits. Higher is less popular.",
    "popularity_lift": "How much more popular listed items are than what the user liked before, "
    "as a share of users. 0 is no bias.",
    "diversity": "Mean of 1 − cosine over pairs of a list, by facts of the graph. Higher is "
    "more varied.",
}


def plot_section(report: ReportInput) -> Markup | None:
    """Return MAIN_METRIC of every model on the main split with intervals, best first."""
    main = report.main_table()
    if main is None:
        return None
    rows, reference = _interval_rows(report, main, MAIN_METRIC)
    if not rows:
        return None
    return join(
        [
            tag(
                "p",
                f"{wording.metric_name(MAIN_METRIC)} ({wording.metric_meaning(MAIN_METRIC)}) on ",
                tag("code", main.split),
                " with 95\u00a0% intervals over users. The upright line is ",
                tag("strong", report.reference),
                ". Intervals of two models may overlap though the paired test tells them apart: "
                "it looks at the same users on both sides, and stands in the table below.",
            ),
            _legend(report),
            intervals(rows, reference=None if reference is None else reference.value),
        ]
    )


def tables_section(report: ReportInput) -> Markup | None:
    """Return the metric tables of every split and slice."""
    if not report.tables:
        return None
    return join([_legend(report), *(_metric_table(report, one) for one in report.tables)])


def beyond_section(report: ReportInput) -> Markup | None:
    """Return coverage, concentration, novelty and popularity bias of every model."""
    main = report.main_table()
    if main is None:
        return None
    labels = labels_of(main)
    charts = []
    for metric in metrics_of(main):
        base, _, _ = metric.partition("@")
        if base in BEYOND:
            charts.append(_beyond_chart(report, main, labels, metric))
    if not charts:
        return None
    return join(
        [
            tag(
                "p",
                "What the lists of ",
                tag("code", main.split),
                " are like beyond hits; models stand in the order of ",
                f"{wording.metric_name(MAIN_METRIC)}, whiskers are 95\u00a0% intervals.",
            ),
            _legend(report),
            tag("div", *charts, class_="grid"),
        ]
    )


def _interval_rows(
    report: ReportInput, one: MeasuredTable, metric: str
) -> tuple[list[Row], Interval | None]:
    rows, reference = [], None
    for label in labels_of(one):
        value = value_of(one, label, metric)
        if value is None:
            continue
        kind = report.kind_of(label)
        reference = value if kind == "reference" else reference
        rows.append(Row(label, value.value, wording.interval(value), value, kind))
    return rows, reference


def _metric_table(report: ReportInput, one: MeasuredTable) -> Markup:
    kinds = [report.kind_of(_label_of(row[0], one)) for row in one.table.rows]
    headings: list[Content] = [_heading(name) for name in one.table.headings]
    rows: list[list[Content]] = [[cells[0], *map(_cell, cells[1:])] for cells in one.table.rows]
    return tag(
        "div",
        tag("h3", one.title),
        table(headings, rows, row_classes=kinds),
        *(tag("p", note, class_="note") for note in one.table.notes),
        _all_metrics(report, one),
        class_="block",
    )


def _all_metrics(report: ReportInput, one: MeasuredTable) -> Markup:
    names, labels = metrics_of(one), labels_of(one)
    rows: list[list[Content]] = []
    for label in labels:
        cells: list[Content] = [label]
        for name in names:
            value = value_of(one, label, name)
            cells.append("–" if value is None else wording.minus(f"{value.value:.4f}"))
        rows.append(cells)
    kinds = [report.kind_of(label) for label in labels]
    headings = ["model", *map(wording.metric_name, names)]
    return folded(f"All {len(names)} metrics", table(headings, rows, row_classes=kinds))


def _beyond_chart(
    report: ReportInput, main: MeasuredTable, labels: list[str], metric: str
) -> Markup:
    rows = []
    for label in labels:
        value = value_of(main, label, metric)
        if value is not None:
            shown = wording.minus(f"{value.value:.3f}")
            rows.append(Row(label, value.value, shown, value, report.kind_of(label)))
    base = metric.partition("@")[0]
    caption = join([tag("strong", wording.metric_name(metric)), ". ", BEYOND[base]])
    return bars(rows, caption=caption)


def _label_of(cell: str, one: MeasuredTable) -> str:
    """Return the label in a table's first cell, which may name the number of seeds behind it."""
    known = {run.record.model for run in one.runs}
    return cell if cell in known else re.sub(r" \(\d+ seeds\)$", "", cell)


def _heading(name: str) -> Content:
    base, against, other = name.partition(" against ")
    if "@" not in base:
        return name
    return f"{wording.metric_name(base)}{against}{other}"


def _cell(words: str) -> Markup:
    """Return a cell with what stands in brackets made small."""
    if words.startswith("("):  # a difference without a relative one before it
        words = words[1:-1]
    value, space, rest = words.partition(" [")
    relative, difference, change = words.partition(" % (")
    if difference:
        value, space, rest = f"{relative} %", " (", change
    if not space:
        return Markup(tag("span", wording.minus(words)))
    return join([wording.minus(value), tag("small", wording.minus(f"{space}{rest}"))])


def _legend(report: ReportInput) -> Markup:
    names = {
        "published": f"{report.published}: the published model",
        "ours": "ours as well",
        "reference": f"{report.reference}: the baseline to beat",
        "baseline": "other baselines",
    }
    present = {report.kind_of(run.record.model) for one in report.tables for run in one.runs}
    items = [
        tag("li", tag("i", class_=f"chip {kind}"), words)
        for kind, words in names.items()
        if kind in present
    ]
    return tag("ul", *items, class_="legend")
