"""The section on texts: how many were read, how well, and what they add to the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph_etl.markup import Content, Markup, folded, from_data, join, table, tag
from graph_etl.statistics import ExtractedFigures, GraphStatistics
from kgrec.report import wording
from kgrec.report.charts import Row, bars
from kgrec.report.inputs import ReportInput

NOT_LEARNED = (
    "The models of this run do not see these triples (learn_from_texts: false): that an item has a "
    "text would tell them what they are to foretell."
)
_ENGINE = "extraction."  # what the audit calls the account of an engine


def texts_section(report: ReportInput) -> Markup | None:
    """Return what the texts add to the graph, with the words that say so."""
    figures = report.statistics
    if figures is None or not figures.extracted:
        return None
    gold = report.audit.get("extraction", {}).get("gold", {})
    by_relation = gold.get("together", {}).get("triples", {}).get("strict", {})
    return join(
        [
            _intro(figures, report.audit.get("tables", {})),
            _read(gold) if gold.get("texts") else None,
            None if report.config.get("learn_from_texts", True) else tag("p", NOT_LEARNED),
            tag("div", _relations(figures), _entities(figures), class_="grid"),
            folded("Every relation, with words that say so", _said(figures, by_relation)),
        ]
    )


def _intro(figures: GraphStatistics, tables: Mapping[str, Mapping[str, Any]]) -> Markup:
    read = tables.get("texts", {}).get("rows_kept", 0)
    said = {
        name.removeprefix(_ENGINE): one.get("noted", {}).get("triples", 0)
        for name, one in tables.items()
        if name.startswith(_ENGINE)
    }
    added = sum(one.triples for one in figures.extracted)
    entities = sum(one.count for one in figures.extracted_entities)
    by_engine = ", ".join(f"{name} {wording.count(number)}" for name, number in said.items())
    return join(
        [
            tag(
                "p",
                f"{wording.counted(read, 'text')} gave "
                f"{wording.counted(sum(said.values()), 'triple')} (",
                from_data(by_engine),
                "), each with the stretch of text that says so. ",
            )
            if read
            else None,
            tag(
                "p",
                f"{wording.counted(added, 'triple')} stand in the graph that no table has, and "
                f"{wording.counted(entities, 'entity', 'entities')} that no table names.",
            ),
        ]
    )


def _read(gold: Mapping[str, Any]) -> Markup:
    """Return precision and recall on labelled texts, for each engine and for all together."""
    together = {kind: views["strict"]["all"] for kind, views in gold["together"].items()}
    engines = dict(gold.get("engines", {}))
    shown = {**engines, "all together": together} if len(engines) > 1 else engines
    rows: list[list[Content]] = [
        [
            from_data(name),
            *(
                text
                for kind in ("entities", "triples")
                for text in (
                    wording.percent(counts[kind]["precision"]),
                    wording.percent(counts[kind]["recall"]),
                    _f1(counts[kind]),
                )
            ),
        ]
        for name, counts in shown.items()
    ]
    heads = [f"{kind}, {what}" for kind in ("entities", "triples") for what in _MEASURES]
    note = tag(
        "p",
        "Strict: the stretches, their types and the relation are right. In brackets 95 % bootstrap "
        "intervals over texts.",
        class_="note",
    )
    return tag(
        "div",
        tag("h3", f"How well they were read: {wording.counted(gold['texts'], 'labelled text')}"),
        table(["engine", *heads], rows),
        note,
        class_="block",
    )


_MEASURES = ("precision", "recall", "F1")


def _f1(counts: Mapping[str, Any]) -> str:
    low, high = counts["f1_interval_95"]
    return f"{wording.percent(counts['f1'])} ({100 * low:.1f}–{100 * high:.1f})"


def _relations(figures: GraphStatistics) -> Markup:
    rows = [
        Row(from_data(one.relation), one.triples, wording.count(one.triples))
        for one in figures.extracted
    ]
    return bars(rows, caption="New triples by relation")


def _entities(figures: GraphStatistics) -> Markup | None:
    if not figures.extracted_entities:
        return None
    rows = [
        Row(from_data(one.entity_type), one.count, wording.count(one.count))
        for one in figures.extracted_entities
    ]
    named = [
        join([tag("b", from_data(one.entity_type)), " ", from_data(", ".join(one.samples)), ". "])
        for one in figures.extracted_entities
    ]
    return tag(
        "div",
        bars(rows, caption="New entities by type"),
        tag("p", "With the most triples: ", *named, class_="note"),
    )


def _said(figures: GraphStatistics, by_relation: Mapping[str, Mapping[str, Any]]) -> Markup:
    rows = [[*_figures(one, by_relation.get(one.relation)), _samples(one)]
            for one in figures.extracted]  # fmt: skip
    heads = ("relation", "new triples", "mean confidence", "precision", "recall", "for example")
    note = tag(
        "p", "Precision and recall on the labelled texts, all engines together.", class_="note"
    )
    return join([table(heads, rows), note if by_relation else None])


def _figures(one: ExtractedFigures, gold: Mapping[str, Any] | None) -> list[Content]:
    told: list[Content] = [
        from_data(one.relation), wording.count(one.triples), f"{one.mean_confidence:.2f}"
    ]  # fmt: skip
    if gold is None:
        return [*told, "–", "–"]
    said, true = int(gold["said"]), int(gold["true"])
    precision = f"{wording.percent(gold['precision'])} of {said}" if said else "–"
    recall = f"{wording.percent(gold['recall'])} of {true}" if true else "–"
    return [*told, precision, recall]


def _samples(one: ExtractedFigures) -> Markup:
    return join(
        tag("p", from_data(f"{said.head} → {said.tail}"), ": “", from_data(said.evidence), "”")
        for said in one.samples
    )
