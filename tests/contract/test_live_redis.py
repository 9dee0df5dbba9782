"""The state in Redis keeps the contract, on a real server, and what only it promises."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from redis_fixtures import RedisServer
from shared_state_contract import Make, SharedStateContract, stored

from kgrec.errors import ConfigError, SharedStateError
from kgrec.serving.live_redis import RedisUsers, Span, check_address
from kgrec.serving.live_state import LiveConfig

pytestmark = pytest.mark.redis


@pytest.fixture
def make(redis_server: RedisServer):
    """Makes states of one server, each in a namespace of its own unless it is named."""
    made: list[RedisUsers] = []

    def state(config: LiveConfig | None = None, **options: Any) -> RedisUsers:
        options = {"namespace": f"test-{len(made)}", "timeout_s": 5.0, **options}
        made.append(RedisUsers(redis_server.url, config=config, **options))
        return made[-1]

    yield state
    for one in made:
        one.close()


class TestRedisUsers(SharedStateContract):
    @pytest.fixture
    def make(self, make: Make) -> Make:
        return make


def test_processes_of_one_namespace_share_and_others_do_not(make: Make) -> None:
    one, same, other = make(namespace="n"), make(namespace="n"), make(namespace="m")
    one.take_in([stored(0)])
    assert same.events_of("a") == one.events_of("a") != ()
    assert other.events_of("a") == ()


def test_no_user_id_stands_in_redis_where_there_are_marks(
    make: Make, redis_server: RedisServer
) -> None:
    state = make(mark=lambda user_id: f"mark-of-{len(user_id)}")
    state.take_in([stored(0, "somebody")])
    state.drop("another")
    assert len(state.events_of("somebody")) == 1
    with redis_server.client() as client:
        held = repr([client.dump(key) for key in client.scan_iter()]) + repr(client.keys())
    assert "somebody" not in held
    assert "another" not in held


def test_the_log_is_held_without_a_hole_whoever_is_faster(make: Make) -> None:
    one, other = make(namespace="n"), make(namespace="n")
    events = [stored(n) for n in range(6)]
    assert one.take_next(events[0:2], 0, 2) == -1  # nothing is held yet
    one.begin(0, None)
    assert other.take_next(events[2:4], 2, 4) == 0  # what is before it is missing
    assert one.events_of("a") == ()
    assert one.take_next(events[0:2], 0, 2) == 2
    assert other.take_next(events[1:4], 1, 4) == 4
    assert one.take_next(events[2:3], 2, 3) == 4  # the other was faster
    assert [event.offset for event in one.events_of("a")] == [0, 1, 2, 3]
    assert one.span() == Span(0, 4, "e3")


def test_an_evicted_user_comes_not_back_by_a_part_taken_in_twice(make: Make) -> None:
    state = make(LiveConfig(max_users=1))
    state.begin(0, None)
    events = [stored(0, "a"), stored(1, "b")]
    state.take_next(events, 0, 2)
    state.take_next(events[:1], 0, 1)
    assert state.events_of("a") == ()
    assert len(state.events_of("b")) == 1


def test_a_forgotten_user_is_not_taken_in_by_who_does_not_know_it_yet(make: Make) -> None:
    one, late = make(namespace="n"), make(namespace="n")
    one.take_in([stored(0), stored(1, "b")])
    one.drop("a")
    late.take_in([stored(2), stored(3, "b")])
    assert late.events_of("a") == ()
    assert (len(late), len(late.events_of("b"))) == (1, 2)


def test_what_is_lost_is_told_and_begun_anew(make: Make, redis_server: RedisServer) -> None:
    state = make(namespace="n")
    state.begin(0, None)
    state.must_reach = state.take_next([stored(n, f"user-{n}") for n in range(9)], 0, 9)
    assert len(state.events_of("user-3")) == 1
    with redis_server.client() as client:
        client.flushall()
    with pytest.raises(SharedStateError, match="Expected events up to offset 9 in Redis, got 0"):
        state.events_of("user-3")
    assert state.span() is None


def test_one_who_begins_anew_does_not_undo_another_s_beginning(make: Make) -> None:
    one, other = make(namespace="n"), make(namespace="n")
    one.begin(0, None)
    one.take_next([stored(n, f"user-{n}") for n in range(4)], 0, 4)
    seen = one.span()
    assert other.span() == seen
    one.begin(2, seen)
    assert len(one) == 0
    one.take_next([stored(2, "user-2")], 2, 3)
    other.begin(2, seen)  # saw what was there before
    assert other.span() == Span(2, 3, "e2")
    assert len(other) == 1
    other.take_in([stored(0, "user-0"), stored(1, "user-1")])
    other.extend(0)
    one.extend(1)  # is less than what is held
    assert one.span() == Span(0, 3, "e2")
    assert len(one) == 3


def test_a_server_that_does_not_answer_is_told_in_time(
    make: Make, redis_server: RedisServer
) -> None:
    state = make(timeout_s=0.1)
    state.take_in([stored(0)])
    redis_server.pause()
    try:
        for ask in (
            lambda: state.events_of("a"),
            lambda: state.take_in([stored(1)]),
            lambda: state.drop("b"),
            lambda: len(state),
            state.span,
        ):
            with pytest.raises(SharedStateError, match="Expected an answer of Redis in time"):
                ask()
    finally:
        redis_server.go_on()
    assert state.events_of("a")[0].offset == 0
    redis_server.stop()
    with pytest.raises(SharedStateError, match="got ConnectionError"):
        state.events_of("a")
    redis_server.start()
    assert state.events_of("a") == ()


def test_a_server_without_memory_left_is_told_and_gives_out_what_it_holds(
    make: Make, redis_server: RedisServer
) -> None:
    state = make()
    state.take_in([stored(0)])
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(SharedStateError, match="has memory left"):
                state.take_in([stored(1)])
            assert len(state.events_of("a")) == 1
        finally:
            client.config_set("maxmemory", "0")


def test_many_processes_that_race_hold_the_whole_log(make: Make) -> None:
    events = [stored(n, f"user-{n % 5}") for n in range(600)]
    states = [make(namespace="race") for _ in range(4)]

    def work(state: RedisUsers, step: int) -> None:
        reached = 0
        while reached < len(events):
            if reached < 0:
                state.begin(0, state.span())
                reached = 0
            until = min(reached + step, len(events))
            reached = state.take_next(events[reached:until], reached, until)
            time.sleep(0)

    threads = [
        threading.Thread(target=work, args=(state, step))
        for state, step in zip(states, (1, 7, 30, 200), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [one.offset for n in range(5) for one in states[0].events_of(f"user-{n}")]
    assert sorted(found) == list(range(600))
    assert states[0].span() == Span(0, 600, "e599")


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://host:port"])
def test_an_address_that_is_none_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="Expected the address of a Redis"):
        check_address(url)
