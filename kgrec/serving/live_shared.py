"""The state that workers share: in Redis while it answers, else in memory; filled from the log.

Redis holds a part of the log without a gap (live_redis.py), and is asked only while it holds all of
it. As soon as it fails, is late, or holds less than it did, this process answers out of its own
memory, which then follows the log; what is missing in Redis is put there from the log before it is
asked again. Any process does this for all: to take an event in twice changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from kgrec.errors import EventLogError, SharedStateError
from kgrec.events import LogTail, StoredEvent
from kgrec.serving.live_redis import BATCH, RedisUsers, Span, lost
from kgrec.serving.live_state import LiveEvent, SharedState
from kgrec.serving.live_users import LiveUsers

Mode = Literal["redis", "log"]
_log = logging.getLogger(__name__)


def namespace_of(folder: Path) -> str:
    """Return what the keys of an event log begin with in Redis."""
    return f"kgrec:{hashlib.blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest()}"


class SharedUsers(SharedState):
    """The state of all workers of one event log. Any number of threads may use it.

    ``look`` must be called every moment: it takes in what others wrote, and finds out whether Redis
    is there again.

    Args:
        redis: What is asked first.
        folder: The event log.
        marks: Returns what stands in Redis for the users who are forgotten.
    """

    def __init__(
        self, redis: RedisUsers, folder: Path, marks: Callable[[], frozenset[str]] = frozenset
    ) -> None:
        super().__init__(redis.config, redis.is_forgotten)
        self.mode: Mode = "log"
        """Where answers come from now."""
        self.faults = 0
        """How often Redis failed, was late, or had lost something."""
        self._redis, self._folder, self._marks = redis, folder, marks
        self._start = 0
        self._looking = threading.Lock()
        self._pushing = threading.Lock()
        self._pushed = LogTail(folder)
        self._local = LiveUsers(self.config, self.is_forgotten)
        self._followed: LogTail | None = None
        self._dropped = frozenset[str]()

    def begin(self, start: int) -> None:
        """Hold the events from an offset on, at least; returns when they can be asked for."""
        if self._start <= start and self.mode == "redis":
            return
        with self._looking:
            self._start = start
            self.mode, self._followed = "log", None
            self._look()

    def look(self) -> None:
        """Take in what other processes wrote, and see whether Redis can be relied upon.

        Raises:
            EventLogError: The log is damaged.
        """
        with self._looking:
            self._look()

    def take_in(self, events: Iterable[StoredEvent]) -> None:
        """Take in events that this process has written; other workers know them on return."""
        if self.mode == "redis":
            try:
                with self._pushing:
                    self._push()
                return
            except SharedStateError as error:
                self._distrust(error)
        self._local.take_in(events)

    def events_of(self, user_id: str | int | None) -> tuple[LiveEvent, ...]:
        """Return a user's events, oldest first; none for a user who is forgotten."""
        if self.mode == "redis":
            try:
                return self._redis.events_of(user_id)
            except SharedStateError as error:
                self._distrust(error)
        return self._local.events_of(user_id)

    def drop(self, user_id: str | int) -> None:
        """Let go of all events of a user; where Redis fails now, when it is there again."""
        self._local.drop(user_id)
        if self.mode == "redis":
            try:
                self._redis.drop(user_id)
            except SharedStateError as error:
                self._distrust(error)

    def __len__(self) -> int:
        return self._number(len)

    @property
    def evicted_users(self) -> int:
        """Users let go of because there were too many."""
        return self._number(lambda state: state.evicted_users)

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    def _look(self) -> None:
        try:
            if self.mode == "log":
                self._level()
            with self._pushing:
                self._push()
            self._drop_forgotten()
            self._redis.check()
        except SharedStateError as error:
            self._distrust(error)
            self._follow_in_memory()

    def _number(self, ask: Callable[[SharedState], int]) -> int:
        if self.mode == "redis":
            try:
                return ask(self._redis)
            except SharedStateError as error:
                self._distrust(error)
        return ask(self._local)

    def _distrust(self, error: SharedStateError) -> None:
        if self.mode == "redis" or not self.faults:
            _log.warning("answers come from the event log, not from Redis: %s", error)
        self.mode = "log"
        self.faults += 1

    def _follow_in_memory(self) -> None:
        if self._followed is None:
            self._followed = LogTail(self._folder, self._start)
        while some := self._followed.read(BATCH):
            self._local.take_in(some)

    def _level(self) -> None:
        """Make Redis hold the log from ``start`` up to its end, then rely upon it."""
        span = self._redis.span()
        tail = None if span is None else self._end_of(span)
        if span is None or tail is None:
            self._redis.begin(self._start, span)
            tail = LogTail(self._folder, self._start)
        elif span.start > self._start:
            earlier = LogTail(self._folder, self._start)
            while earlier.offset < span.start:
                most = min(BATCH, span.start - earlier.offset)
                self._redis.take_in(earlier.read(most))
            self._redis.extend(self._start)
        self._dropped = frozenset()
        self._drop_forgotten()
        while self._send_next(tail):
            if self._followed is not None:  # others write meanwhile
                self._follow_in_memory()
        with self._pushing:
            self._pushed = tail
            self.mode = "redis"
            self._push()  # what came while others still saw the mode before
        self._local, self._followed = LiveUsers(self.config, self.is_forgotten), None
        if self.faults:
            _log.warning("answers come from Redis again, up to offset %d", tail.offset)

    def _drop_forgotten(self) -> None:
        """Let Redis go of users whom other processes entered into the ledger."""
        marks = self._marks()
        if marks is not self._dropped:
            self._redis.drop_marks(sorted(marks - self._dropped))
            self._dropped = marks

    def _end_of(self, span: Span) -> LogTail | None:
        """Return the place in the log up to which Redis holds it, None where it is another log."""
        if span.reached == span.start:  # holds nothing, so that nothing tells which log it was
            return None
        tail = LogTail(self._folder, span.reached - 1)
        try:
            last = tail.read(1)
        except EventLogError:  # shorter, or damaged: then reading it anew will tell
            return None
        return tail if last and last[0].event.event_id == span.tail else None

    def _push(self) -> None:
        while self._send_next(self._pushed):
            pass

    def _send_next(self, tail: LogTail) -> bool:
        """Give Redis the next part of the log; return whether there may be more."""
        first = tail.offset
        events = tail.read(BATCH)
        if tail.offset > first:
            reached = self._redis.take_next(events, first, tail.offset)
            if reached < first:
                raise lost(first, reached)
        self._redis.must_reach = tail.offset
        return len(events) == BATCH
