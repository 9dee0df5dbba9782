"""What users did since the artifact was made, in memory, bounded; the log keeps it all.

Holds events by external ids, so that it outlives a swap of artifacts. What an event means to a
model is decided when a history is made of it.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Iterable

from kgrec.events import StoredEvent
from kgrec.serving.live_state import LiveConfig, LiveEvent, SharedState


class LiveUsers(SharedState):
    """The state of one process."""

    def __init__(
        self,
        config: LiveConfig | None = None,
        is_forgotten: Callable[[str], bool] = lambda user_id: False,
    ) -> None:
        super().__init__(config, is_forgotten)
        self._evicted = 0
        self._events: OrderedDict[str, tuple[LiveEvent, ...]] = OrderedDict()
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def evicted_users(self) -> int:
        """Users let go of because there were too many."""
        return self._evicted

    def take_in(self, events: Iterable[StoredEvent]) -> None:
        """Take in events of the log, in its order; one that was taken in before changes nothing."""
        for stored in events:
            if stored.event.event not in self.config.left_out:
                with self._changing:
                    self._add(stored)

    def events_of(self, user_id: str | int | None) -> tuple[LiveEvent, ...]:
        """Return a user's events, oldest first; none for a user who is forgotten."""
        if user_id is None or self.is_forgotten(str(user_id)):
            return ()
        return self._events.get(str(user_id).strip(), ())

    def drop(self, user_id: str | int) -> None:
        """Let go of all events of a user, who is in the ledger of the forgotten by now."""
        with self._changing:
            self._events.pop(str(user_id).strip(), None)

    def _add(self, stored: StoredEvent) -> None:
        user_id = stored.event.user_id
        if self.is_forgotten(user_id):  # asked within: forgetting drops after it is written
            return
        known = list(self._events.get(user_id, ()))
        if all(one.offset != stored.offset for one in known):
            insort(known, LiveEvent.of(stored.event, stored.offset))
        self._events[user_id] = tuple(known[-self.config.max_events_per_user :])
        self._events.move_to_end(user_id)
        while len(self._events) > self.config.max_users:
            self._events.popitem(last=False)
            self._evicted += 1
