"""The supervisor with workers that load nothing: it ends those that hang, and no others."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from kgrec.errors import ConfigError
from kgrec.http.heartbeat import Heartbeat
from kgrec.http.supervisor import Patience, Supervisor

WITHIN_S = 60.0
Told = Callable[[str], list[dict[str, Any]]]


def work(
    folder: Path, kind: str, listener: socket.socket, news: Connection, heartbeat: Heartbeat
) -> None:
    """The first worker does as it is told, those after it do well."""
    first = not list(folder.iterdir())
    (folder / str(os.getpid())).touch()
    if not first or kind != "never answers":
        news.send(None)
    beats = 0
    while not first or kind == "does well" or (kind == "hangs after a while" and beats < 5):
        beats += 1
        heartbeat.beat(time.monotonic())
        time.sleep(0.05)
    time.sleep(10 * WITHIN_S)


def supervise(folder: Path, kind: str, until: Callable[[], bool], patience: Patience) -> float:
    """Run one worker under a supervisor until something is so; return how many hung."""
    counted: list[float] = []
    ended = threading.Event()

    def stop() -> None:
        end = time.monotonic() + WITHIN_S
        while not until() and time.monotonic() < end:
            if ended.wait(0.05):
                return
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        counted.append(registry.get_sample_value("kgrec_workers_hung_total") or 0.0)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop)
    stopping.start()
    try:
        Supervisor(partial(work, folder, kind), 1, patience).run("127.0.0.1", 0)
    finally:
        ended.set()
        stopping.join()
    return counted[0]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """What the log tells of an event."""
    caplog.set_level(logging.INFO, "kgrec.http")
    return lambda event: [one.fields for one in caplog.records if one.message == event]


@pytest.mark.parametrize("kind", ["never beats", "hangs after a while"])
def test_a_worker_that_hangs_is_killed_counted_and_replaced(
    tmp_path: Path, told: Told, kind: str
) -> None:
    patience = Patience(start_s=10 * WITHIN_S, hung_s=3.0, drain_s=5.0)
    hung = supervise(tmp_path, kind, lambda: len(told("worker answers")) == 2, patience)
    assert [one["silent_s"] >= 3.0 for one in told("worker hangs")] == [True]
    assert [one["pid"] for one in told("worker ended")] == [told("worker hangs")[0]["pid"]]
    assert told("worker ended")[0]["code"] == -signal.SIGKILL
    assert hung == 1


def test_a_worker_that_does_well_is_let_be(tmp_path: Path, told: Told) -> None:
    patience = Patience(start_s=10 * WITHIN_S, hung_s=3.0, drain_s=5.0)
    end = time.monotonic() + 6.0
    hung = supervise(tmp_path, "does well", lambda: time.monotonic() > end, patience)
    assert told("worker hangs") == told("worker ended") == []
    assert hung == 0


def test_a_first_worker_that_never_begins_to_answer_ends_the_service(
    tmp_path: Path, told: Told
) -> None:
    patience = Patience(start_s=3.0, hung_s=10 * WITHIN_S, drain_s=5.0)
    with pytest.raises(ConfigError, match="Expected a worker to begin to answer"):
        supervise(tmp_path, "never answers", lambda: bool(told("worker ended")), patience)
    assert [one["silent_s"] >= 3.0 for one in told("worker does not begin to answer")] == [True]
