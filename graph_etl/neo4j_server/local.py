"""Starting, stopping and finding a Neo4j server of one's own: one folder a server.

HOME/data, HOME/logs   what Neo4j keeps; it outlives restarts
HOME/password          generated, readable by the owner alone; the user is neo4j
HOME/server.json       how it runs: java or docker, its port, version, and pid or container
HOME/server.lock       held by the server's own process for as long as it lives, so that a pid
                       left by a killed server is never taken for a running one
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_etl.errors import ConfigError, StoreError
from graph_etl.neo4j_server import docker
from graph_etl.neo4j_server.java import apoc_jars_of, jars_of, jdk_for

WAYS = ("auto", "docker", "java")
DEFAULT_PORT = 7687
USER = "neo4j"
LAUNCHER = Path(__file__).with_name("Launcher.java")
_STATE = "server.json"
_POLL_S = 0.1
_children: list[subprocess.Popen[bytes]] = []  # servers outlive their starter; kept to be reaped


@dataclass(frozen=True)
class LocalServer:
    """A server's folder and how it stands.

    Attributes:
        home: Its folder.
        running: Whether it runs now.
        uri: Where it listens, or did when it ran; empty where it never ran.
        user: Always neo4j.
        password_file: File with the password.
        version: Neo4j's version; empty where it never ran.
        way: "java" or "docker"; empty where it never ran.
        pid: Its process; None under Docker and where it does not run.
    """

    home: Path
    running: bool
    uri: str
    user: str
    password_file: Path
    version: str
    way: str
    pid: int | None

    def password(self) -> str:
        """Return the password."""
        return self.password_file.read_text(encoding="utf-8").strip()


def servers_folder() -> Path:
    """Return KGREC_NEO4J_DIR, else kgrec/neo4j below XDG_DATA_HOME or ~/.local/share."""
    if chosen := os.environ.get("KGREC_NEO4J_DIR"):
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "kgrec" / "neo4j"


def up(
    home: str | Path | None = None,
    *,
    port: int = DEFAULT_PORT,
    version: str | None = None,
    way: str = "auto",
    memory_mb: int = 1536,
    apoc: bool = False,
    timeout_s: float = 180.0,
) -> LocalServer:
    """Start a server, or return the one that runs already in this folder.

    Args:
        home: Its folder; default a folder named by the port in ``servers_folder()``.
        port: Port of 127.0.0.1 that it listens on for Bolt.
        version: Neo4j's version; default the first of ``java.VERSIONS`` that this machine runs.
        way: "docker", "java" (jars from Maven Central and a JDK of this machine), or "auto":
            Docker where its daemon answers, else Java.
        memory_mb: Heap and page cache together, MiB; two thirds are heap.
        apoc: Whether the procedures of APOC core are put into HOME/plugins, where they stay.
        timeout_s: Seconds until it has to be ready.

    Raises:
        StoreError: It could not be started: another port is asked for than it runs on, the port
            is taken, the server ended or was not ready in time; the message says what it said.
        ConfigError: There is no such way.
        MissingDependencyError: Neither Docker nor a JDK with Maven can be used.
    """
    if way not in WAYS:
        raise ConfigError(f"Expected a way to start the server among {WAYS}, got '{way}'")
    home = _home(home, port)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _try_lock(home)
    if lock is None:
        return _running_on(home, port)
    try:
        before = _state(home)
        if before.get("way") == "docker" and docker.is_running(before["container"]):
            return _running_on(home, port)
        _check_port(port)
        _make_password(home)
        if way == "auto":
            way = before.get("way") or ("docker" if docker.answers() else "java")
        (home / _STATE).unlink(missing_ok=True)
        start = _start_docker if way == "docker" else _start_java
        start(home, lock, port, version or before.get("version"), memory_mb, apoc, timeout_s)
    finally:
        os.close(lock)
    return status(home)


def down(home: str | Path | None = None, *, port: int = DEFAULT_PORT) -> LocalServer:
    """Stop a server and wait until its files are closed; one that does not run stays so.

    Raises:
        StoreError: It did not end within a minute.
    """
    server = status(home, port=port)
    if not server.running:
        return server
    if server.way == "docker":
        docker.stop(_state(server.home)["container"])
        return status(server.home)
    if server.pid is None:
        raise StoreError(
            f"Expected a started server in {server.home}, but it starts just now; wait"
        )
    os.kill(server.pid, signal.SIGTERM)
    for _ in range(600):
        if not (server := status(server.home)).running:
            _children[:] = [child for child in _children if child.poll() is None]
            return server
        time.sleep(_POLL_S)
    raise StoreError(
        f"Expected the server in {server.home} to end within 60 s, but process {server.pid} still "
        f"runs; 'kill -9 {server.pid}' ends it, and the next start recovers its data"
    )


def status(home: str | Path | None = None, *, port: int = DEFAULT_PORT) -> LocalServer:
    """Return how the server of a folder stands; see ``up`` for the default folder."""
    home = _home(home, port)
    state = _state(home)
    running = _is_running(home, state)
    return LocalServer(
        home=home,
        running=running,
        uri=f"bolt://127.0.0.1:{state['port']}" if state else "",
        user=USER,
        password_file=home / "password",
        version=state.get("version", ""),
        way=state.get("way", ""),
        pid=state.get("pid") if running else None,
    )


def running_servers() -> list[LocalServer]:
    """Return the running servers of ``servers_folder()``, by folder name."""
    folder = servers_folder()
    homes = sorted(folder.iterdir()) if folder.is_dir() else []
    return [server for home in homes if (server := status(home)).running and server.uri]


def _home(home: str | Path | None, port: int) -> Path:
    return (servers_folder() / str(port) if home is None else Path(home)).absolute()


def _try_lock(home: Path) -> int | None:
    """Return the lock's descriptor, or None where a server or a start holds it."""
    descriptor = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_running(home: Path, state: dict[str, Any]) -> bool:
    if state.get("way") == "docker":
        return docker.is_running(state["container"])
    if not home.is_dir():
        return False
    lock = _try_lock(home)
    if lock is not None:
        os.close(lock)
    return lock is None


