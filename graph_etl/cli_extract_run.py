"""The command graph-etl extract run: engines over texts, without a build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graph_etl.cli_output import AsJson, explained, print_error, print_record
from graph_etl.cli_tables import progress_bar
from graph_etl.errors import ConfigError, TooManyFailuresError

TOO_MANY_FAILURES = 3


@explained
def run(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="A dataset.yaml, or a folder with one: its section 'extraction' over its texts.",
        ),
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Texts instead: .jsonl, .csv or .parquet with the column text (and doc_id, "
            "subject_id, subject_type, subject_name), or .txt; may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for triples, accounting and the answers kept."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that the table paths of CONFIG are relative to."),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="graph_schema.yaml, where there is no CONFIG.")
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE[=MODEL]",
            help="gazetteer, bert=FOLDER or llm=MODEL in place of CONFIG's engines; repeated: one "
            "after another.",
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help="Names for the gazetteer: a build, a snapshot, or a table of them."),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="YAML with fields of the engines, below their names (or of llm alone)."),
    ] = None,
    file_format: Annotated[
        str, typer.Option("--format", help="Of the triples: jsonl or parquet.")
    ] = "jsonl",
    max_failed_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Fail above this share of texts without a good answer."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count texts, requests, tokens, cost; ask nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Extract triples from texts into a file; started again after a kill, it asks nothing twice.

    Ends with 3 where more texts than allowed have no good answer.
    """
    from graph_etl.extraction.text_run import estimated_run, extract_texts

    section, read, known = _given(source, texts, data, schema, engine, names, settings)
    if max_failed_share is not None:
        limits = section.run.model_copy(update={"max_failed_share": max_failed_share})
        section = section.model_copy(update={"run": limits})
    if dry_run:
        return print_record(estimated_run(section, read, out), _print_estimate, as_json)
    if out is None:
        raise ConfigError("Expected --out DIR, got none; --dry-run alone needs no folder")
    try:
        with progress_bar() as progress:
            record = extract_texts(
                section, read, known, out, file_format=file_format, progress=progress
            )
    except TooManyFailuresError as error:
        print_error(error)
        raise typer.Exit(TOO_MANY_FAILURES) from error
    return print_record(record, _print_run, as_json)


def _given(
    source: Path | None,
    texts: list[Path] | None,
    data: Path | None,
    schema: Path | None,
    engines: list[str] | None,
    names: Path | None,
    settings: Path | None,
) -> tuple[Any, Any, Any]:
    """Return section, texts and known names; what options say comes before what CONFIG says."""
    from graph_etl.dataset_texts import dataset_texts
    from graph_etl.extraction.config import ExtractionConfig
    from graph_etl.extraction.documents import ItemTexts
    from graph_etl.extraction.engine_names import engine_configs
    from graph_etl.extraction.known_names import NOTHING, read_known
    from graph_etl.extraction.text_files import read_texts

    if source is None and not (texts and schema and engines):
        raise ConfigError(
            "Expected a CONFIG with the section 'extraction', or --texts with --schema and "
            "--engine; 'graph-etl extract run --help' lists them"
        )
    stages = [one for each in engine_configs(engines or [], (), settings) for one in each]
    if source is not None:
        given = dataset_texts(source, data)
        changed: dict[str, Any] = {"engines": stages} if stages else {}
        changed |= {"graph_schema": str(schema)} if schema else {}
        section, read, known = given.section.model_copy(update=changed), given.texts, given.known
    else:
        section, known = ExtractionConfig(graph_schema=str(schema), engines=stages), NOTHING
    if texts:
        label = "+".join(Path(str(one)).name for one in texts)
        read = ItemTexts(read_texts(texts), label)
    return section, read, read_known(names) if names else known


def _print_run(record: dict[str, Any]) -> None:
    for line, engine in zip(record["lines"], record["engines"], strict=True):
        typer.echo(line)
        for reason, number in engine["rejected"].items():
            typer.echo(f"  rejected, {reason}: {number:,}")
        usage = engine["usage"]
        if usage["requests"]:
            cost = engine["cost"]
            money = f", {cost['amount']:,.4g} {cost['currency']}" if cost else ""
            typer.echo(
                f"  {usage['requests']:,} requests, {usage['prompt_tokens']:,} tokens in, "
                f"{usage['completion_tokens']:,} out{money}"
            )
    typer.echo(
        f"{record['file']}: {record['triples']:,} triples of {record['texts']:,} texts, "
        f"{record['seconds']:,.1f} s"
    )


def _print_estimate(estimate: dict[str, Any]) -> None:
    typer.echo(f"{estimate['texts']:,} texts, {estimate['characters']:,} characters")
    for row in estimate["engines"]:
        line = f"{row['engine']}: at most {row['texts']:,} texts, {row['requests']:,} requests"
        if row["requests"]:
            counted = "counted by the server" if row["is_exact"] else "from their bytes"
            line += (
                f", {row['prompt_tokens']:,} tokens in ({counted}), about "
                f"{row['completion_tokens']:,} out (at most {row['completion_tokens_at_most']:,})"
            )
        if row.get("answered_before"):
            line += f"; {row['answered_before']:,} answered before"
        if row.get("cost_at_most"):
            money = f"about {row['cost']:,.4g}, at most {row['cost_at_most']:,.4g}"
            line += f"; {money} {row['currency']}"
        typer.echo(line)
