"""What users did since the artifact was made, in memory, bounded; the log keeps it all.

Holds events by external ids, so that it outlives a swap of artifacts. What an event means to a
model is decided when a history is made of it.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from kgrec.events import Event, StoredEvent


class LiveConfig(BaseModel):
    """How much is kept in memory of what users did since the artifact was made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_events_per_user: int = Field(default=1000, ge=1)
    """Newest events kept of one user."""
    max_users: int = Field(default=100_000, ge=1)
    """Users kept; beyond them those go first whose last event came first. They are then answered
    out of the artifact alone, until the next one."""
    left_out: tuple[str, ...] = ("impression",)
    """Kinds of events that are logged and say nothing of what the user did."""


class LiveEvent(NamedTuple):
    """One event; they compare by time, then by their place in the log."""

    time_s: int
    offset: int
    item_id: str
    event: str
    value: float | None


class LiveUsers:
    """User id -> their newest events, oldest first. Any number of threads may use it.

    Args:
        config: Bounds.
        is_forgotten: Users of whom nothing is taken in or given out.
    """

    def __init__(
        self,
        config: LiveConfig | None = None,
        is_forgotten: Callable[[str], bool] = lambda user_id: False,
    ) -> None:
        self.config = config or LiveConfig()
        self.is_forgotten = is_forgotten
        self.evicted_users = 0
        self._events: OrderedDict[str, tuple[LiveEvent, ...]] = OrderedDict()
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._events)

    def take_in(self, event: Event, offset: int) -> bool:
        """Take in an event that stands in the log; return whether it counts for answers.

        One that was taken in before changes nothing.
        """
        user_id = event.user_id
        if event.event in self.config.left_out:
            return False
        new = LiveEvent(int(event.time), offset, event.item_id, event.event, event.value)
        with self._changing:
            if self.is_forgotten(user_id):  # asked within: forgetting drops after it is written
                return False
            known = list(self._events.get(user_id, ()))
            if all(one.offset != offset for one in known):
                insort(known, new)
            self._events[user_id] = tuple(known[-self.config.max_events_per_user :])
            self._events.move_to_end(user_id)
            while len(self._events) > self.config.max_users:
                self._events.popitem(last=False)
                self.evicted_users += 1
        return True

    def replay(self, events: Iterable[StoredEvent]) -> int:
        """Take in events of the log in its order; return how many count for answers."""
        return sum(self.take_in(stored.event, stored.offset) for stored in events)

    def events_of(self, user_id: str | int | None) -> tuple[LiveEvent, ...]:
        """Return a user's events, oldest first; none for a user who is forgotten."""
        if user_id is None or self.is_forgotten(str(user_id)):
            return ()
        return self._events.get(str(user_id).strip(), ())

    def drop(self, user_id: str | int) -> None:
        """Let go of all events of a user."""
        with self._changing:
            self._events.pop(str(user_id).strip(), None)