def _state(home: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((home / _STATE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return state


def _write_state(home: Path, **state: Any) -> None:
    part = home / f"{_STATE}.part"
    part.write_text(json.dumps(state), encoding="utf-8")
    part.replace(home / _STATE)


def _running_on(home: Path, port: int) -> LocalServer:
    server = status(home)
    if not server.uri:
        raise StoreError(f"Expected to start the server in {home}, but another start is under way")
    if not server.uri.endswith(f":{port}"):
        raise StoreError(
            f"Expected to start the server in {home} on port {port}, but it runs at {server.uri}; "
            "stop it first, or give another folder"
        )
    return server


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StoreError(
                f"Expected port {port} of 127.0.0.1 to be free, got: {error}; choose another with "
                "--port, or use the server that listens there (NEO4J_URI, NEO4J_PASSWORD)"
            ) from error


def _make_password(home: Path) -> None:
    path = home / "password"
    if path.is_file():
        return
    if (home / "data").exists():
        raise StoreError(
            f"Expected the password of the server's data in {path}, found none; put it there, or "
            f"start anew in another folder"
        )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe(24))


def _start_java(
    home: Path,
    lock: int,
    port: int,
    version: str | None,
    memory_mb: int,
    apoc: bool,
    timeout_s: float,
) -> None:
    version, jdk = jdk_for(version)
    jars, plugins = jars_of(version), home / "plugins"
    if apoc:
        shutil.copytree(apoc_jars_of(version), plugins, dirs_exist_ok=True)
    heap_mb = memory_mb * 2 // 3
    command = [str(jdk / "bin" / "java"), "--add-opens=java.base/java.nio=ALL-UNNAMED"]
    command += [f"-Xms{heap_mb // 2}m", f"-Xmx{heap_mb}m", "-cp", f"{jars}/*:{plugins}/*"]
    command += [str(LAUNCHER), str(home), str(port), str(memory_mb - heap_mb)]
    log = home / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
            start_new_session=True,
        )
    _children.append(process)
    deadline = time.monotonic() + timeout_s
    while "READY" not in (said := log.read_text(errors="replace")):
        if process.poll() is not None:
            raise StoreError(
                f"Expected Neo4j {version} to start in {home}, but it ended with code "
                f"{process.returncode}: {_cause(said)}; the whole is in {log} and {home / 'logs'}"
            )
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise StoreError(
                f"Expected Neo4j {version} in {home} to be ready within {timeout_s:g} s, but it "
                f"was not and was stopped; see {log} and {home / 'logs'}, or allow more time"
            )
        time.sleep(_POLL_S)
    _write_state(home, way="java", port=port, version=version, pid=process.pid)


def _start_docker(
    home: Path,
    lock: int,
    port: int,
    version: str | None,
    memory_mb: int,
    apoc: bool,
    timeout_s: float,
) -> None:
    version = version or docker.DEFAULT_VERSION
    container = docker.start(home, port, version, memory_mb, apoc, timeout_s)
    _write_state(home, way="docker", port=port, version=version, container=container)


def _cause(log: str) -> str:
    """The last reason in a Java stack trace."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    return (causes or lines or ["it said nothing"])[-1][:300]
