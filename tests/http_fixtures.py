"""Services over the made-up artifact of serving_data: in process, on a port, by their command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving_data import SCORERS
from starlette.testclient import TestClient

from kgrec import Recommender
from kgrec.http.app import build_app
from kgrec.http.server import DrainingServer
from kgrec.http.service import Service
from kgrec.http.settings import ServeConfig

STARTED_WITHIN_S = 120.0


class Stalled(Recommender):
    """A recommender whose parts can be made slow, or to fail, while it serves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.go_on = threading.Event()
        self.go_on.set()
        self.fault: Exception | None = None
        self.popular_too = False

    def _suffer(self) -> None:
        self.go_on.wait(20)
        if self.fault is not None:
            raise self.fault

    def recommend(self, *args: Any, **kwargs: Any) -> Any:
        if self.popular_too or kwargs.get("history") != ():
            self._suffer()
        return super().recommend(*args, **kwargs)

    def recommend_many(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().recommend_many(*args, **kwargs)

    def similar(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().similar(*args, **kwargs)

    def search(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().search(*args, **kwargs)

    def explain(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().explain(*args, **kwargs)

    def user_vector(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().user_vector(*args, **kwargs)


@contextmanager
def running(
    root: Path, *, kind: type[Recommender] = Recommender, **settings: Any
) -> Iterator[tuple[TestClient, Service]]:
    """A client of a service at root / "current", in process; the service is closed in the end."""
    service = make_service(root, kind, settings)
    with TestClient(build_app(service), raise_server_exceptions=False) as client:
        yield client, service


@contextmanager
def listening(
    root: Path, *, kind: type[Recommender] = Recommender, **settings: Any
) -> Iterator[tuple[str, DrainingServer]]:
    """The address of the same service on a free port, and its server."""
    service = make_service(root, kind, settings)
    server = DrainingServer(service, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        thread.join()


def make_service(root: Path, kind: type[Recommender], settings: dict[str, Any]) -> Service:
    config = ServeConfig(**{"rate_per_s": 1e6, "burst": 10**6, "poll_s": 0.02, **settings})
    recommender = kind.load(
        root / "current", event_log=config.event_log, state=config.state, scorers=SCORERS
    )
    return Service(recommender, config, root / "current")


@contextmanager
def command(root: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running 'kgrec serve' on a free port, and its address, read off its log."""
    log = root / "serve.log"
    start = "import sys; from kgrec.cli import app; sys.argv[0] = 'kgrec'; app()"
    words = ["serve", root / "current", "--port", 0, *options]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", start, *map(str, words)],
            stderr=stream,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        end = time.monotonic() + STARTED_WITHIN_S
        found: list[str] = []
        while not found and process.poll() is None and time.monotonic() < end:
            found = re.findall(r"http://[\d.:]+", log.read_text())
            time.sleep(0.05)
        assert found, log.read_text()
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
