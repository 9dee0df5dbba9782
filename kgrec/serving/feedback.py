"""Where what users do goes: the durable log, the state that answers need, who is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from kgrec.artifact import Artifact
from kgrec.errors import RequestError
from kgrec.events import Event, EventLog, StoredEvent
from kgrec.serving.forgotten import ForgottenUsers
from kgrec.serving.live_redis import RedisUsers
from kgrec.serving.live_shared import SharedUsers, namespace_of
from kgrec.serving.live_state import LiveConfig, SharedConfig, SharedState, UsersFrom
from kgrec.serving.live_users import LiveUsers
from kgrec.serving.observing import Observed


class Feedback:
    """Takes in events and forgets users. Any number of threads may use it.

    Args:
        state: Folder of the ledger of forgotten users; None: nobody can be forgotten.
        config: How much is kept of what users did.
        log: Folder of the event log; None: nothing can be observed.
        shared: What other processes share that write to the same log; None: there are none.
    """

    def __init__(
        self,
        state: Path | None = None,
        config: LiveConfig | None = None,
        log: Path | None = None,
        shared: SharedConfig | None = None,
    ) -> None:
        self._log: EventLog | None = None
        self._log_folder = log
        self._ledger = None if state is None else ForgottenUsers(state)
        self._replayed_from = 0
        self._reading = threading.Lock()
        self.users: SharedState = LiveUsers(config, self.is_forgotten)
        if log is not None and shared is not None:
            redis = RedisUsers(
                shared.redis,
                namespace_of(log),
                config,
                self.is_forgotten,
                str if self._ledger is None else self._ledger.mark,
                shared.timeout_s,
            )
            marks = frozenset if self._ledger is None else self._ledger.marks
            self.users = SharedUsers(redis, log, marks)

    @property
    def users_from(self) -> UsersFrom:
        """Where the events of users come from."""
        return self.users.mode if isinstance(self.users, SharedUsers) else "memory"

    @property
    def faults(self) -> int:
        """How often Redis failed, was late, or had lost something."""
        return self.users.faults if isinstance(self.users, SharedUsers) else 0

    @property
    def num_forgotten(self) -> int:
        """Users in the ledger."""
        return 0 if self._ledger is None else len(self._ledger)

    def open_log(self, artifact: Artifact) -> None:
        """Open the event log, if any, for writing; take in what the artifact does not know.

        Raises:
            EventLogError: Another process writes to it, or it is damaged.
        """
        if self._log_folder is None:
            return
        self._log = EventLog(self._log_folder, shared=isinstance(self.users, SharedUsers))
        self._replayed_from = self._log.end
        try:
            self.follow(artifact)
        except BaseException:
            self.close()
            raise

    def follow(self, artifact: Artifact) -> None:
        """Take in what this artifact does not know: an older one knows less.

        Who was forgotten by another process meanwhile is forgotten here too.
        """
        if self._ledger is not None:
            self._ledger.refresh()
        if self._log is None:
            return
        with self._reading:
            # an artifact of a run without the log tells no offset: what it knows counts once
            start = int(artifact.manifest.get("metrics", {}).get("events_until") or 0)
            start = min(start, self._log.end)
            if isinstance(self.users, SharedUsers):
                self.users.begin(start)
            elif start < self._replayed_from:
                self.users.take_in(self._log.read(start, self._replayed_from))
                self._replayed_from = start

    def look(self) -> None:
        """Take in what other processes wrote to ledger and log.

        Raises:
            EventLogError: The log is damaged.
        """
        if self._ledger is not None:
            self._ledger.follow()
        if isinstance(self.users, SharedUsers):
            self.users.look()

    def observe(self, events: Sequence[Event]) -> list[Observed]:
        """Append events with one write, and take those in that count for answers.

        Raises:
            RequestError: There is no log.
            EventLogError: Some could not be written; sending all again is safe.
        """
        if self._log is None:
            raise RequestError(
                "Expected an event log to write to, got none; name a folder with "
                "Recommender.load(path, event_log=FOLDER)"
            )
        wanted = [not self.is_forgotten(event.user_id) for event in events]
        kept = [event for event, keep in zip(events, wanted, strict=True) if keep]
        found = self._log.append_all(kept) if kept else []
        self.users.take_in(
            StoredEvent(place.offset, event)
            for event, place in zip(kept, found, strict=True)
            if not place.repeated
        )
        places, told = iter(found), []
        for event, keep in zip(events, wanted, strict=True):
            if not keep:
                told.append(Observed(event.event_id, None, False, False))
                continue
            place = next(places)
            counts = not place.repeated and self.users.counts(event)
            told.append(Observed(event.event_id, place.offset, place.repeated, counts))
        return told

    def forget(self, user_id: str | int) -> bool:
        """Enter a user into the ledger, then let go of what is in memory; False if they were in.

        Raises:
            RequestError: There is no folder for the ledger.
            ServingStateError: The ledger cannot be written; nothing was forgotten.
        """
        if self._ledger is None:
            raise RequestError(
                "Expected a folder for the ledger of forgotten users, got none; name one with "
                "Recommender.load(path, state=FOLDER)"
            )
        new = self._ledger.forget(user_id)
        self.users.drop(user_id)
        return new

    def is_forgotten(self, user_id: str | int) -> bool:
        """Return whether the user asked to be forgotten."""
        if self._ledger is None:
            return False
        self._ledger.follow()
        return self._ledger(user_id)

    def close(self) -> None:
        """Close the log, so that another process may write to it."""
        if self._log is not None:
            self._log.close()
        if isinstance(self.users, SharedUsers):
            self.users.close()
