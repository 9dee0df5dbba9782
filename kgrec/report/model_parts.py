"""Sections about the published model: candidate sources, rankers, learning curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml

from graph_etl.markup import Content, Markup, folded, from_data, join, table, tag
from kgrec.report import wording
from kgrec.report.charts import Row, bars, lines
from kgrec.report.inputs import ReportInput
from kgrec.report.source_recall import source_recall_part
from kgrec.retrieval.candidates import CandidateConfig

_WINDOWS = {
    "warm": "items with interactions in training",
    "cold": "items without interactions in training",
}


def curves_section(report: ReportInput) -> Markup | None:
    """Return loss and NDCG@20 by training step; the best look is drawn large."""
    losses, quality, best = {}, {}, {}
    for name, curve in report.curves.items():
        if curve:
            losses[name] = [(float(point.step), point.loss) for point in curve]
        looks = [(float(point.step), point.ndcg) for point in curve if point.ndcg is not None]
        if looks:
            quality[name] = looks
            best[name] = max(looks, key=lambda look: look[1])[0]
    charts = []
    if quality:
        charts.append(
            lines(quality, x_name="training step", y_name="NDCG@20 on validation", marked=best)
        )
    if losses:
        charts.append(lines(losses, x_name="training step", y_name="Training loss"))
    if not charts:
        return None
    words = [f"{name}: best after {step:g} steps" for name, step in best.items()]
    note = tag("p", "; ".join(words) + ".", class_="note") if words else None
    return join([tag("div", *charts, class_="grid"), note])


def pipeline_section(report: ReportInput) -> Markup | None:
    """Return the published model's sources and rankers, as its own description has them."""
    if report.artifact is None:
        return None
    described = report.artifact.scorer.describe()
    if "sources" not in described:
        settings = yaml_block(described.get("config", {}))
        words = tag("p", "The published model is ", tag("strong", str(described.get("name"))), ".")
        return join([words, folded("Its settings", settings)])
    parts = [_sources(report, described), source_recall_part(report.source_recall)]
    return join([*parts, _rankers(described.get("rankers", {}))])


def _sources(report: ReportInput, described: Mapping[str, Any]) -> Markup:
    config = described.get("config", {})
    candidates = CandidateConfig.model_validate(config.get("candidates", {}))
    shown = Counter(
        source for answer in report.answers.values() for item in answer for source in item.sources
    )
    total = sum(len(answer) for answer in report.answers.values())
    rows: list[list[Content]] = []
    for name, source in described["sources"].items():
        quota = candidates.quota_of(name)
        rows.append(
            [
                name,
                str(source.get("name", "")),
                "features only" if quota == 0 else str(quota),
                f"{candidates.cold_depth} more" if name in candidates.cold_sources else "–",
                f"{shown[name]} of {total}" if total else "–",
                folded("settings", yaml_block(_differing(source))),
            ]
        )
    headings = ("source", "model", "brings", "cold items", "of the items shown", "")
    intro = tag(
        "p",
        f"{wording.counted(len(rows), 'source')} bring candidates; the ranker orders their union. "
        "An item may be found by several.",
    )
    return tag("div", tag("h3", "Candidate sources"), intro, table(headings, rows), class_="block")


def _rankers(rankers: Mapping[str, Any]) -> Markup:
    parts = []
    for kind, found in rankers.items():
        quality = dict(found.get("quality", {}))
        after = quality.pop("calibration_error", None)
        before = quality.pop("calibration_error_before", None)
        clicks = {name: quality.pop(name, None) for name in ("auc", "gauc", "log_loss")}
        chosen = "+".join(found.get("chosen", ()))
        tried = sorted(quality.items(), key=lambda pair: -pair[1])
        rows = [
            Row(name, value, f"{value:.4f}", kind="published" if name == chosen else "baseline")
            for name, value in tried
        ]
        title = f"Ranker of {_WINDOWS.get(kind, kind)}"
        words: list[Content] = ["Chosen on the last window of training: ", tag("strong", chosen)]
        words.append(". ")
        if before is not None and after is not None:
            words.append(
                f"Expected calibration error {before:.4f} before and {after:.4f} after fitting "
                "the curve, on the same lists. "
            )
        if None not in clicks.values():
            words.append(
                "AUC {auc:.4f}, gAUC {gauc:.4f}, log loss {log_loss:.4f}.".format(**clicks)
            )
        caption = "NDCG@20 of its candidate lists, what was tried"
        chart = bars(rows, caption=caption) if rows else None
        parts.append(tag("div", tag("h3", title), tag("p", *words), chart, class_="block"))
    return tag("div", *parts, class_="grid")


def _differing(source: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in source.items() if key != "name"}


def yaml_block(values: Any) -> Markup:
    """Return settings as YAML."""
    return tag("pre", from_data(yaml.safe_dump(_plain(values), sort_keys=False, width=88)))


def _plain(values: Any) -> Any:
    """Return values that YAML can say: tuples as lists, anything unknown as text."""
    if isinstance(values, Mapping):
        return {str(key): _plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple, set, frozenset)):
        return [_plain(value) for value in values]
    if values is None or isinstance(values, (bool, int, float, str)):
        return values
    return str(values)
