"""How kgrec's commands tell an error: one line on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from graph_etl.errors import GraphEtlError
from kgrec.errors import KgrecError, NightRunningError

_err = Console(stderr=True)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn an error that the caller can mend into one line and exit code 2."""
    try:
        yield
    except (KgrecError, GraphEtlError) as error:
        _err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(3 if isinstance(error, NightRunningError) else 2) from error
