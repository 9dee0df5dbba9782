"""What every SharedState must hold; an implementation inherits the class and says how it is made.

Inherit in a file of tests/contract/:

    class TestLiveUsers(SharedStateContract):
        @pytest.fixture
        def make(self):
            return LiveUsers
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kgrec.events import Event, StoredEvent
from kgrec.serving.live_state import LiveConfig, LiveEvent, SharedState

Make = Callable[..., SharedState]


def stored(offset: int, user: str = "a", item: str = "x", **fields: object) -> StoredEvent:
    given = {"event_id": f"e{offset}", "time": 100 + offset, **fields}
    return StoredEvent(offset, Event.model_validate({"user_id": user, "item_id": item, **given}))


class SharedStateContract:
    """The promises of kgrec.serving.live_state.SharedState, as tests; ``make`` is a fixture."""

    def test_a_user_is_unknown_before_the_first_event(self, make: Make) -> None:
        state = make()
        assert state.events_of("a") == ()
        assert state.events_of(None) == ()
        assert (len(state), state.evicted_users) == (0, 0)

    def test_an_event_is_given_out_as_it_came(self, make: Make) -> None:
        state = make()
        item = "é\U0001f600\"\\\n\x00 '"
        state.take_in([stored(3, " 7 ", item, event="click", value=0.1, time=5.75)])
        assert state.events_of("7") == (LiveEvent(5, 3, item, "click", 0.1),)
        assert state.events_of(7) == state.events_of(" 7") == state.events_of("7")
        state.take_in([stored(4, "8")])
        assert state.events_of("8")[0].value is None
        assert len(state) == 2

    def test_events_stand_in_the_order_of_time_then_of_the_log(self, make: Make) -> None:
        state = make()
        times = [9, 10, 1, 10, 253_402_300_799, 0, 10]
        state.take_in(stored(n, time=time) for n, time in enumerate(times))
        found = state.events_of("a")
        assert found == tuple(sorted(found))
        assert [event.offset for event in found] == [5, 2, 0, 1, 3, 6, 4]

    def test_an_event_taken_in_twice_counts_once(self, make: Make) -> None:
        state = make()
        events = [stored(n) for n in range(5)]
        state.take_in(events)
        state.take_in(events[2:])
        assert [event.offset for event in state.events_of("a")] == [0, 1, 2, 3, 4]

    def test_the_newest_events_of_a_user_are_kept(self, make: Make) -> None:
        state = make(LiveConfig(max_events_per_user=3))
        state.take_in(stored(n, time=100 - n) for n in range(5))
        assert [event.time_s for event in state.events_of("a")] == [98, 99, 100]

    def test_users_go_first_whose_last_event_came_first(self, make: Make) -> None:
        state = make(LiveConfig(max_users=2))
        state.take_in(stored(n, user) for n, user in enumerate("abac"))
        assert state.events_of("b") == ()
        assert len(state.events_of("a")) == 2
        assert (len(state), state.evicted_users) == (2, 1)

    def test_kinds_that_are_left_out_are_not_taken_in(self, make: Make) -> None:
        state = make()
        assert not state.counts(stored(0, event="impression").event)
        assert state.counts(stored(1, event="click").event)
        state.take_in([stored(0, event="impression"), stored(1, event="click")])
        assert [event.offset for event in state.events_of("a")] == [1]

    def test_of_a_forgotten_user_nothing_is_taken_in_or_given_out(self, make: Make) -> None:
        forgotten: set[str] = set()
        state = make(is_forgotten=forgotten.__contains__)
        state.take_in([stored(0), stored(1, "b")])
        forgotten.add("a")
        assert state.events_of("a") == ()
        state.drop("a")
        assert len(state) == 1
        state.take_in([stored(2), stored(3, "b")])
        assert not state.counts(stored(4).event)
        assert state.events_of("a") == ()
        assert len(state.events_of("b")) == 2
        assert len(state) == 1

    def test_a_user_who_is_not_known_can_be_dropped(self, make: Make) -> None:
        state = make()
        state.drop("nobody")
        assert len(state) == 0

    def test_many_threads_lose_nothing(self, make: Make) -> None:
        state = make()
        events = [stored(n, f"user-{n % 7}") for n in range(400)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda event: state.take_in([event]), events))
        found = [event.offset for n in range(7) for event in state.events_of(f"user-{n}")]
        assert sorted(found) == list(range(400))

    def test_more_than_one_batch_equals_one_event_at_a_time(self, make: Make) -> None:
        rng = np.random.default_rng(0)
        events = [
            stored(n, f"user-{rng.integers(30)}", time=int(rng.integers(50))) for n in range(1200)
        ]
        at_once, singly = make(), make()
        at_once.take_in(events)
        for event in events:
            singly.take_in([event])
        users = [f"user-{n}" for n in range(30)]
        assert [at_once.events_of(user) for user in users] == [
            singly.events_of(user) for user in users
        ]
