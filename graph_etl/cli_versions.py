"""The commands graph-etl diff, history, rollback and prune: the versions of a published graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_etl import cli_tables
from graph_etl.cli_output import AsJson, explained, print_record

if TYPE_CHECKING:
    from graph_etl.versions import Version

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'build' wrote.")]
ShownVersion = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="A snapshot id, or how it begins.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to graph-etl."""
    for command in (diff, history, rollback, prune):
        app.command()(command)


@explained
def diff(
    folder: Folder,
    old: ShownVersion = None,
    new: ShownVersion = None,
    samples: Annotated[int, typer.Option(min=0, help="Samples of each kind of change.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show what was added, removed and changed between two versions; default the last two."""
    from graph_etl.snapshot import load_snapshot
    from graph_etl.version_diff import diff as diff_of
    from graph_etl.versions import version_path

    before = load_snapshot(version_path(folder, old, before_current=old is None))
    after = load_snapshot(version_path(folder, new))
    found = diff_of(before, after, samples)
    print_record(cli_tables.record_of(found), _print_diff, as_json)


@explained
def history(folder: Folder, as_json: AsJson = False) -> None:
    """List the versions that were published, newest first."""
    from graph_etl.versions import history as history_of

    record = {"versions": [cli_tables.record_of(version) for version in history_of(folder)]}
    print_record(record, _print_history, as_json)


@explained
def rollback(
    folder: Folder,
    to: Annotated[
        str | None, typer.Option(help="A snapshot id; default the newest other version.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an older version the current one, in the store too."""
    from graph_etl.versions import rollback as roll_back

    version: Version = roll_back(folder, to)
    print_record({"versions": [cli_tables.record_of(version)]}, _print_history, as_json)


@explained
def prune(
    folder: Folder,
    keep: Annotated[int, typer.Option(min=1, help="Versions that stay, the current one too.")] = 7,
) -> None:
    """Delete older versions."""
    from graph_etl.versions import prune as prune_versions

    for name in prune_versions(folder, keep):
        typer.echo(f"deleted {name}")


def _print_history(record: dict[str, Any]) -> None:
    for version in record["versions"]:
        mark = "*" if version["current"] else " "
        size = (
            f"{version['counts']['entities']:,} entities, {version['counts']['triples']:,} triples"
        )
        gone = "" if version["kept"] else "  (pruned)"
        typer.echo(
            f"{mark} {version['at']}  {version['action']:8}  {version['snapshot_id']}  {size}{gone}"
        )
        for gate, why in (version["accepted"] or {}).items():
            typer.echo(f"    accepted {gate}: {cli_tables.printable(why)}")
        for finding in version["findings"]:
            typer.echo(f"    {finding['gate']}: {cli_tables.printable(finding['told'])}")


def _print_diff(record: dict[str, Any]) -> None:
    typer.echo(f"{record['old']} -> {record['new']}")
    for what in ("entities", "triples"):
        for part in record[what]:
            same = part["unchanged"]
            typer.echo(
                f"{what:8}  {part['name']}: +{part['added']:,} -{part['removed']:,} "
                f"~{part['changed']:,} ={same:,}"
            )
            for kind, samples in part["samples"].items():
                for sample in samples:
                    typer.echo(f"          {kind}: {cli_tables.printable(sample)}")
    for name, (before, after) in record["tables"].items():
        typer.echo(f"{'rows':8}  {name}: {before:,} -> {after:,}")
