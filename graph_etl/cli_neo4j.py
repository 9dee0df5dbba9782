"""The commands graph-etl neo4j up, down and status: a Neo4j server of one's own on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_etl import cli_tables
from graph_etl.cli_output import AsJson, explained, print_record

if TYPE_CHECKING:
    from graph_etl.neo4j_server import LocalServer

app = typer.Typer(
    no_args_is_help=True, help="Start, stop or show a Neo4j Community server on this machine."
)

Home = Annotated[
    Path | None,
    typer.Option(
        help="The server's folder; default one named by the port in KGREC_NEO4J_DIR, or in "
        "kgrec/neo4j of your data folder."
    ),
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of 127.0.0.1 for Bolt.")]


@app.command()
@explained
def up(
    home: Home = None,
    port: Port = 7687,
    version: Annotated[
        str | None, typer.Option(help="Neo4j's version; default one that this machine can run.")
    ] = None,
    way: Annotated[
        str,
        typer.Option(
            help="docker, java (jars from Maven Central, a JDK of this machine), or auto: Docker "
            "where its daemon answers, else Java."
        ),
    ] = "auto",
    memory: Annotated[int, typer.Option(min=384, help="Heap and page cache, MiB.")] = 1536,
    apoc: Annotated[
        bool, typer.Option("--apoc", help="With APOC core's procedures, which other tools need.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a server, or say where it runs; its data stays over restarts."""
    from graph_etl import neo4j_server

    server = neo4j_server.up(home, port=port, version=version, way=way, memory_mb=memory, apoc=apoc)
    print_record(_record(server), cli_tables.print_server, as_json)


@app.command()
@explained
def down(home: Home = None, port: Port = 7687, as_json: AsJson = False) -> None:
    """Stop a server and wait until its files are closed."""
    from graph_etl import neo4j_server

    server = neo4j_server.down(home, port=port)
    print_record(_record(server), cli_tables.print_server, as_json)


@app.command()
@explained
def status(home: Home = None, port: Port = 7687, as_json: AsJson = False) -> None:
    """Say whether a server runs, where, and which file has its password."""
    from graph_etl import neo4j_server

    server = neo4j_server.status(home, port=port)
    print_record(_record(server), cli_tables.print_server, as_json)


@app.command()
@explained
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'build' wrote.")],
    as_json: AsJson = False,
) -> None:
    """Compare every row of the store with the published snapshot, and put right what differs."""
    from graph_etl.versions import verify_store

    print_record(cli_tables.record_of(verify_store(folder)), cli_tables.print_server, as_json)


def _record(server: LocalServer) -> dict[str, Any]:
    record = cli_tables.record_of(server)
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in record.items()
    }
