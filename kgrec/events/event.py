"""One event: who did what with which item, and what was shown to them when they did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_EVENT_BYTES = 64 * 1024
_LAST_SECOND = 253_402_300_799  # the end of the year 9999

Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Event(BaseModel):
    """One event, as it is appended to the log; at most 64 KiB as JSON.

    Two events with the same ``event_id`` are the same event: the second is a repeat and dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: Id
    """Given by whoever saw the event happen, so that a request sent twice counts once."""
    user_id: Id
    """External id of the user."""
    item_id: Id
    """External id of the item."""
    event: Word = "interaction"
    """Its kind: click, cart, purchase, rating, impression."""
    value: Finite | None = None
    """Rating, duration or count; None where the kind has none."""
    time: float = Field(ge=0, le=_LAST_SECOND, allow_inf_nan=False)
    """When it happened, UTC seconds since 1970. Clocks jump: the log's order is its offsets'."""
    context: Mapping[Word, Text] = Field(default={}, max_length=32)
    """Circumstances by name: device, page."""
    shown: tuple[Id, ...] = Field(default=(), max_length=1000)
    """Items that were shown together, best first."""
    position: int | None = Field(default=None, ge=1)
    """Rank of the item among those shown, from 1."""
    source: Word | None = None
    """Where the item was shown: the recommender, search, a newsletter."""
    propensity: float | None = Field(default=None, gt=0, le=1)
    """Probability with which the item was shown at that position."""
    artifact_version: Word | None = None
    """Artifact that chose what was shown."""

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        size = len(self.encoded())
        if size > MAX_EVENT_BYTES:
            raise ValueError(f"expected at most {MAX_EVENT_BYTES} bytes as JSON, got {size}")
        return self

    def encoded(self) -> bytes:
        """Return the event as one line of JSON, what has its default left out."""
        return self.model_dump_json(exclude_defaults=True).encode()

    @classmethod
    def decoded(cls, line: bytes) -> Event:
        """Return the event that ``encoded`` wrote."""
        return cls.model_validate_json(line)
