"""What all commands of graph-etl share: errors as one line, answers as tables or JSON."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from graph_etl import cli_tables
from graph_etl.errors import GraphEtlError

P = ParamSpec("P")
R = TypeVar("R")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Print a GraphEtlError as one line and end with exit code 2."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except GraphEtlError as error:
            print_error(error)
            raise typer.Exit(2) from error

    return run


def print_error(error: GraphEtlError) -> None:
    """Print an error on stderr as one line."""
    line = " ".join(cli_tables.printable(str(error)).split())
    Console(stderr=True).print(f"error: {line}", style="red", markup=False, soft_wrap=True)


def print_record(
    record: dict[str, Any], as_tables: Callable[[dict[str, Any]], None], as_json: bool
) -> None:
    """Print a record on stdout, as JSON or by the given function."""
    if as_json:
        typer.echo(json.dumps(record, indent=1, ensure_ascii=True, default=str))
    else:
        as_tables(record)
