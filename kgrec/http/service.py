"""One service: what its requests share, and the threads that follow pointer, keys and the other
workers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kgrec.errors import KgrecError
from kgrec.http.keys import KeyFile, KeyRing
from kgrec.http.ladder import Ladder
from kgrec.http.measures import Measures, move
from kgrec.http.rate_limit import TokenBuckets
from kgrec.http.request_log import tell
from kgrec.http.settings import ServeConfig
from kgrec.serving.recommender import Recommender

_RETRY_POLLS = 30


class Service:
    """The recommender with its limits, keys and counts.

    Args:
        recommender: What answers.
        config: Limits and folders.
        pointer: The file that is watched for the next artifact; None, or a folder: nothing is.

    Raises:
        ConfigError: The file of keys is unusable.
    """

    def __init__(
        self, recommender: Recommender, config: ServeConfig, pointer: Path | None = None
    ) -> None:
        self.recommender = recommender
        self.config = config
        self.measures = Measures()
        self.ladder = Ladder(recommender, config)
        self.buckets = TokenBuckets(config.rate_per_s, config.burst)
        self.keys = None if config.keys is None else KeyRing(KeyFile(config.keys))
        self.draining = False
        self.in_flight = 0
        self._pointer = pointer
        self._seen = self._stamp()
        self._try_again = 0.0
        self._artifact_told = self._source_told = self._fault_told = ""
        self._faults_told = 0
        self._telling = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._every, args=arguments, name=name, daemon=True)
            for name, *arguments in (
                ("kgrec-watch", self.look, config.poll_s),
                ("kgrec-follow", self.follow, config.follow_s),
            )
        ]

    def start(self) -> None:
        """Begin to watch."""
        self.measures.starts.inc()
        self.tell_measures()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop watching, and close what writes."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self.ladder.close()
        self.recommender.close()

    def follow(self) -> None:
        """Take in what other workers did; what cannot be read changes nothing."""
        try:
            if self.recommender.follow():
                self.ladder.items_changed()
            if self.config.prepare_items and self.config.state is not None:
                self.recommender.prepare_items()
            self._fault_told = ""
        except KgrecError as error:
            if str(error) != self._fault_told:  # it will be met again in a moment
                self._fault_told = str(error)
                tell("other workers not followed", level=logging.ERROR, error=str(error))
        self.tell_measures()

    def tell_measures(self) -> None:
        """Set what is measured as it is now."""
        with self._telling:
            self._tell_measures()

    def look(self) -> None:
        """Look at the pointer and the keys once; what cannot be read changes nothing."""
        try:
            if self.keys is not None and self.keys.refresh():
                tell("keys read again")
        except KgrecError as error:
            tell("keys not read", level=logging.ERROR, error=str(error))
        stamp = self._stamp()
        if stamp == self._seen and not (self._try_again and time.monotonic() >= self._try_again):
            return
        self._seen, self._try_again = stamp, 0.0
        try:
            swapped = self.recommender.reload()
        except Exception as error:
            # whatever a damaged artifact makes fail: what answers now goes on answering
            self._try_again = time.monotonic() + _RETRY_POLLS * self.config.poll_s
            self.measures.swaps.labels("failed").inc()
            why = str(error) if isinstance(error, KgrecError) else type(error).__name__
            tell("artifact not changed", level=logging.ERROR, error=why)
            return
        if swapped:
            self.recommender.prepare_explanations()
            self.ladder.prepare()
            self.measures.swaps.labels("done").inc()
            self.tell_measures()
            tell("artifact changed", artifact_id=self.recommender.artifact_id)

    def _tell_measures(self) -> None:
        measures, recommender = self.measures, self.recommender
        measures.in_flight.set(self.in_flight)
        measures.cached.set(len(self.ladder.cache))
        artifact_id, source = recommender.artifact_id, recommender.users_from
        if artifact_id != self._artifact_told:
            move(measures.artifact, self._artifact_told, artifact_id)
            self._artifact_told = artifact_id
        if source != self._source_told:
            move(measures.users_from, self._source_told, source)
            level = logging.WARNING if source == "log" else logging.INFO
            tell("events of users", source=source, level=level)
            self._source_told = source
        faults = recommender.shared_state_faults
        measures.state_faults.inc(faults - self._faults_told)
        self._faults_told = faults

    def _every(self, do: Callable[[], None], pause_s: float) -> None:
        while not self._stop.wait(pause_s):
            try:
                do()
            except Exception:
                logging.getLogger("kgrec.http").exception("the watch failed")

    def _stamp(self) -> tuple[int, bytes]:
        """Return what tells one state of the pointer from the next; content, for coarse clocks."""
        try:
            if self._pointer is None or not self._pointer.is_file():
                return (0, b"")
            return (self._pointer.stat().st_mtime_ns, self._pointer.read_bytes())
        except OSError:
            return (0, b"")
