"""The page of an evaluation: engines side by side, then every text with what they made of it.

One HTML file with nothing to fetch; its filters are a few lines of script, which the page's policy
allows by their digest alone. Numbers come from evaluation.py.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.page_texts import VERDICTS, article, colour_of
from graph_etl.extraction.records import Extraction
from graph_etl.extraction.scoring import ALL, agreement
from graph_etl.markup import Content, Markup, from_data, join, table, tag, text

_VIEWS = (
    ("Entities, strict", "entities", "strict"),
    ("Entities, boundaries", "entities", "boundaries"),
    ("Triples, strict", "triples", "strict"),
    ("Triples, boundaries", "triples", "boundaries"),
)


@dataclass(frozen=True)
class ShownEngine:
    """An engine, and what it made of the texts.

    Attributes:
        name: What the page calls it.
        record: As ``evaluation.measured`` returns it.
        extractions: By doc_id; a text that is missing was not answered.
        cost_per_1000: Of a thousand texts, in words ("0.42 USD"); "": not known.
        stability: As ``scoring.agreement`` of two runs; None: it was run once.
    """

    name: str
    record: Mapping[str, Any]
    extractions: Mapping[str, Extraction]
    cost_per_1000: str = ""
    stability: Mapping[str, float] | None = None


def shown_engines(
    runs: Sequence[Mapping[str, Any]],
    said: Sequence[Sequence[Extraction]],
) -> list[ShownEngine]:
    """Return what to show of measured runs; further runs of one engine give its stability.

    Args:
        runs: Records of ``evaluation.measured``.
        said: What each run said of the documents.
    """
    shown: dict[str, ShownEngine] = {}
    firsts: dict[str, Sequence[Extraction]] = {}
    for run, answers in zip(runs, said, strict=True):
        key = run["fingerprint"]
        if key in shown:
            shown[key] = replace(shown[key], stability=agreement(firsts[key], answers))
            continue
        firsts[key] = answers
        shown[key] = ShownEngine(
            run.get("name") or run["engine"],
            run,
            {one.doc_id: one for one in answers},
            _cost(run, len(answers)),
        )
    return list(shown.values())


def _cost(run: Mapping[str, Any], documents: int) -> str:
    """Return the money for a thousand texts in words."""
    usage, cost = run.get("usage"), run.get("cost")
    if usage is None:
        return ""
    if not usage["requests"]:
        return "no requests"
    tokens = usage["prompt_tokens"] + usage["completion_tokens"]
    told = f"{tokens / documents * 1000:,.0f} tokens"
    if cost is None:
        return told
    return f"{cost['amount'] / documents * 1000:.2f} {cost['currency']}, {told}"


def evaluation_page(
    title: str, gold: Sequence[GoldDocument], engines: Sequence[ShownEngine]
) -> str:
    """Return the page as text.

    Args:
        title: What it is headed by: "Extraction on films, 100 texts".
        gold: Labelled texts.
        engines: At least one.

    Raises:
        ValueError: There is no engine.
    """
    if not engines:
        raise ValueError("Expected at least one engine on the page, got none")
    types = sorted({mention.entity_type for one in gold for mention in one.mentions})
    colours = colour_of(types)
    articles = [
        article(
            one,
            {
                number: (
                    engine.name,
                    engine.extractions.get(one.document.doc_id, Extraction(one.document.doc_id)),
                )
                for number, engine in enumerate(engines)
            },
            colours,
        )
        for one in gold
    ]
    body = tag(
        "main",
        tag("h1", from_data(title)),
        tag(
            "p",
            "F1, precision and recall in per cent; in brackets 95 % bootstrap intervals over "
            "texts. Strict: spans, types and relation are right; boundaries: types do not count.",
            class_="note",
        ),
        _summary(engines),
        tag("h2", "By type, strict"),
        tag("div", *(_by_type(kind, engines) for kind in ("entities", "triples")), class_="grid"),
        tag("h2", "Texts"),
        _filters(types, gold, engines),
        _legend(colours),
        *articles,
    )
    return _page(title, body)


def _summary(engines: Sequence[ShownEngine]) -> Markup:
    rows: list[list[Content]] = []
    for name, kind, view in _VIEWS:
        rows.append([name, *(_cell(one.record["scores"][kind][view][ALL]) for one in engines)])
    rows.append(["Sentences/s", *(f"{one.record['sentences_per_s']:,.0f}" for one in engines)])
    rows.append(["Cost of 1,000 texts", *(one.cost_per_1000 or "not known" for one in engines)])
    rows.append(["Second run says the same", *(_stability(one.stability) for one in engines)])
    rows.append(["Model", *(from_data(str(one.record["model"])) for one in engines)])
    rows.append(["Texts without an answer", *(_failures(one.record) for one in engines)])
    return table(["", *(from_data(one.name) for one in engines)], rows)


def _cell(counts: Mapping[str, Any]) -> Markup:
    interval = counts.get("f1_interval_95")
    around = f" ({interval[0] * 100:.1f} to {interval[1] * 100:.1f})" if interval else ""
    rest = f"P {counts['precision'] * 100:.1f}, R {counts['recall'] * 100:.1f}"
    return join([f"{counts['f1'] * 100:.1f}{around}", tag("small", rest)])


def _stability(stability: Mapping[str, float] | None) -> str:
    if stability is None:
        return "run once"
    return ", ".join(f"{kind} {value * 100:.1f}" for kind, value in stability.items())


def _failures(record: Mapping[str, Any]) -> str:
    failures = record["failures"]
    return ", ".join(f"{kind} {number}" for kind, number in failures.items()) or "none"


def _by_type(kind: str, engines: Sequence[ShownEngine]) -> Markup:
    tables = [engine.record["scores"][kind]["strict"] for engine in engines]
    names = sorted({name for one in tables for name in one if name != ALL})
    rows = [
        [
            from_data(name),
            max(one[name]["true"] for one in tables if name in one),
            *(_cell(one[name]) if name in one else "0.0" for one in tables),
        ]
        for name in names
    ]
    return table([kind, "labelled", *(from_data(one.name) for one in engines)], rows)


def _filters(
    types: Sequence[str], gold: Sequence[GoldDocument], engines: Sequence[ShownEngine]
) -> Markup:
    relations = sorted({relation.relation for one in gold for relation in one.relations})
    numbered = {str(number): one.name for number, one in enumerate(engines)}
    return tag(
        "div",
        _select("engine", "Engine", numbered),
        _select("type", "Type", {name: name for name in (*types, *relations)}),
        _select("verdict", "Verdict", {name: name for name in VERDICTS}),
        tag("span", tag("span", len(gold), id="shown"), f" of {len(gold)} texts", class_="note"),
        class_="filters",
    )


def _select(name: str, label: str, choices: Mapping[str, str]) -> Markup:
    options = [tag("option", shown, value=value) for value, shown in choices.items()]
    return tag(
        "label", f"{label} ", tag("select", tag("option", "all", value=""), *options, id=name)
    )


def _legend(colours: Mapping[str, str]) -> Markup:
    kinds = [tag("li", tag("mark", name, class_=colour)) for name, colour in colours.items()]
    verdicts = [tag("li", tag("mark", verdict, class_=f"t0 {verdict}")) for verdict in VERDICTS[1:]]
    return tag("ul", *kinds, *verdicts, class_="legend")


def _page(title: str, body: Markup) -> str:
    here = resources.files("graph_etl.extraction")
    style, script = (here.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    lines = [
        Markup("<!doctype html>"),
        Markup('<html lang="en">'),
        Markup('<head><meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", title),
        tag("style", Markup(style)),
        Markup("</head><body>"),
        body,
        tag("script", Markup(script)),
        Markup("</body></html>"),
    ]
    return "".join(f"{line}\n" for line in lines)
