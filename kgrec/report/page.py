"""Puts the sections of a report into one HTML file without scripts or anything to fetch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from graph_etl.markup import Markup, from_data, tag, text
from graph_etl.snapshot import write_synced
from kgrec.report import wording
from kgrec.report.graph_figures import audit_section, graph_section
from kgrec.report.inputs import ReportInput
from kgrec.report.model_parts import curves_section, pipeline_section
from kgrec.report.path_drawing import drawing_section
from kgrec.report.provenance import (
    provenance_section,
    settings_section,
    terms_section,
    timings_section,
)
from kgrec.report.results import beyond_section, plot_section, tables_section
from kgrec.report.shown_answers import answers_section, deletion_section
from kgrec.report.summary import summary
from kgrec.report.texts_added import texts_section

Section = Callable[[ReportInput], Markup | None]

SECTIONS: tuple[tuple[str, str, Section], ...] = (
    ("quality", "Quality", plot_section),
    ("tables", "All tables", tables_section),
    ("beyond", "Coverage and popularity", beyond_section),
    ("answers", "Recommendations", answers_section),
    ("reason", "One reason, drawn", drawing_section),
    ("deletion", "Do the reasons hold?", deletion_section),
    ("model", "Sources and rankers", pipeline_section),
    ("curves", "Learning curves", curves_section),
    ("graph", "Knowledge graph", graph_section),
    ("texts", "What the texts add", texts_section),
    ("audit", "Data audit", audit_section),
    ("timings", "Time", timings_section),
    ("settings", "Settings", settings_section),
    ("provenance", "Provenance", provenance_section),
    ("terms", "Terms of the data", terms_section),
)
# nothing may be fetched or run, even if a title in the data should ask for it
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render_report(report: ReportInput) -> str:
    """Return the page as text; sections without content are left out.

    Raises:
        DataError: Two models of one table were asked about other users.
    """
    made = [(key, title, section(report)) for key, title, section in SECTIONS]
    shown = [(key, title, content) for key, title, content in made if content]
    links = [tag("a", title, href=f"#{key}") for key, title, _ in shown]
    header = tag(
        "header",
        tag("h1", "Run ", from_data(report.name)),
        tag("p", wording.moment(report.created_at), class_="note") if report.created_at else None,
    )
    sections = [tag("section", tag("h2", title), content, id=key) for key, title, content in shown]
    body = tag(
        "main",
        header,
        summary(report),
        tag("nav", *links, aria_label="Sections"),
        *sections,
    )
    return _page(f"{report.name} on {report.dataset.name}", body)


def write_report(report: ReportInput, path: Path) -> None:
    """Write the page to ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    write_synced(part, render_report(report).encode("utf-8"))
    part.replace(path)


def _page(title: str, body: Markup) -> str:
    style = resources.files("kgrec.report").joinpath("style.css").read_text(encoding="utf-8")
    lines = [
        Markup("<!doctype html>"),
        Markup('<html lang="en">'),
        Markup('<head><meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY)}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", title),
        tag("style", Markup(style)),
        Markup("</head><body>"),
        body,
        Markup("</body></html>"),
    ]
    return "".join(f"{line}\n" for line in lines)
