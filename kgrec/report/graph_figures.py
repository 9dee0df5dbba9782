"""Sections about the data: the graph in figures, and what the build and the audit counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph_etl.markup import Content, Markup, folded, from_data, join, table, tag
from graph_etl.statistics import DegreeBin, GraphStatistics
from kgrec.data.audit import RULES, AuditReport
from kgrec.report import wording
from kgrec.report.charts import Row, bars, shares
from kgrec.report.inputs import ReportInput


def graph_section(report: ReportInput) -> Markup | None:
    """Return entities by type, triples by relation and the distribution of degrees."""
    figures = report.statistics
    if figures is None:
        return None
    text = figures.text
    intro = tag(
        "p",
        f"{wording.counted(figures.entities, 'entity', 'entities')} and "
        f"{wording.counted(figures.triples, 'triple')}; "
        f"{wording.count(figures.orphans) if figures.orphans else 'no'} "
        f"{'entity' if figures.orphans < 2 else 'entities'} without one. "
        f"{wording.count(text.with_text)} of {wording.counted(text.items, 'item')} have text"
        f" (median {wording.count(text.median_characters)} characters); they hold "
        f"{wording.percent(text.interaction_share)} of the interactions.",
    )
    types = [
        Row(from_data(one.entity_type), one.count, wording.count(one.count))
        for one in figures.entity_types
    ]
    degrees = [
        Row(_range(one), one.entities, wording.count(one.entities)) for one in figures.degrees
    ]
    charts = [bars(types, caption="Entities by type"), bars(_relations(figures), caption=_TRIPLES)]
    charts.append(bars(degrees, caption="Entities by degree (triples that touch one)"))
    details = folded("Every relation and type", _relation_table(figures), _type_table(figures))
    return join([intro, tag("div", *charts, class_="grid"), details])


_TRIPLES = "Triples by relation"


def _relations(figures: GraphStatistics) -> list[Row]:
    totals: dict[str, int] = {}
    for one in figures.relations:
        totals[one.relation] = totals.get(one.relation, 0) + one.triples
    ordered = sorted(totals.items(), key=lambda pair: -pair[1])
    return [Row(from_data(name), number, wording.count(number)) for name, number in ordered]


def _range(one: DegreeBin) -> str:
    if one.high is None:
        return f"{one.low:,} or more"
    return f"{one.low:,}" if one.low == one.high else f"{one.low:,}–{one.high:,}"


def _relation_table(figures: GraphStatistics) -> Markup:
    rows: list[list[Content]] = [
        [
            from_data(f"{one.head_type} — {one.relation} → {one.tail_type}"),
            wording.count(one.triples),
            wording.count(one.heads),
            wording.count(one.tails),
            wording.percent(one.item_share),
            from_data(", ".join(f"{top.name} ({top.triples:,})" for top in one.top)),
        ]
        for one in figures.relations
    ]
    return table(("relation", "triples", "heads", "tails", "of items", "most frequent tails"), rows)


def _type_table(figures: GraphStatistics) -> Markup:
    rows: list[list[Content]] = [
        [
            from_data(one.entity_type),
            wording.count(one.count),
            wording.count(one.orphans),
            f"{one.median_degree:g}",
            f"{one.mean_degree:.1f}",
            wording.count(one.max_degree),
        ]
        for one in figures.entity_types
    ]
    names = ("type", "entities", "no triple", "median degree", "mean degree", "largest degree")
    return table(names, rows)


def audit_section(report: ReportInput) -> Markup | None:
    """Return rows in, kept, dropped and repaired by table; links made; and findings in the data."""
    parts = [*_links(report.audit.get("links", {})), *_tables(report.audit.get("tables", {}))]
    if report.data_audit is not None:
        parts.append(_findings(report.data_audit))
    return join(parts) if parts else None


def _links(links: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    parts = []
    for name, found in links.items():
        counts = [(kind, int(found.get(kind, 0))) for kind in ("linked", "ambiguous", "unlinked")]
        if not sum(number for _, number in counts):
            continue
        reasons = [
            tag("li", f"{title}: ", from_data(_pairs(found[key])))
            for key, title in (
                ("by_method", "linked by"),
                ("ambiguous_by_reason", "ambiguous because of"),
                ("unlinked_by_reason", "unlinked because of"),
            )
            if found.get(key)
        ]
        title = tag("h3", "Items linked to ", from_data(name))
        parts.append(tag("div", title, shares(counts), tag("ul", *reasons), class_="block"))
    return parts


def _tables(tables: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    if not tables:
        return []
    rows: list[list[Content]] = []
    for name, counts in tables.items():
        cells: list[Content] = [from_data(name)]
        cells += [wording.count(counts.get(key, 0)) for key in ("rows_in", "rows_kept")]
        cells += [from_data(_pairs(counts.get(key, {}))) for key in ("dropped", "repaired")]
        cells.append(from_data(_pairs(counts.get("noted", {}))))
        rows.append(cells)
    headings = ("table", "rows in", "kept", "dropped", "repaired", "noted")
    note = tag("p", "Rows in = rows kept + rows dropped, for every table.", class_="note")
    return [tag("div", tag("h3", "What was read"), table(headings, rows), note, class_="block")]


def _findings(found: AuditReport) -> Markup:
    done = {"repair": "repaired", "report": "left as it is", "refuse": "refused"}
    rows: list[list[Content]] = [
        [RULES[check][1], wording.count(number), done[RULES[check][0]]]
        for check, number in found.counts.items()
        if number and check in RULES
    ]
    clean = sum(not number for number in found.counts.values())
    note = tag("p", f"{wording.counted(clean, 'further check')} found nothing.", class_="note")
    body = table(("found", "count", "what was done"), rows) if rows else None
    return tag("div", tag("h3", "Checks of the dataset"), body, note, class_="block")


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in counts.items())
