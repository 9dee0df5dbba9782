"""The commands graph-etl merges list, undo and review: which spellings became one entity."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from graph_etl.cli_output import AsJson, explained, print_record
from graph_etl.cli_tables import printable
from graph_etl.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    help="Which spellings were made one entity, why; take it back, or decide open pairs.",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'build' wrote.")]


@app.command("list")
@explained
def list_merges(
    folder: Folder,
    entity_type: Annotated[str | None, typer.Option("--type", help="Only this type.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the merges of the published graph: merged id, kept id, why."""
    from graph_etl.resolution.merge_files import read_merges

    rows = read_merges(folder).to_dicts()
    wanted = [row for row in rows if entity_type in (None, row["entity_type"])]
    print_record({"merges": wanted}, _print_merges, as_json)


@app.command()
@explained
def undo(
    folder: Folder,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Merged or kept ids.")],
) -> None:
    """Record that entities are not what they were merged with; the next build parts them."""
    from graph_etl.resolution.merge_files import undo_merges

    for row in undo_merges(folder, ids):
        typer.echo(f"never one: {printable(row.id_a)} | {printable(row.id_b)}")
    typer.echo("the next 'graph-etl build' parts them")


@app.command()
@explained
def review(
    folder: Folder,
    yes: Annotated[
        tuple[str, str] | None, typer.Option(metavar="ID ID", help="Decide: one entity.")
    ] = None,
    no: Annotated[
        tuple[str, str] | None, typer.Option(metavar="ID ID", help="Decide: two entities.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who decides, for the file.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print the open pairs and count the decisions; --yes or --no decides a pair of them."""
    from graph_etl.resolution.merge_files import decide_pair, read_rows, review_file

    for answer, pair in (("yes", yes), ("no", no)):
        if pair is not None:
            if not by.strip():
                raise ConfigError("Expected --by NAME with a decision, got none; it goes on record")
            decide_pair(folder, pair, answer, by)
    rows = read_rows(folder)
    record = {
        "file": str(review_file(folder)),
        "decided": sum(bool(row.decision) for row in rows),
        "open": [
            {k: v for k, v in asdict(row).items() if k != "where"}
            for row in rows
            if not row.decision
        ],
    }
    print_record(record, _print_review, as_json)


def _print_merges(record: dict[str, Any]) -> None:
    for row in record["merges"]:
        typer.echo(
            f"{printable(row['merged_id'])} -> {printable(row['kept_id'])}  {row['stage']} "
            f"{row['score']:.2f}  {row['evidence']}"
        )
    typer.echo(f"{len(record['merges']):,} merges")


def _print_review(record: dict[str, Any]) -> None:
    for row in record["open"]:
        typer.echo(
            f"{row['score']}  {printable(row['id_a'])} | {printable(row['id_b'])}  "
            f"{row['evidence']}"
        )
    typer.echo(
        f"{len(record['open']):,} open, {record['decided']:,} decided in {record['file']}: fill in "
        "'decision' (yes or no) and 'decided_by'; the next 'graph-etl build' reads it"
    )
