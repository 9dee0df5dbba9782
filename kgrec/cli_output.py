"""What kgrec's commands print, as text for a person."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from kgrec.jobs.doctor import Finding
    from kgrec.jobs.index_build import RebuiltIndex
    from kgrec.jobs.run import RunResult
    from kgrec.serving.answers import Recommendations
    from kgrec.serving.deletion_test import DeletionTest

_WIDTH_OF_A_FILE = 500


def print_run(result: RunResult) -> None:
    """Print tables, answers, the deletion test and where everything lies."""
    for table in result.tables:
        typer.echo(f"\n== {table.title}\n\n{table.table.text()}")
    for user, answer in result.answers.items():
        typer.echo(f"\n== top {len(answer.items)} for user {user}\n")
        print_answer(answer)
    if result.deletion is not None:
        typer.echo(f"\n== explanations\n\n{_deletion(result.deletion)}")
    typer.echo("\n== where things lie\n")
    typer.echo(f"artifact  {result.artifact.path}  (published by {result.workspace.current})")
    typer.echo(f"report    {result.workspace.report}")
    typer.echo(f"snapshot  {result.workspace.snapshot}")
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result.timings_s.items())
    typer.echo(f"time      {seconds}")
    for line in result.prepared.terms:
        typer.echo(f"terms     {line}")


def _deletion(test: DeletionTest) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(test.kinds.items()))
    return (
        f"Taking away the liked item that the reason names lowers the score more than taking away "
        f"another one in {test.share:.1%} [{test.low:.1%}, {test.high:.1%}] of "
        f"{test.num_explanations} explanations ({kinds})."
    )


def print_answer(answer: Recommendations) -> None:
    """Print one line an item: rank, title, id, and the reason where there is one."""
    if not answer.personalised and answer.reason:
        typer.echo(answer.reason)
    for item in answer.items:
        reason = f"  — {item.explanation.text}" if item.explanation is not None else ""
        number = "" if item.title == item.item_id else f" [{item.item_id}]"
        typer.echo(f"{item.rank:>3}. {item.title}{number}{reason}")


def index_in_words(description: Mapping[str, Any]) -> str:
    """Return kind, size, search effort and measured recall of a vector index on one line."""
    effort = description["effort"]
    parts = [
        f"{description['kind']}{' (exact)' if description['kind'] == 'flat' else ''}",
        f"{description['num_items']:,} vectors of {description['dim']} numbers",
        *([f"{description['shards']} shards"] if "shards" in description else []),
        *([] if effort is None else [f"search effort {effort}"]),
        f"recall@{description['recall_k']} {description['recall']:.4f} "
        f"on {description['queries']} histories"
        if "recall" in description
        else "recall not measured",
    ]
    return ", ".join(parts)


def print_rebuilt_index(found: RebuiltIndex, path: Path) -> None:
    """Print the index before and after, and where the new artifact lies."""
    typer.echo(f"before    {index_in_words(found.before) if found.before else 'none'}")
    typer.echo(f"after     {index_in_words(found.after)}")
    typer.echo(f"artifact  {found.artifact}")
    if found.published:
        typer.echo(f"published by {path}; back: kgrec rollback {path}")
    else:
        typer.echo(f"not published: kgrec publish {found.artifact} POINTER")


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a table of what doctor found."""
    table = Table("area", "what", "status", "detail", box=None)
    for finding in findings:
        table.add_row(finding.area, finding.name, finding.status, finding.detail)
    # what goes to a file or a pipe is not folded to the width of a terminal
    Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE).print(table)
