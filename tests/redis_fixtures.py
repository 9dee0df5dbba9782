"""A Redis server for the tests marked redis, which they may stop, pause and empty.

Without the program redis-server those tests skip; where KGREC_STRICT_SKIPS is set, that fails them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from neo4j_fixtures import free_port


class RedisServer:
    """A server on a free port of this machine that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("no redis-server on this machine; install it: apt-get install redis-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        settings = ["--port", self.port, "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        self._command = [program, *map(str, settings)]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, empty; return when it answers."""
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log)
        end = time.monotonic() + 30
        while not self.answers():
            assert self._process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it: what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it answer nothing, with its connections open."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def client(self) -> Any:
        """A client of the tests' own, to look past the state."""
        import redis

        return redis.Redis.from_url(self.url, protocol=2)

    def answers(self) -> bool:
        """Whether it answers now."""
        import redis

        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False


@pytest.fixture(scope="session")
def redis_of_session(tmp_path_factory: pytest.TempPathFactory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_server(redis_of_session: RedisServer):
    """A server that runs and is empty, whatever the test before did to it."""
    if not redis_of_session.answers():
        redis_of_session.stop()
        redis_of_session.start()
    with redis_of_session.client() as client:
        client.flushall()
    return redis_of_session
