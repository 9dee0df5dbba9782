"""What users did since the artifact was made, in Redis, for all workers of a service.

The one module that imports redis. It holds a part of the event log without a gap, from ``start``
up to ``reached``, both kept beside the events: whoever finds less than was there before knows that
Redis lost it. What to do then, and while Redis does not answer, is for live_shared.py.

No user id stands in Redis: keys are made of a mark, the ledger's keyed hash where there is one.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from kgrec.errors import ConfigError, MissingDependencyError, SharedStateError
from kgrec.events import StoredEvent
from kgrec.serving import live_scripts as scripts
from kgrec.serving.live_state import LiveConfig, LiveEvent, SharedState

BATCH = 500
PASSWORD = "KGREC_REDIS_PASSWORD"


class Span(NamedTuple):
    """Which part of the log is held.

    Attributes:
        start: Offset of its first event.
        reached: Offset after its last event.
        tail: Id of its last event, "" where it is empty.
    """

    start: int
    reached: int
    tail: str


class RedisUsers(SharedState):
    """The state of all processes that name the same Redis and namespace.

    Args:
        url: "redis://user@host:port/0"; the password stands in the environment, PASSWORD.
        namespace: What the keys begin with.
        config: Bounds.
        is_forgotten: Users of whom nothing is taken in or given out.
        mark: User id -> what stands for it in Redis.
        timeout_s: How long one question may take.

    Raises:
        MissingDependencyError: redis is not installed.
        ConfigError: The address is none of Redis.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        config: LiveConfig | None = None,
        is_forgotten: Callable[[str], bool] = lambda user_id: False,
        mark: Callable[[str], str] = str,
        timeout_s: float = 0.1,
    ) -> None:
        super().__init__(config, is_forgotten)
        self._client = _connected(url, timeout_s)
        self._mark = mark
        # the braces keep all keys of one log on one node of a cluster
        self._prefix = f"{{{namespace}}}:user:"
        names = ("span", "users", "gone", "evicted")
        self._span, self._users, self._gone, self._evicted = (
            f"{{{namespace}}}:{name}" for name in names
        )
        self._take_in = self._client.register_script(scripts.TAKE_IN)
        self.must_reach = -1
        """Offset up to which the log must be held for an answer to be given."""

    def __len__(self) -> int:
        with _told():
            return int(self._client.zcard(self._users))

    @property
    def evicted_users(self) -> int:
        """Users let go of because there were too many."""
        with _told():
            return int(self._client.get(self._evicted) or 0)

    def take_in(self, events: Iterable[StoredEvent]) -> None:
        """Take in events of the log, in its order; one that was taken in before changes nothing.

        Raises:
            SharedStateError: Redis does not answer; some may have been taken in.
        """
        remaining = iter(events)
        while batch := list(islice(remaining, BATCH)):
            self._send(batch, "", 0)

    def take_next(self, events: Sequence[StoredEvent], first: int, until: int) -> int:
        """Take in a part of the log that begins at or before what is reached.

        Args:
            events: At most BATCH events, all that stand in that part.
            first: Offset where it begins.
            until: Offset after it.

        Returns:
            What is reached then; less than ``first`` where the part was not taken in, because
            others before it are missing; -1 where nothing is held.

        Raises:
            SharedStateError: Redis does not answer.
        """
        return self._send(events, str(first), until)

    def events_of(self, user_id: str | int | None) -> tuple[LiveEvent, ...]:
        """Return a user's events, oldest first; none for a user who is forgotten.

        Raises:
            SharedStateError: Redis does not answer, or has lost what it held.
        """
        if user_id is None or self.is_forgotten(str(user_id)):
            return ()
        with _told():
            asked = self._client.pipeline(transaction=False)
            asked.hget(self._span, "reached")
            asked.zrange(self._key(user_id), 0, -1)
            reached, found = asked.execute()
        self._check(reached)
        return tuple(_decoded(content) for content in found)

    def drop(self, user_id: str | int) -> None:
        """Let go of all events of a user, and take in none any more.

        Raises:
            SharedStateError: Redis does not answer.
        """
        self.drop_marks([self._mark(str(user_id).strip())])

    def drop_marks(self, marks: Sequence[str]) -> None:
        """Do what ``drop`` does for users known by their marks alone.

        Raises:
            SharedStateError: Redis does not answer.
        """
        for first in range(0, len(marks), BATCH):
            some = marks[first : first + BATCH]
            with _told():
                change = self._client.pipeline(transaction=True)
                change.sadd(self._gone, *some)
                change.zrem(self._users, *some)
                change.unlink(*(self._prefix + mark for mark in some))
                change.execute()

    def check(self) -> None:
        """See whether the log is held up to ``must_reach``.

        Raises:
            SharedStateError: Redis does not answer, or has lost what it held.
        """
        with _told():
            reached = self._client.hget(self._span, "reached")
        self._check(reached)

    def span(self) -> Span | None:
        """Return which part of the log is held, None for none.

        Raises:
            SharedStateError: Redis does not answer.
        """
        with _told():
            found = self._client.hgetall(self._span)
        if not {b"start", b"reached", b"tail"} <= set(found):
            return None
        return Span(int(found[b"start"]), int(found[b"reached"]), found[b"tail"].decode())

    def begin(self, start: int, seen: Span | None) -> None:
        """Let go of everything, and hold the log from ``start`` on, unless another begins.

        Args:
            start: Offset of the first event.
            seen: What was held when it was found to be of no use.

        Raises:
            SharedStateError: Redis does not answer.
        """
        with _told():
            if seen is not None:
                self._client.eval(scripts.DISOWN, 1, self._span, seen.reached)
            while self._client.eval(scripts.SWEEP, 2, self._span, self._users, self._prefix, BATCH):
                pass
            self._client.eval(scripts.BEGIN, 1, self._span, start)

    def extend(self, start: int) -> None:
        """Say that everything from an earlier start on has been taken in.

        Raises:
            SharedStateError: Redis does not answer.
        """
        with _told():
            self._client.eval(scripts.EXTEND, 1, self._span, start)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _check(self, reached: bytes | None) -> None:
        if int(reached or -1) < self.must_reach:
            raise lost(self.must_reach, int(reached or 0))

    def _key(self, user_id: str | int) -> str:
        return self._prefix + self._mark(str(user_id).strip())

    def _send(self, events: Sequence[StoredEvent], first: str, until: int) -> int:
        given: list[Any] = []
        for stored in events:
            if self.counts(stored.event):
                given += [self._mark(stored.event.user_id), *_encoded(stored)]
        bounds = [self.config.max_events_per_user, self.config.max_users]
        tail = events[-1].event.event_id if events else ""
        with _told():
            reached = self._take_in(
                keys=[self._span, self._users, self._gone, self._evicted],
                args=[self._prefix, *bounds, first, until, tail, *given],
            )
        return int(reached)


