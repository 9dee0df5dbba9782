"""A Neo4j server in a Docker container, its data in a folder of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from graph_etl.errors import MissingDependencyError, StoreError

DEFAULT_VERSION = "5.26.30"


def answers() -> bool:
    """Return whether there is a Docker daemon that this user may talk to."""
    if shutil.which("docker") is None:
        return False
    try:
        return _docker("version", "--format", "{{.Server.Version}}", timeout_s=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def start(home: Path, port: int, version: str, memory_mb: int, apoc: bool, timeout_s: float) -> str:
    """Run a container on 127.0.0.1:port and return its id once it is ready.

    The password reaches it in a file that only the owner may read.

    Raises:
        MissingDependencyError: Docker is not installed.
        StoreError: The container did not start, ended, or was not ready in time.
    """
    if shutil.which("docker") is None:
        raise MissingDependencyError(
            "Expected the command docker, found none; install Docker, or start the server with "
            "Java: --way java"
        )
    (home / "data").mkdir(exist_ok=True)
    environment = home / "docker.env"
    heap_mb = memory_mb * 2 // 3
    password = (home / "password").read_text(encoding="utf-8").strip()
    environment.touch(mode=0o600)
    environment.write_text(
        f"NEO4J_AUTH=neo4j/{password}\n"
        f"NEO4J_server_memory_heap_max__size={heap_mb}m\n"
        f"NEO4J_server_memory_pagecache_size={memory_mb - heap_mb}m\n"
        "NEO4J_dbms_security_allow__csv__import__from__file__urls=false\n"
        + ('NEO4J_PLUGINS=["apoc"]\n' if apoc else ""),
        encoding="utf-8",
    )
    command = ["run", "--detach", "--rm", "--env-file", str(environment)]
    command += ["--user", f"{os.getuid()}:{os.getgid()}"]
    command += ["--publish", f"127.0.0.1:{port}:7687", "--volume", f"{home / 'data'}:/data"]
    started = _docker(*command, f"neo4j:{version}-community", timeout_s=timeout_s + 600)
    if started.returncode:
        raise StoreError(
            f"Expected Docker to run neo4j:{version}-community, got: "
            f"{started.stderr.strip()[-300:]}; mend that, or start the server with Java: --way java"
        )
    container = started.stdout.strip()
    deadline = time.monotonic() + timeout_s
    while "Started." not in _docker("logs", container).stdout:
        if not is_running(container) or time.monotonic() > deadline:
            said = _docker("logs", "--tail", "5", container).stdout
            stop(container)
            raise StoreError(
                f"Expected Neo4j {version} in a container to be ready within {timeout_s:g} s, got: "
                f"{said.strip()[-300:] or 'nothing'}"
            )
        time.sleep(0.5)
    return container


def is_running(container: str) -> bool:
    """Return whether a container runs; False too where Docker does not answer."""
    if shutil.which("docker") is None:
        return False
    told = _docker("inspect", "--format", "{{.State.Running}}", container)
    return told.returncode == 0 and told.stdout.strip() == "true"


def stop(container: str) -> None:
    """Stop a container, which goes away with that; its data stays."""
    _docker("stop", "--time", "60", container)


def _docker(*arguments: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
