"""Events say what they take: finite numbers, bounded sizes, ids that are there."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kgrec.events import Event

LEAST = {"event_id": "e", "user_id": "u", "item_id": "i", "time": 0}


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("value", math.nan),
        ("value", math.inf),
        ("time", math.nan),
        ("time", -1),
        ("time", 1e15),
        ("event_id", "  "),
        ("user_id", ""),
        ("item_id", "i" * 257),
        ("item_id", "\ud800"),
        ("event", "x" * 65),
        ("position", 0),
        ("propensity", 0.0),
        ("propensity", 1.5),
        ("shown", ["i"] * 1001),
        ("shown", ["i" * 200] * 900),
        ("context", {f"k{number}": "v" for number in range(33)}),
        ("context", {"k": "v" * 1025}),
        ("stranger", 1),
    ],
)
def test_an_event_refuses(field: str, bad: object) -> None:
    with pytest.raises(ValidationError, match=field if field != "shown" else "shown|65536"):
        Event.model_validate(LEAST | {field: bad})


def test_an_event_is_frozen_and_ids_lose_outer_spaces() -> None:
    event = Event.model_validate(LEAST | {"item_id": " i1 "})
    assert event.item_id == "i1"
    with pytest.raises(ValidationError, match="frozen"):
        event.item_id = "other"


text = st.text(min_size=1, max_size=40).map(str.strip).filter(bool)


@given(
    user=text,
    kind=text,
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    time=st.floats(0, 253402300799),
    shown=st.lists(text, max_size=5),
    context=st.dictionaries(text, text, max_size=4),
)
def test_an_event_is_one_line_and_comes_back_equal(
    user: str,
    kind: str,
    value: float | None,
    time: float,
    shown: list[str],
    context: dict[str, str],
) -> None:
    given_ = {"user_id": user, "event": kind, "value": value, "time": time}
    event = Event.model_validate(LEAST | given_ | {"shown": shown, "context": context})
    assert b"\n" not in event.encoded()
    assert Event.decoded(event.encoded()) == event