def lost(expected: int, reached: int) -> SharedStateError:
    """Return the error that tells of a hole in what Redis holds."""
    return SharedStateError(
        f"Expected events up to offset {expected} in Redis, got {max(reached, 0)}: it was emptied, "
        "or went back to an older state"
    )


def check_address(url: str) -> None:
    """Refuse what can be no Redis, without asking it: it may be down for a while.

    Raises:
        MissingDependencyError: redis is not installed.
        ConfigError: The address is none of Redis.
    """
    _connected(url, 1.0).close()


def _connected(url: str, timeout_s: float) -> Any:
    """Return a client; it connects when it is asked something."""
    if importlib.util.find_spec("redis") is None:
        raise MissingDependencyError(
            "Expected the library redis for a state that workers share, found none; install it "
            "with 'pip install \"kgrec[redis]\"'"
        )
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        return redis.Redis.from_url(
            url,
            password=os.environ.get(PASSWORD),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),  # whoever waits for an answer is told at once
            protocol=2,
        )
    except ValueError as error:
        raise ConfigError(
            "Expected the address of a Redis like redis://localhost:6379/0 (or rediss://, "
            f"unix://), got one that cannot be read: {error}"
        ) from error


@contextmanager
def _told() -> Iterator[None]:
    """Turn errors of the library into ours; their texts may hold contents and stay out of it."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        raise SharedStateError(
            f"Expected an answer of Redis in time, got {type(error).__name__}; look whether it "
            "runs and has memory left"
        ) from error


def _encoded(stored: StoredEvent) -> tuple[int, str]:
    """Return time and content; contents of one time are in the order of their offsets."""
    event = LiveEvent.of(stored.event, stored.offset)
    content = json.dumps([event.time_s, event.item_id, event.event, event.value])
    return event.time_s, f"{event.offset:016d}{content}"


def _decoded(content: bytes) -> LiveEvent:
    time_s, item_id, event, value = json.loads(content[16:])
    return LiveEvent(time_s, int(content[:16]), item_id, event, value)
