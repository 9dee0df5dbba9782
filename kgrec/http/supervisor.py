"""Keeps several workers on one port: starts them, kills those that hang, replaces those that end,
and passes on the signal to stop. It loads no model and answers nothing itself; what a worker does
is for server.py.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from kgrec.errors import ConfigError
from kgrec.http.heartbeat import Heartbeat, Silence
from kgrec.http.measures import FOLDER, hung_workers
from kgrec.http.request_log import tell

Work = Callable[[socket.socket, Connection, Heartbeat], None]
_SPAWN = multiprocessing.get_context("spawn")
_MAX_PAUSE_S = 30.0
_LONG_S = 60.0
KILL_AFTER_S = 10.0


@dataclass
class _Worker:
    """One process; ``news`` brings None when it answers, else why it cannot."""

    process: SpawnProcess
    news: Connection
    silence: Silence
    began: float
    answers: bool = False


@dataclass(frozen=True)
class Patience:
    """How long the supervisor waits for its workers, in seconds.

    Attributes:
        start_s: For one to begin to answer.
        hung_s: For a sign of life of one that answers.
        drain_s: For those to end that were told to.
    """

    start_s: float
    hung_s: float
    drain_s: float


class Supervisor:
    """Runs workers until a signal to stop comes.

    Args:
        work: What a worker does with the socket, the connection for its news, and its heartbeat;
            picklable.
        workers: How many.
        patience: How long it waits for them.
    """

    def __init__(self, work: Work, workers: int, patience: Patience) -> None:
        self._work = work
        self._number = workers
        self._patience = patience
        self._workers: list[_Worker] = []
        self._starts: list[float] = []  # when those that are missing begin
        self._listening = False
        self._pause_s = 0.0
        self._stop_by = 0.0

    def run(self, host: str, port: int) -> None:
        """Serve on an address until a signal to stop comes.

        Raises:
            ConfigError: The address cannot be had, or a worker cannot begin to answer.
        """
        with _bound(host, port) as listener, _metrics_folder(), self._signals():
            self._starts = [0.0] * self._number
            hung = hung_workers()
            try:
                while self._workers or not self._stop_by:
                    self._start_missing(listener)
                    if not self._stop_by:
                        hung.inc(self._kill_hung())
                    self._hear()
                    self._replace_ended()
            finally:
                self._kill_all()

    def _start_missing(self, listener: socket.socket) -> None:
        now = time.monotonic()
        if self._stop_by and now > self._stop_by:
            self._kill_all()
        due = [] if self._stop_by else [when for when in self._starts if when <= now]
        for when in due:
            self._starts.remove(when)
            news, theirs = _SPAWN.Pipe(duplex=False)
            heartbeat = Heartbeat()
            told = (listener, theirs, heartbeat)
            process = _SPAWN.Process(target=self._work, args=told, daemon=True)
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, news, Silence(heartbeat), now))

    def _hear(self) -> None:
        """Wait a moment for news of workers, or for the end of one."""
        waited = [one.process.sentinel for one in self._workers]
        ready = wait([*waited, *(one.news for one in self._workers if not one.answers)], 0.2)
        for worker in self._workers:
            if worker.news not in ready or worker.answers:
                continue
            try:
                fault = worker.news.recv()
            except EOFError:
                fault = f"it ended before it answered (code {worker.process.exitcode})"
            worker.answers = fault is None
            if worker.answers:
                self._listening = True
                worker.silence.forgive()  # it was not to beat before
                tell("worker answers", pid=worker.process.pid)
            elif not self._listening and not self._stop_by:
                raise ConfigError(f"Expected a worker to begin to answer, got: {fault}")
            else:
                tell("worker cannot answer", level=logging.ERROR, error=str(fault))

    def _kill_hung(self) -> int:
        """Kill who is silent for too long, and return how many; they are replaced as any other."""
        hung = 0
        for worker in self._workers:
            silent_s = worker.silence.look()
            allowed_s = self._patience.hung_s if worker.answers else self._patience.start_s
            if silent_s < allowed_s or not worker.process.is_alive():
                continue
            tell(
                "worker hangs" if worker.answers else "worker does not begin to answer",
                level=logging.ERROR,
                pid=worker.process.pid,
                silent_s=round(silent_s, 1),
            )
            worker.process.kill()
            worker.process.join()  # what it had to tell has ended when it is heard next
            hung += 1
        return hung

    def _replace_ended(self) -> None:
        for worker in [one for one in self._workers if not one.process.is_alive()]:
            self._workers.remove(worker)
            process = worker.process
            process.join()
            worker.news.close()
            mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
            if not self._stop_by:
                now = time.monotonic()
                lasted = now - worker.began
                longer_s = min(_MAX_PAUSE_S, max(0.5, 2 * self._pause_s))
                self._pause_s = 0.0 if lasted >= _LONG_S else longer_s
                self._starts.append(now + self._pause_s)
                tell(
                    "worker ended",
                    level=logging.ERROR,
                    pid=process.pid,
                    code=process.exitcode,
                    again_in_s=self._pause_s,
                )
            process.close()

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        """Ask the workers to end; asked again, they end at once."""
        self._stop_by = time.monotonic() + self._patience.drain_s + KILL_AFTER_S
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before = {sig: signal.signal(sig, self._stop) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Take an address, at which nobody listens before a worker does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named TCP, or asyncio leaves Nagle's delay on: 40 ms for an answer of two packets
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"Expected to listen on {host}, port {port} (got {error}); name another with --port"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        tell("workers start", url=f"http://{shown}:{listener.getsockname()[1]}")
        yield listener
    finally:
        listener.close()


@contextmanager
def _metrics_folder() -> Iterator[None]:
    """Name, for the workers, a folder of this run where they count together."""
    before = os.environ.get(FOLDER)
    with tempfile.TemporaryDirectory(prefix="kgrec-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]
            if before is not None:
                os.environ[FOLDER] = before
