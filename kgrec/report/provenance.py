"""Sections about how the numbers came to be: time, settings, versions, terms of the data."""

from __future__ import annotations

from collections.abc import Mapping

from graph_etl.markup import Content, Markup, folded, from_data, join, table, tag
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.evaluation.records import RunRecord
from kgrec.report import wording
from kgrec.report.charts import Row, bars
from kgrec.report.inputs import MeasuredTable, ReportInput
from kgrec.report.measured import all_runs, labels_of, runs_of
from kgrec.report.model_parts import yaml_block


def timings_section(report: ReportInput) -> Markup | None:
    """Return wall seconds of each step, and fitting and answering times of each model."""
    parts = []
    if report.timings_s:
        total = wording.duration(sum(report.timings_s.values()))
        rows = [
            Row(from_data(step), seconds, wording.duration(seconds))
            for step, seconds in report.timings_s.items()
        ]
        parts.append(bars(rows, caption=f"Wall time by step, {total} together"))
    main = report.main_table()
    if main is not None:
        parts.append(_model_times(report, main))
    return join(parts) if parts else None


def _model_times(report: ReportInput, main: MeasuredTable) -> Markup:
    rows: list[list[Content]] = []
    labels = labels_of(main)
    for label in labels:
        record = runs_of(main, label)[0].record
        asked = record.timings_s.get(f"model_{main.slice}", float("nan"))
        users = record.slices[main.slice].num_users
        each = asked / users * 1000 if users else float("nan")
        fit = record.timings_s.get("fit", float("nan"))
        shown = "–" if each != each else f"{each:.2f} ms"
        rows.append([label, wording.duration(fit), wording.duration(asked), shown])
    kinds = [report.kind_of(label) for label in labels]
    note = tag(
        "p",
        "Answers are asked in batches of users; a single request takes longer than its share of "
        "a batch. “Ready” is fitting, or loading where the model was fitted for another row.",
        class_="note",
    )
    title = tag("h3", "Models of ", tag("code", main.split))
    headings = ("model", "ready after", "all users answered in", "for each user")
    return tag("div", title, table(headings, rows, row_classes=kinds), note, class_="block")


def settings_section(report: ReportInput) -> Markup | None:
    """Return the resolved configuration and the settings of each row of the main split."""
    parts = []
    if report.config:
        parts.append(folded("Configuration of the run", yaml_block(report.config)))
    main = report.main_table()
    if main is not None:
        blocks = [
            folded(label, yaml_block(runs_of(main, label)[0].record.config))
            for label in labels_of(main)
        ]
        inner = tag("div", *blocks, class_="inner")
        parts.append(folded(f"Settings of each row of {main.split}", inner))
    return join(parts) if parts else None


def provenance_section(report: ReportInput) -> Markup:
    """Return ids, commit, machine and versions; from the records, else as they are now."""
    runs = all_runs(report.tables)
    record = runs[0].record if runs else None
    facts = {
        "run": report.name,
        "finished": wording.moment(report.created_at),
        "snapshot": report.dataset.snapshot_id,
        "artifact": "" if report.artifact is None else report.artifact.artifact_id,
        "commit": record.commit if record is not None else git_commit(),
        "openings of test": _openings(runs[-1].record) if runs else "",
        **_machine(record.machine if record is not None else machine()),
    }
    rows = [[name, from_data(value)] for name, value in facts.items() if value]
    known = record.versions if record is not None else versions()
    installed = [[name, from_data(value)] for name, value in known.items()]
    return join(
        [
            tag(
                "div",
                tag("div", table(("what", "which"), rows), class_="block"),
                tag("div", table(("library", "version"), installed), class_="block"),
                class_="grid",
            ),
            _record_list([run.record for run in runs]),
        ]
    )


def terms_section(report: ReportInput) -> Markup | None:
    """Return under which terms the data is used."""
    details = report.dataset.details
    lines = [*report.terms]
    for key in ("license", "terms"):
        line = str(details.get(key) or "")
        if line and line not in lines:
            lines.append(line)
    if not lines:
        return None
    return tag("ul", *(tag("li", from_data(line)) for line in lines))


def _machine(found: Mapping[str, str]) -> dict[str, str]:
    memory = found.get("memory_bytes", "")
    return {
        "processor": found.get("processor", ""),
        "cores": found.get("cores", ""),
        "threads set": found.get("threads", ""),
        "memory": f"{int(memory) / 2**30:.1f} GiB" if memory.isdigit() else "",
        "system": found.get("system", ""),
    }


def _openings(record: RunRecord) -> str:
    state = record.ledger
    return "" if state is None else f"{state.count} (head of the ledger {state.head[:12]})"


def _record_list(records: list[RunRecord]) -> Markup:
    if not records:
        return Markup()
    rows: list[list[Content]] = [
        [from_data(one.run_id), one.created_at, one.config_hash[:12]] for one in records
    ]
    listed = table(("record", "made at", "settings"), rows)
    return folded(f"The {len(rows)} records that this page is made of", listed)
