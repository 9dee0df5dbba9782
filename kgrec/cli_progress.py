"""How kgrec's commands show what a job is doing, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_err = Console(stderr=True)


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """Show steps as a bar on a terminal, as lines elsewhere."""
    if not sys.stderr.isatty():
        shown: list[str] = []

        def line(step: str, share: float) -> None:
            if not shown or shown[-1] != step:
                shown.append(step)
                _err.print(step, highlight=False, markup=False)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_err) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda step, share: bar.update(task, description=step[:70], completed=share)
