"""One service: what its requests share, and the thread that follows pointer and keys."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from kgrec.errors import KgrecError
from kgrec.http.keys import KeyFile, KeyRing
from kgrec.http.ladder import Ladder
from kgrec.http.measures import Measures
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
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._follow, name="kgrec-watch", daemon=True)
        self.measures.artifact.info({"artifact_id": recommender.artifact_id})
        self.measures.cached.set_function(lambda: len(self.ladder.cache))
        self.measures.in_flight.set_function(lambda: self.in_flight)

    def start(self) -> None:
        """Begin to watch."""
        self._watch.start()

    def close(self) -> None:
        """Stop watching, and close what writes."""
        self._stop.set()
        if self._watch.is_alive():
            self._watch.join()
        self.ladder.close()
        self.recommender.close()

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
            self.ladder.prepare()
            self.measures.swaps.labels("done").inc()
            self.measures.artifact.info({"artifact_id": self.recommender.artifact_id})
            tell("artifact changed", artifact_id=self.recommender.artifact_id)

    def _follow(self) -> None:
        while not self._stop.wait(self.config.poll_s):
            try:
                self.look()
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
