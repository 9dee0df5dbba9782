"""The commands diff, history, lifetimes, rollback and prune: the versions of a published graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_etl import cli_tables
from graph_etl.cli_output import AsJson, explained, print_record
from graph_etl.errors import ConfigError

if TYPE_CHECKING:
    from graph_etl.versions import Version

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'build' wrote.")]
ShownVersion = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="A snapshot id, or how it begins.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to graph-etl."""
    for command in (diff, history, lifetimes, rollback, prune):
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
    """List the versions that were published, newest first; * marks the one that stands."""
    from graph_etl.versions import history as history_of

    record = {"versions": [cli_tables.record_of(version) for version in history_of(folder)]}
    print_record(record, _print_history, as_json)


@explained
def lifetimes(
    folder: Folder,
    entity: Annotated[
        str | None,
        typer.Option(help="An entity_id or exact name: when it and its triples came and went."),
    ] = None,
    gone: Annotated[bool, typer.Option("--gone", help="List what is gone, newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Tell when entities and triples were first and last seen, pruned versions included."""
    from graph_etl import lifetimes as log

    if entity is not None and gone:
        raise ConfigError("Expected --entity or --gone, got both; ask one after the other")
    if entity is None and not gone:
        summary = cli_tables.record_of(log.summary_of(folder))
        return print_record(summary, _print_lifetime_summary, as_json)
    found = log.gone_of(folder) if entity is None else log.lifetimes_of(folder, entity)
    told = [{**cli_tables.record_of(one), "gone": one.gone} for one in found]
    record = {"lifetimes": told[:limit], "truncated": len(told) > limit}
    print_record(record, _print_lifetimes, as_json)


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


def _print_lifetime_summary(record: dict[str, Any]) -> None:
    many = "1 version" if record["versions"] == 1 else f"{record['versions']:,} versions"
    typer.echo(f"{many} known, from {record['since']} of {record['since_at']} on")
    for what in ("entities", "triples"):
        stand, later, gone = record[what]
        typer.echo(f"{what:8}  {stand:,} stand ({later:,} of them came later), {gone:,} are gone")
    typer.echo("--gone lists what is gone, --entity NAME tells of one entity")


def _print_lifetimes(record: dict[str, Any]) -> None:
    typer.echo(f"{'first seen':37}  {'gone since':25}  what")
    for one in record["lifetimes"]:
        first = one["first_at"] + (" or earlier" if one["or_earlier"] else "")
        gone = one["gone_at"] or "stands"
        typer.echo(f"{first:37}  {gone:25}  {cli_tables.printable(one['told'])}")
    if record["truncated"]:
        typer.echo("there are more: raise --limit", err=True)


def _print_diff(record: dict[str, Any]) -> None:
    typer.echo(f"{record['old']} -> {record['new']}")
    for what in ("entities", "triples"):
        touched = [part for part in record[what] if _changes(part)]
        for part in touched:
            words = {"changed": "changed in provenance"} if what == "triples" else {}
            told = ", ".join(
                f"{count:,} {words.get(kind, kind)}" for kind, count in _changes(part).items()
            )
            typer.echo(f"{what:8}  {part['name']}: {told}, {part['unchanged']:,} unchanged")
            for kind, samples in part["samples"].items():
                for sample in samples:
                    typer.echo(f"          {kind}: {cli_tables.printable(sample)}")
        same = [part["name"] for part in record[what] if part not in touched]
        if same:
            typer.echo(f"{what:8}  unchanged: {', '.join(same)}")
    for name, (before, after) in record["tables"].items():
        moved = f"{before:,} -> {after:,}" if before != after else f"{after:,}, as many as before"
        typer.echo(f"{'rows':8}  {name}: {moved}")


def _changes(part: dict[str, Any]) -> dict[str, int]:
    return {kind: part[kind] for kind in ("added", "removed", "changed") if part[kind]}
