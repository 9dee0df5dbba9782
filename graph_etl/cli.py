"""The command line graph-etl: parses, calls one library function, prints.

Results go to stdout, progress and messages to stderr. What the user can mend ends with exit code
2 and one line that says how.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from graph_etl import cli_extract, cli_llm, cli_merges, cli_neo4j, cli_tables, cli_versions
from graph_etl.cli_output import AsJson, explained, print_record
from graph_etl.errors import ConfigError

app = typer.Typer(
    name="graph-etl",
    help="Build a knowledge graph from tables and texts, look into it, query it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_neo4j.app, name="neo4j")
app.add_typer(cli_extract.app, name="extract")
app.add_typer(cli_llm.app, name="llm")
app.add_typer(cli_merges.app, name="merges")
cli_versions.add_to(app)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'build' wrote.")]


@app.command()
@explained
def build(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|FOLDER",
            help="A dataset.yaml, or a folder with one or with files that a shipped mapping knows.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write snapshots and the store to.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that the table paths of the config are relative to."),
    ] = None,
    store: Annotated[
        str, typer.Option(help="Graph store that mirrors the snapshot: kglite, neo4j or none.")
    ] = "kglite",
    accept_gate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A gate that may fail this once; give a --reason."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the log of versions.")] = "",
    as_json: AsJson = False,
) -> None:
    """Build the graph from tables, publish it as a snapshot and load the store."""
    from graph_etl.builds import build_into

    if accept_gate and not reason.strip():
        raise ConfigError("Expected a --reason with --accept-gate, got none; it goes into the log")
    accepted = dict.fromkeys(accept_gate or [], reason)
    with cli_tables.progress_bar() as progress:
        result = build_into(
            source, out=out, data=data, store_name=store, accepted=accepted, progress=progress
        )
    print_record(cli_tables.build_record(result), cli_tables.print_build, as_json)


@app.command()
@explained
def stats(
    folder: Folder,
    top: Annotated[
        int, typer.Option(min=0, help="How many frequent entities to name for each relation.")
    ] = 5,
    store: Annotated[
        bool, typer.Option("--store", help="Only count what the build's graph store holds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print counts, degrees, orphans, frequent entities and text coverage of a graph."""
    if store:
        from graph_etl.builds import open_built_store

        with open_built_store(folder) as opened:
            counts = cli_tables.record_of(opened.counts())
        return print_record(counts, cli_tables.print_counts, as_json)
    from graph_etl.build_folder import snapshot_path
    from graph_etl.snapshot import load_snapshot
    from graph_etl.statistics import statistics_of

    figures = statistics_of(load_snapshot(snapshot_path(folder)), top=top)
    return print_record(cli_tables.record_of(figures), cli_tables.print_statistics, as_json)


@app.command()
@explained
def query(
    folder: Folder,
    cypher: Annotated[str, typer.Argument(help="One read-only Cypher statement.")],
    param: Annotated[
        list[str] | None,
        typer.Option(
            help="name=value for $name, repeatable; a value that is JSON is read as such "
            "(5, true, [1, 2]; '\"1984\"' for the text), any other is text."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 100,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until it is stopped.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Ask the graph store a question in Cypher: query DIR "MATCH (n) RETURN n LIMIT 3"."""
    from graph_etl.builds import open_built_store

    parameters = dict(_parameter(text) for text in param or [])
    with open_built_store(folder) as store:
        result = store.query(cypher, parameters, timeout_s=timeout, max_rows=limit)
    for warning in result.warnings:
        Console(stderr=True).print(f"warning: {warning}", markup=False, soft_wrap=True)
    print_record(cli_tables.record_of(result), cli_tables.print_rows, as_json)


@app.command()
@explained
def draw(
    folder: Folder,
    entity: Annotated[
        str, typer.Argument(help="An entity_id, or a name that only one entity has.")
    ],
    out: Annotated[Path, typer.Option(help="Picture to write: .png, .svg or .pdf.")],
    neighbors: Annotated[int, typer.Option(min=1, help="At most so many neighbours.")] = 40,
) -> None:
    """Draw an entity with its neighbours and relations."""
    from graph_etl.build_folder import snapshot_path
    from graph_etl.drawing import draw_neighborhood
    from graph_etl.snapshot import load_snapshot

    drawn = draw_neighborhood(
        load_snapshot(snapshot_path(folder)), entity, out, max_neighbors=neighbors
    )
    typer.echo(f"{drawn.path}: {drawn.shown} of {drawn.neighbors} neighbours")


class _ShowByDefault(TyperGroup):
    """'snapshot DIR' means 'snapshot show DIR'."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the default command in front where none is given."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["show", *args]
        return super().parse_args(ctx, args)


snapshot_app = typer.Typer(
    cls=_ShowByDefault,
    no_args_is_help=True,
    help="Show, verify or export a snapshot: snapshot DIR, snapshot DIR --verify, snapshot export.",
)
app.add_typer(snapshot_app, name="snapshot")


@snapshot_app.command("show")
@explained
def show_snapshot(
    folder: Folder,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every file against its checksum.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the manifest of the published snapshot."""
    from graph_etl.build_folder import snapshot_path
    from graph_etl.snapshot_export import described_snapshot

    described = described_snapshot(snapshot_path(folder), verify=verify)
    print_record(described, cli_tables.print_snapshot, as_json)


@snapshot_app.command("export")
@explained
def export_snapshot(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    file_format: Annotated[
        str,
        typer.Option(
            "--format", help="csv, jsonl or parquet: tables; graphml or node-link: one graph file."
        ),
    ] = "csv",
) -> None:
    """Write the graph with ids and names in place of indexes, for other tools."""
    from graph_etl.build_folder import snapshot_path
    from graph_etl.snapshot import load_snapshot
    from graph_etl.snapshot_export import export_graph

    snapshot = load_snapshot(snapshot_path(folder))
    for path in export_graph(snapshot, out, file_format=file_format):
        typer.echo(path)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ConfigError(f"Expected --param name=value, got '{text}'")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


if __name__ == "__main__":
    app()
