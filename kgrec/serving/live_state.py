"""What is known of users since the artifact was made, whoever keeps it: the interface, its bounds.

The event log is the truth; a state is what an answer needs of it, and can always be made anew.
In memory it is live_users.py, in Redis live_redis.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from kgrec.events import Event, StoredEvent

UsersFrom = Literal["memory", "redis", "log"]


class LiveConfig(BaseModel):
    """How much is kept of what users did since the artifact was made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_events_per_user: int = Field(default=1000, ge=1)
    """Newest events kept of one user."""
    max_users: int = Field(default=100_000, ge=1)
    """Users kept; beyond them those go first whose last event came first. They are then answered
    out of the artifact alone, until the next one."""
    left_out: tuple[str, ...] = ("impression",)
    """Kinds of events that are logged and say nothing of what the user did."""


class SharedConfig(BaseModel):
    """Where workers of one service keep what they share."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    redis: str
    """Address of the Redis: redis://host:6379/0, rediss://, unix://. The password stands in the
    environment, KGREC_REDIS_PASSWORD."""
    timeout_s: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """How long one question to Redis may take before the event log answers in its place."""


class LiveEvent(NamedTuple):
    """One event; they compare by time, then by their place in the log."""

    time_s: int
    offset: int
    item_id: str
    event: str
    value: float | None

    @classmethod
    def of(cls, event: Event, offset: int) -> LiveEvent:
        """Return what answers need of an event of the log."""
        return cls(int(event.time), offset, event.item_id, event.event, event.value)


class SharedState(ABC):
    """User id -> their newest events, oldest first. Any number of threads may use one.

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

    def counts(self, event: Event) -> bool:
        """Return whether answers take an event into account: one that is new, at least."""
        return event.event not in self.config.left_out and not self.is_forgotten(event.user_id)

    @abstractmethod
    def take_in(self, events: Iterable[StoredEvent]) -> None:
        """Take in events of the log, in its order; one that was taken in before changes nothing."""

    @abstractmethod
    def events_of(self, user_id: str | int | None) -> tuple[LiveEvent, ...]:
        """Return a user's events, oldest first; none for a user who is forgotten."""

    @abstractmethod
    def drop(self, user_id: str | int) -> None:
        """Let go of all events of a user, who is in the ledger of the forgotten by now."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many users are kept."""

    @property
    @abstractmethod
    def evicted_users(self) -> int:
        """Users let go of because there were too many."""
