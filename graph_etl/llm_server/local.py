"""Starting, stopping and finding a language-model server of one's own: one folder a port.

HOME/server.json   how it runs: port, pid, model's name and file
HOME/server.log    what it said
HOME/server.lock   held by the server's own process for as long as it lives, so that a pid left by
                   a killed server is never taken for a running one
"""

from __future__ import annotations

import fcntl
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_etl.errors import ExtractionError, MissingDependencyError
from graph_etl.fetch import fetch

DEFAULT_PORT = 8601
DEFAULT_MODEL = "smollm2"
"""Resource of graph_etl.fetch that is served where no file is named."""
FOLDER = "KGREC_LLM_DIR"
_STATE = "server.json"
_POLL_S = 0.1
_SERVE = Path(__file__).with_name("serve.py")
_children: list[subprocess.Popen[bytes]] = []  # servers outlive their starter; kept to be reaped


@dataclass(frozen=True)
class LlmServer:
    """A server's folder and how it stands.

    Attributes:
        home: Its folder.
        running: Whether it runs and answers now.
        url: Address of its OpenAI-compatible API, also where it does not run; "" where it never
            did.
        model: Name of the model: the GGUF's file name without its ending.
        model_file: The GGUF.
        pid: Its process; None where it does not run.
    """

    home: Path
    running: bool
    url: str
    model: str
    model_file: str
    pid: int | None


def servers_folder() -> Path:
    """Return KGREC_LLM_DIR, else kgrec/llm below XDG_DATA_HOME or ~/.local/share."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "kgrec" / "llm"


def up(
    model: Path | None = None,
    *,
    port: int = DEFAULT_PORT,
    context_tokens: int = 8192,
    parallel: int = 2,
    threads: int | None = None,
    timeout_s: float = 300.0,
    progress: Callable[[str], None] | None = None,
) -> LlmServer:
    """Start a server and wait until it answers, or return the one that runs already.

    Args:
        model: A GGUF file; None: SmolLM2-135M-Instruct, fetched where it is not there.
        port: Port of 127.0.0.1; each has a folder of its own in ``servers_folder()``.
        context_tokens: Most tokens of a prompt and its answer together.
        parallel: Requests that are served at a time; each needs memory for its context.
        threads: Of the CPU; None: as many as there are cores.
        timeout_s: Seconds until it has to be ready.
        progress: Told in words what is being fetched.

    Raises:
        ExtractionError: The file is no GGUF, the port is taken, another model runs there, or the
            server ended or was not ready in time; the message says what it said.
        MissingDependencyError: xllamacpp is not installed.
        FetchError: The default model could not be fetched.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingDependencyError(
            "Expected the package xllamacpp to serve a model, found none; install it with: "
            "pip install 'kgrec[llm]'"
        )
    if model is None:
        model = next(fetch(DEFAULT_MODEL, progress).glob("*.gguf"))
    model = model.absolute()
    _check_gguf(model)
    home = _home(port)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _try_lock(home)
    if lock is None:
        return _running_with(home, model)
    try:
        _check_port(port)
        (home / _STATE).unlink(missing_ok=True)
        settings = {
            "model": str(model),
            "name": model.stem,
            "port": port,
            "context_tokens": context_tokens,
            "parallel": parallel,
            "threads": threads or os.cpu_count() or 1,
        }
        _start(home, lock, settings, timeout_s)
    finally:
        os.close(lock)
    return status(port=port)


def down(*, port: int = DEFAULT_PORT) -> LlmServer:
    """Stop a server; one that does not run stays so.

    Raises:
        ExtractionError: It did not end within a minute.
    """
    server = status(port=port)
    if server.pid is None:
        return server
    os.kill(server.pid, signal.SIGTERM)
    for _ in range(600):
        if not status(port=port).running:
            _children[:] = [child for child in _children if child.poll() is None]
            return status(port=port)
        time.sleep(_POLL_S)
    raise ExtractionError(
        f"Expected the server in {server.home} to end within 60 s, but process {server.pid} still "
        f"runs; 'kill -9 {server.pid}' ends it"
    )


def status(*, port: int = DEFAULT_PORT) -> LlmServer:
    """Return how the server of a port stands."""
    return _status(_home(port))


def served(model: str) -> str:
    """Return the address of the running server that serves a model.

    Raises:
        ExtractionError: None does.
    """
    folder = servers_folder()
    homes = sorted(folder.iterdir()) if folder.is_dir() else []
    running = [server for home in homes if (server := _status(home)).running]
    for server in running:
        if server.model == model:
            return server.url
    others = ", ".join(f"'{server.model}' at {server.url}" for server in running)
    raise ExtractionError(
        f"Expected a local server with the model '{model}', found {others or 'none running'}; "
        "start it with 'graph-etl llm up --model FILE.gguf' (--port for a second one), correct "
        "'model', or name another service in base_url"
    )


def _home(port: int) -> Path:
    return (servers_folder() / str(port)).absolute()


def _status(home: Path) -> LlmServer:
    try:
        state: dict[str, Any] = json.loads((home / _STATE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        state = {}
    running = bool(state) and _is_locked(home)
    return LlmServer(
        home=home,
        running=running,
        url=f"http://127.0.0.1:{state['port']}/v1" if state else "",
        model=state.get("name", ""),
        model_file=state.get("model", ""),
        pid=state["pid"] if running else None,
    )


def _try_lock(home: Path) -> int | None:
    """Return the lock's descriptor, or None where a server or a start holds it."""
    descriptor = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_locked(home: Path) -> bool:
    lock = _try_lock(home)
    if lock is not None:
        os.close(lock)
    return lock is None


def _running_with(home: Path, model: Path) -> LlmServer:
    server = _status(home)
    if not server.url:
        raise ExtractionError(f"Expected to start a server in {home}, but another start is on")
    if server.model_file != str(model):
        raise ExtractionError(
            f"Expected to serve {model}, but {server.model_file} is served at {server.url}; stop "
            "that with 'graph-etl llm down', or choose another --port"
        )
    return server


def _check_gguf(model: Path) -> None:
    try:
        with model.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ExtractionError(
            f"Expected a GGUF file at {model}, got: {error}; name one with --model"
        ) from error
    if start != b"GGUF":
        raise ExtractionError(
            f"Expected a GGUF file at {model}, but it starts with {start!r}; name one with "
            "--model, or leave it out for SmolLM2-135M"
        )


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ExtractionError(
                f"Expected port {port} of 127.0.0.1 to be free, got: {error}; choose another with "
                "--port, or name the server that listens there in base_url"
            ) from error


def _start(home: Path, lock: int, settings: dict[str, Any], timeout_s: float) -> None:
    log = home / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(_SERVE), json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
            start_new_session=True,
        )
    _children.append(process)
    deadline = time.monotonic() + timeout_s
    while not (_is_ready(log) and _answers(settings["port"])):
        if process.poll() is not None:
            raise ExtractionError(
                f"Expected {settings['model']} to be served, but the server ended with code "
                f"{process.returncode}: {_cause(log)}; the whole is in {log}"
            )
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise ExtractionError(
                f"Expected {settings['model']} to be ready within {timeout_s:g} s, but it was not "
                f"and was stopped; see {log}, or allow more time"
            )
        time.sleep(_POLL_S)
    part = home / f"{_STATE}.part"
    part.write_text(json.dumps({**settings, "pid": process.pid}), encoding="utf-8")
    part.replace(home / _STATE)


def _is_ready(log: Path) -> bool:
    return "READY" in log.read_text(errors="replace")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _cause(log: Path) -> str:
    """The line of a log that tells most: the last that speaks of an error, else the last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "failed" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1][:300]
