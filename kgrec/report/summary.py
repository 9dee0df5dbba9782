"""The top of a report: in plain words what was run, what is published, and whether it is better."""

from __future__ import annotations

from math import isfinite

from graph_etl.markup import Markup, from_data, join, tag
from kgrec.report import wording
from kgrec.report.inputs import MeasuredTable, ReportInput
from kgrec.report.measured import (
    MAIN_METRIC,
    Comparison,
    comparison,
    labels_of,
    runs_of,
    strongest_baseline,
    value_of,
)


def summary(report: ReportInput) -> Markup:
    """Return the summary: data, published model, its gain with interval and p, the other splits."""
    main = report.main_table()
    parts = [_data(report)]
    if main is not None:
        parts += [_verdict(report, main), _figures(report, main), _caveats(report, main)]
        parts.append(_elsewhere(report, main))
    return tag("section", *parts, id="summary", class_="summary")


def _data(report: ReportInput) -> Markup:
    data = report.dataset
    events = data.interactions
    likes = int(events.positive.sum())
    facts = (
        f", and a knowledge graph of {wording.counted(data.graph.num_triples, 'triple')} between "
        f"{wording.counted(data.graph.num_entities, 'entity', 'entities')}"
        if data.graph.num_triples
        else ", and no facts in the graph"
    )
    items = wording.counted(data.num_items, "item")
    if data.items.listed is not None:
        items += f", {wording.count(int((~data.items.listed).sum()))} of them never recommended"
    sentence = [
        "Data: ",
        tag("strong", from_data(data.name)),
        f" ({wording.counted(data.num_users, 'user')}, {items}, "
        f"{wording.counted(len(events), 'interaction')}, of which {wording.count(likes)} are likes"
        f"{facts}).",
    ]
    about = data.details.get("description")
    note = tag("p", from_data(str(about)), class_="note") if about else None
    return join([tag("p", *sentence), note])


def _verdict(report: ReportInput, main: MeasuredTable) -> Markup:
    published = value_of(main, report.published, MAIN_METRIC)
    if published is None:
        return tag("p", f"No model called “{report.published}” was measured on this split.")
    found = comparison(main, report.published, report.reference)
    words = [
        "Published: ",
        tag("strong", report.published),
        f", with {wording.metric_name(MAIN_METRIC)} of {wording.interval(published)}. ",
    ]
    if found is None:
        return tag("p", *words, class_="verdict")
    return tag("p", *words, _sentence(found, tuned="tuning" in report.config), class_="verdict")


def _sentence(found: Comparison, *, tuned: bool) -> Markup:
    settings = (
        f" against {found.other}{' with tuned settings' if tuned else ''}"
        f" ({wording.p_value(found.test.p_bootstrap)}, paired over "
        f"{wording.counted(found.test.num_users, 'user')})"
    )
    if not found.proven:
        verdict = ": no difference that these users could prove."
    else:
        verdict = ": better." if found.test.difference.value > 0 else ": worse."
    size, ends = _gain(found)
    return join(["That is ", tag("strong", size, class_=_kind(found)), ends, settings, verdict])


def _figures(report: ReportInput, main: MeasuredTable) -> Markup:
    """Return tiles: the published model's main metrics beside those of the reference."""
    tiles = []
    for metric in ("ndcg@20", "recall@20", "mrr@10", "coverage@10"):
        one = value_of(main, report.published, metric)
        if one is None:
            continue
        other = value_of(main, report.reference, metric)
        beside = f"{report.reference} {other.value:.4f}" if other is not None else ""
        tiles.append(
            tag(
                "div",
                tag("span", wording.metric_name(metric), class_="name"),
                tag("span", f"{one.value:.4f}", class_="value"),
                tag("span", beside, class_="beside"),
                class_="tile",
                title=wording.metric_meaning(metric) or None,
            )
        )
    return tag("div", *tiles, class_="tiles")


def _caveats(report: ReportInput, main: MeasuredTable) -> Markup:
    notes = [_how(report, main)]
    best = labels_of(main)[0]
    if best != report.published and value_of(main, report.published, MAIN_METRIC) is not None:
        better = comparison(main, report.published, best)
        if better is not None:
            notes.append(join([f"The highest row of the table is {best}. ", _against(better)]))
    strongest = strongest_baseline(report, main)
    if strongest not in (None, report.reference, best):
        found = comparison(main, report.published, str(strongest))
        if found is not None:
            notes.append(
                join([f"The strongest baseline on this split is {strongest}. ", _against(found)])
            )
    seeds = {run.record.seed for run in runs_of(main, report.published)}
    if len(seeds) == 1:
        notes.append(
            Markup(
                "The published model was trained with one seed: the intervals tell how much the "
                "choice of users matters, not how much the seed does."
            )
        )
    return tag("ul", *(tag("li", note) for note in notes))


def _how(report: ReportInput, main: MeasuredTable) -> Markup:
    users = max(run.record.slices[main.slice].num_users for run in main.runs)
    without_time = {} if report.dataset.has_time else wording.WITHOUT_TIME
    meaning = (wording.SPLITS | without_time).get(main.split, "")
    return join(
        [
            "Split ",
            tag("code", main.split),
            f": {meaning}. " if meaning else ". ",
            f"{wording.counted(users, 'user')} were asked; every model ranks all items, and "
            "everything a user had interacted with before is masked. Brackets are 95\u00a0% "
            "intervals.",
        ]
    )


def _against(found: Comparison) -> Markup:
    size, ends = _gain(found)
    proof = "" if found.proven else ", not proven"
    p = wording.p_value(found.test.p_bootstrap)
    return join([f"Against it {found.ours} stands at {size}{ends} ({p}{proof})."])


def _elsewhere(report: ReportInput, main: MeasuredTable) -> Markup:
    """Return one line for each other table: the published label there against the reference."""
    lines = []
    for table in report.tables:
        if table is main:
            continue
        found = comparison(table, report.published, report.reference)
        if found is not None:
            lines.append(tag("li", f"{table.title}: ", _against_short(found)))
    if not lines:
        return Markup()
    return join(
        [
            tag(
                "p",
                f"Elsewhere, {report.published} against {report.reference} on "
                f"{wording.metric_name(MAIN_METRIC)}, each trained anew for its split:",
            ),
            tag("ul", *lines),
        ]
    )


def _against_short(found: Comparison) -> Markup:
    size, ends = _gain(found)
    p = wording.p_value(found.test.p_bootstrap)
    return join([tag("strong", size, class_=_kind(found)), ends, f", {p}"])


def _gain(found: Comparison) -> tuple[str, str]:
    """Return the gain and its interval in words: relative, absolute where that says little."""
    gain, change = found.relative, found.test.difference
    # against a reference that is 0 or near it there is no relative gain, or one that says little
    if abs(gain.value) < 10 and isfinite(gain.low):
        low, high = wording.signed_percent(gain.low), wording.signed_percent(gain.high)
        return wording.signed_percent(gain.value), f" [{low}, {high}]"
    return (
        wording.minus(f"{change.value:+.4f}"),
        wording.minus(f" [{change.low:+.4f}, {change.high:+.4f}]"),
    )


def _kind(found: Comparison) -> str:
    if not found.proven:
        return "open"
    return "good" if found.test.difference.value > 0 else "bad"
