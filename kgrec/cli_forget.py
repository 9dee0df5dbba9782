"""kgrec's command forget: a user into the ledger, and out of what is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec.cli_errors import user_errors
from kgrec.errors import ConfigError


def forget(
    state: Annotated[Path, typer.Option(help="Serving folder that holds the ledger.")],
    user: Annotated[str | None, typer.Option(help="Id of the user to forget.")] = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Take away what is stored of all forgotten users.")
    ] = False,
    event_log: Annotated[
        Path | None, typer.Option(help="Folder of the event log; stop what writes to it first.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of nights or of a run."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Forget a user: in no answer from now on; with --purge also out of what is stored."""
    from kgrec.jobs.purge import purge_forgotten
    from kgrec.serving.forgotten import ForgottenUsers

    told: dict[str, Any] = {}
    with user_errors():
        if user is None and not purge:
            raise ConfigError("Expected --user or --purge, got neither")
        if not purge and (event_log, out) != (None, None):
            raise ConfigError("Expected --purge with --event-log or --out, got one without it")
        ledger = ForgottenUsers(state)
        if user is not None:
            told["newly"] = ledger.forget(user)
        if purge:
            told |= purge_forgotten(ledger, event_log=event_log, out=out).to_dict()
    if as_json:
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    if user is not None:
        typer.echo("forgotten" if told["newly"] else "was forgotten before")
    if purge:
        _print_purge(told)


def _print_purge(told: dict[str, Any]) -> None:
    typer.echo(
        f"of {told['forgotten_users']:,} forgotten users: {told['events']:,} events in "
        f"{told['rewritten_segments']:,} files of the log, {told['taken_events']:,} that nights "
        "had taken in"
    )
    for what in ("snapshots", "artifacts"):
        names = ", ".join(told[what]) or "none"
        typer.echo(f"{what} deleted: {names}")
    for place in told["still_held"]:
        typer.echo(f"still held by {place}")
