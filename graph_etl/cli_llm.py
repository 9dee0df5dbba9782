"""The commands graph-etl llm up, down and status: a language model served on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_etl import cli_tables
from graph_etl.cli_output import AsJson, explained, print_record

if TYPE_CHECKING:
    from graph_etl.llm_server import LlmServer

app = typer.Typer(
    no_args_is_help=True, help="Start, stop or show a language-model server on this machine."
)

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of 127.0.0.1.")]


@app.command()
@explained
def up(
    model: Annotated[
        Path | None,
        typer.Option(help="A GGUF file; default SmolLM2-135M-Instruct, fetched once (93 MB)."),
    ] = None,
    port: Port = 8601,
    context: Annotated[
        int, typer.Option(min=512, help="Most tokens of a prompt and its answer together.")
    ] = 8192,
    parallel: Annotated[int, typer.Option(min=1, help="Requests served at a time.")] = 2,
    threads: Annotated[int | None, typer.Option(min=1, help="Default all cores.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serve a model over the OpenAI-compatible API, or say where it is served already."""
    from graph_etl import llm_server

    server = llm_server.up(
        model,
        port=port,
        context_tokens=context,
        parallel=parallel,
        threads=threads,
        progress=lambda line: typer.echo(line, err=True),
    )
    print_record(_record(server), cli_tables.print_llm_server, as_json)


@app.command()
@explained
def down(port: Port = 8601, as_json: AsJson = False) -> None:
    """Stop a server."""
    from graph_etl import llm_server

    print_record(_record(llm_server.down(port=port)), cli_tables.print_llm_server, as_json)


@app.command()
@explained
def status(port: Port = 8601, as_json: AsJson = False) -> None:
    """Say whether a server runs, where, and with which model."""
    from graph_etl import llm_server

    print_record(_record(llm_server.status(port=port)), cli_tables.print_llm_server, as_json)


def _record(server: LlmServer) -> dict[str, Any]:
    record = cli_tables.record_of(server)
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in record.items()
    }
