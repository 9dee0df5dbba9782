"""The commands that serve over HTTP: serve, keys; they parse, call one function, and print."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec.cli_errors import user_errors
from kgrec.errors import MissingDependencyError

keys_app = typer.Typer(help="API keys of the HTTP service.", no_args_is_help=True)
KeysFile = Annotated[Path, typer.Argument(help="File of API keys.")]


def serve(
    path: Annotated[
        Path, typer.Argument(help="Pointer file (runs/demo/current), watched, or artifact folder.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    config: Annotated[Path | None, typer.Option(help="YAML of limits and folders.")] = None,
    keys: Annotated[Path | None, typer.Option(help="File of API keys.")] = None,
    no_auth: Annotated[bool, typer.Option(help="No keys; on a loopback address alone.")] = False,
    event_log: Annotated[Path | None, typer.Option(help="Folder that events go to.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder of the forgotten.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; more than one need --redis.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(help="Redis that workers share: redis://localhost:6379/0.")
    ] = None,
) -> None:
    """Serve an artifact over HTTP; changes to the next one when the pointer moves."""
    from kgrec.http.settings import ServeConfig, load_serve_config

    given: dict[str, Any] = {"keys": keys, "event_log": event_log, "state": state}
    given |= {"workers": workers, "redis": redis}
    said: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if no_auth:
        said["no_auth"] = True
    with user_errors():
        _check_installed()
        from kgrec.http.start import serve as serve_http

        loaded = ServeConfig() if config is None else load_serve_config(config)
        serve_http(path, loaded.model_copy(update=said), host=host, port=port)


@keys_app.command("add")
def keys_add(
    file: KeysFile,
    scope: Annotated[list[str], typer.Option(help="read, write or admin; may be repeated.")],
    days: Annotated[float | None, typer.Option(help="Days until it is refused.")] = None,
    note: Annotated[str, typer.Option(help="Whose it is.")] = "",
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from kgrec.http.keys import KeyFile

    with user_errors():
        secret, _ = KeyFile(file).add(tuple(scope), days=days, note=note)  # type: ignore[arg-type]
    typer.echo(secret)


@keys_app.command("list")
def keys_list(
    file: KeysFile, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show the keys of a file: ids, scopes, dates, notes; no secrets, nor their hashes."""
    from kgrec.http.keys import KeyFile

    with user_errors():
        keys = KeyFile(file).read()
    if as_json:
        shown = [key.model_dump(exclude={"sha256"}) for key in keys]
        typer.echo(json.dumps(shown, indent=1, ensure_ascii=False))
        return
    for key in keys:
        status = "revoked" if key.revoked else "valid" if key.is_valid(time.time()) else "expired"
        until = "" if key.expires is None else time.strftime("%Y-%m-%d", time.gmtime(key.expires))
        typer.echo("\t".join([key.key_id, status, ",".join(key.scopes), until, key.note]))


@keys_app.command("revoke")
def keys_revoke(file: KeysFile, key_id: str) -> None:
    """Refuse a key from now on; a running service follows within a second or so."""
    from kgrec.http.keys import KeyFile

    with user_errors():
        key = KeyFile(file).revoke(key_id)
    typer.echo(f"revoked {key.key_id}")


def _check_installed() -> None:
    missing = [
        library
        for library in ("fastapi", "uvicorn", "prometheus_client")
        if importlib.util.find_spec(library) is None
    ]
    if missing:
        raise MissingDependencyError(
            f"Expected the libraries of the HTTP service, found no {', '.join(missing)}; install "
            "them with 'pip install \"kgrec[http]\"'"
        )
