"""From what a caller saw to an event of the log, and what became of it."""

from __future__ import annotations

import time as clock
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict, Unpack

from pydantic import ValidationError

from kgrec.errors import RequestError
from kgrec.events import Event


@dataclass(frozen=True)
class Observed:
    """What became of an event.

    Attributes:
        event_id: Its id: given, or made up for it.
        offset: Its place in the log; a repeat's is that of the event it repeats. None where it
            was not written, because the user asked to be forgotten.
        repeated: Whether an event with this id was there before, so that this one was dropped.
        counts: Whether the user's answers take it into account from now on: an impression does
            not, nor does a repeat.
        item_known: Whether the artifact that answers knows the item; otherwise the event waits
            for one that does.
    """

    event_id: str
    offset: int | None
    repeated: bool
    counts: bool
    item_known: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


class EventDetails(TypedDict, total=False):
    """What may be said of an event besides who and which item; see kgrec.events.Event."""

    event: str
    """Kind: click, cart, purchase, rating, impression; "interaction" where it is not said."""
    value: float | None
    """Rating, duration or count, finite."""
    time: float | None
    """UTC seconds since 1970; None for now."""
    event_id: str | None
    """Tells repeats; None for a new one, so that nothing is a repeat."""
    context: Mapping[str, str]
    """Circumstances by name: device, page."""
    shown: Sequence[str | int]
    """Items that were shown together, best first."""
    position: int | None
    """Rank of the item among those shown, from 1."""
    source: str | None
    """Where the item was shown."""
    propensity: float | None
    """Probability with which the item was shown at that position."""
    artifact_version: str | None
    """Artifact that chose what was shown."""


def make_event(user_id: str | int, item_id: str | int, **details: Unpack[EventDetails]) -> Event:
    """Return an event of the log.

    Args:
        user_id: External id of the user.
        item_id: External id of the item.
        details: As EventDetails says.

    Raises:
        RequestError: A field is out of its range: an empty id, a value that is not finite.
    """
    given: dict[str, Any] = {**details}
    if given.get("event_id") is None:
        given["event_id"] = uuid.uuid4().hex
    if given.get("time") is None:
        given["time"] = clock.time()
    given["shown"] = tuple(str(item) for item in given.get("shown", ()))
    try:
        return Event(user_id=str(user_id), item_id=str(item_id), **given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "event"
        raise RequestError(
            f"Expected an event as kgrec.events.Event describes, got {first['input']!r} under "
            f"'{where}': {first['msg']}"
        ) from error
