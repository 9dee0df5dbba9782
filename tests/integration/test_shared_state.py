"""Recommenders that share log, ledger, journal and Redis answer as one alone would, whatever
happens to Redis.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from redis_fixtures import RedisServer
from serving_data import SCORERS, make_artifact

from kgrec import Recommender
from kgrec.errors import EventLogError
from kgrec.events import Event, purge_events, read_events
from kgrec.serving.live_shared import namespace_of
from kgrec.serving.live_state import SharedConfig

pytestmark = pytest.mark.redis
USERS = [f"user-{n}" for n in range(6)] + [f"new-{n}" for n in range(4)]
Load = Callable[..., Recommender]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root)
    return root


@pytest.fixture
def load(root: Path, tmp_path: Path, redis_server: RedisServer) -> Iterator[Load]:
    """Loads recommenders of the same folders and the same Redis."""
    loaded: list[Recommender] = []

    def load(timeout_s: float = 5.0) -> Recommender:
        recommender = Recommender.load(
            root / "current",
            event_log=tmp_path / "log",
            state=tmp_path / "state",
            scorers=SCORERS,
            shared=SharedConfig(redis=redis_server.url, timeout_s=timeout_s),
        )
        loaded.append(recommender)
        return recommender

    yield load
    for recommender in loaded:
        recommender.close()


def some_events(count: int, seed: int = 0) -> list[Event]:
    rng = np.random.default_rng(seed)
    return [
        Event(
            event_id=f"e{seed}-{n}",
            user_id=USERS[rng.integers(len(USERS))],
            item_id=f"item-{rng.integers(60)}",
            value=float(rng.integers(1, 6)),
            time=2_000_000_000 + int(rng.integers(100)),  # out of order, with ties
        )
        for n in range(count)
    ]


def assert_as_one_alone(root: Path, tmp_path: Path, *recommenders: Recommender) -> None:
    """Each answers as a process that read the whole log into its own memory."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(tmp_path / "log", copy / "log")
    if (tmp_path / "state").is_dir():
        shutil.copytree(tmp_path / "state", copy / "state")
    folders = {"event_log": copy / "log", "state": copy / "state"}
    with Recommender.load(root / "current", scorers=SCORERS, **folders) as alone:
        expected = [alone.recommend(user, k=10) for user in USERS]
    for recommender in recommenders:
        assert [recommender.recommend(user, k=10) for user in USERS] == expected


def test_what_one_observes_the_other_s_next_answer_knows(
    load: Load, root: Path, tmp_path: Path
) -> None:
    one, other = load(), load()
    assert one.users_from == other.users_from == "redis"
    assert not other.recommend("new-0").personalised
    told = one.observe("new-0", "item-0", value=5.0, event_id="first")
    assert (told.offset, told.counts) == (0, True)
    assert other.recommend("new-0").personalised
    again = other.observe("new-0", "item-0", value=5.0, event_id="first")
    assert (again.offset, again.repeated, again.counts) == (0, True, False)
    for n, event in enumerate(some_events(60)):
        (one, other)[n % 2].observe(event)
    assert_as_one_alone(root, tmp_path, one, other)
    assert one.metrics().gauges["live_users"] == other.metrics().gauges["live_users"] > 4
    assert one.metrics().gauges["shared_state_faults"] == 0


def test_one_that_starts_later_knows_what_was_before_it(
    load: Load, root: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    with Recommender.load(root / "current", event_log=tmp_path / "log", scorers=SCORERS) as alone:
        alone.observe_many(some_events(700))
    one = load()
    one.observe_many(some_events(30, seed=1))
    assert_as_one_alone(root, tmp_path, one, load())
    with pytest.raises(EventLogError, match="Expected no other writer"):
        Recommender.load(root / "current", event_log=tmp_path / "log", scorers=SCORERS)


def test_whom_one_forgets_no_other_answers(load: Load, redis_server: RedisServer) -> None:
    one, other = load(), load()
    for user in ("user-0", "new-0"):
        one.observe(user, "item-1", value=5.0)
        assert other.recommend(user).personalised
        assert one.forget(user)
        assert not other.recommend(user).personalised
        assert other.observe(user, "item-2").offset is None
        assert not other.forget(user)
    with redis_server.client() as client:
        assert list(client.scan_iter("*:user:*")) == []
        held = repr([(key, client.dump(key)) for key in client.scan_iter()])
    assert "user-0" not in held


def test_items_that_one_changes_the_others_answer_with(load: Load) -> None:
    one, other = load(), load()
    for n in range(12):
        one.add_item(f"made-{n}", f"Title {n}", triples=[("made_by", "maker-0")])
    assert not other.metrics().gauges["items_added"]
    assert other.follow()
    assert not other.follow()
    assert one.recommend("user-0", k=60) == other.recommend("user-0", k=60)
    (found,) = other.search("Title 7", k=1)
    assert found.item_id == "made-7"
    assert other.remove_item("made-7")
    other.add_item("made-99", "Title 99")
    one.remove_item("item-3")
    one.follow()
    other.follow()
    assert one.metrics().gauges == other.metrics().gauges
    assert one.metrics().gauges["items_removed"] == 2
    assert one.search("Title", k=60) == other.search("Title", k=60)
    assert (
        one.recommend("user-0", k=80)
        == other.recommend("user-0", k=80)
        == load().recommend("user-0", k=80)
    )


@pytest.mark.parametrize("harm", ["stopped", "paused"])
def test_without_redis_everything_goes_on_and_comes_back_by_itself(
    load: Load, root: Path, tmp_path: Path, redis_server: RedisServer, harm: str
) -> None:
    one, other = load(timeout_s=0.3), load(timeout_s=0.3)
    one.observe_many(some_events(50))
    (redis_server.stop if harm == "stopped" else redis_server.pause)()
    try:
        assert one.recommend("user-1", k=5).items  # one that finds out
        assert one.users_from == "log"
        told = one.observe_many(some_events(40, seed=1))
        assert all(event.counts and event.offset is not None for event in told)
        assert other.observe_many(some_events(40, seed=1))[7].repeated
        other.observe_many(some_events(40, seed=2))
        other.forget("user-3")
        one.follow()
        other.follow()
        assert one.users_from == other.users_from == "log"
        assert_as_one_alone(root, tmp_path, one, other)
        assert one.metrics().gauges["shared_state_faults"] >= 1
        third = load(timeout_s=0.3)  # started meanwhile
        assert_as_one_alone(root, tmp_path, third)
    finally:
        (redis_server.start if harm == "stopped" else redis_server.go_on)()
    for recommender in (one, other, third):
        while recommender.users_from != "redis":  # late again, on a busy machine
            recommender.follow()
    one.observe_many(some_events(20, seed=3))
    assert_as_one_alone(root, tmp_path, one, other, third, load())
    assert len({stored.event.event_id for stored in read_events(tmp_path / "log")}) == 150
    with redis_server.client() as client:
        keys = client.keys(f"*{namespace_of(tmp_path / 'log')}*:user:*")
    assert len(keys) == len({stored.event.user_id for stored in read_events(tmp_path / "log")}) - 1


def test_a_redis_that_was_emptied_is_noticed_and_filled_again(
    load: Load, root: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    one, other = load(), load()
    one.observe_many(some_events(1200))
    with redis_server.client() as client:
        client.flushall()
    one.recommend("user-1")
    assert one.users_from == "log"
    one.follow()
    assert one.users_from == "redis"
    assert_as_one_alone(root, tmp_path, one, other)
    with redis_server.client() as client:
        client.flushall()
    other.observe_many(some_events(3, seed=1))
    other.follow()
    assert_as_one_alone(root, tmp_path, one, other)
    assert other.users_from == "redis"


def test_a_redis_that_went_back_to_an_older_state_is_filled_from_there(
    load: Load, root: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    one = load()
    one.observe_many(some_events(30))
    one.forget("user-2")
    with redis_server.client() as client:
        old = {key: client.dump(key) for key in client.scan_iter()}
    one.observe_many(some_events(30, seed=1))
    one.forget("user-4")
    with redis_server.client() as client:
        client.flushall()
        for key, content in old.items():
            client.restore(key, 0, content)
    one.follow()  # finds out
    one.follow()
    assert one.users_from == "redis"
    assert_as_one_alone(root, tmp_path, one)
    with redis_server.client() as client:
        users = {stored.event.user_id for stored in read_events(tmp_path / "log")}
        assert len(client.keys("*:user:*")) == len(users - {"user-2", "user-4"})


def test_what_redis_holds_of_another_log_is_not_believed(
    load: Load, root: Path, tmp_path: Path
) -> None:
    one = load()
    one.observe_many(some_events(30))
    one.close()
    shutil.rmtree(tmp_path / "log")
    two = load()
    assert two.metrics().gauges["live_users"] == 0
    two.observe_many(some_events(40, seed=1))
    two.close()
    shutil.rmtree(tmp_path / "log")
    with Recommender.load(root / "current", event_log=tmp_path / "log", scorers=SCORERS) as alone:
        alone.observe_many(some_events(60, seed=2))  # longer, and another
    assert_as_one_alone(root, tmp_path, load())


def test_a_user_forgotten_by_a_command_is_taken_out_of_redis_too(
    load: Load, tmp_path: Path, redis_server: RedisServer
) -> None:
    from kgrec.serving.forgotten import ForgottenUsers

    one = load()
    one.observe("new-0", "item-1", value=5.0)
    ForgottenUsers(tmp_path / "state").forget("new-0")
    assert not one.recommend("new-0").personalised
    one.follow()
    with redis_server.client() as client:
        assert client.keys("*:user:*") == []


@pytest.mark.parametrize("emptied", [False, True])
def test_a_purged_log_is_held_like_any_other(
    load: Load, root: Path, tmp_path: Path, redis_server: RedisServer, emptied: bool
) -> None:
    one = load()
    one.observe_many(some_events(40))
    one.close()
    purge_events(tmp_path / "log", lambda event: event.user_id == "new-1")
    purge_events(tmp_path / "log", lambda event: event.event_id in ("e0-0", "e0-1", "e0-39"))
    if emptied:
        with redis_server.client() as client:
            client.flushall()
    again = load()
    assert again.users_from == "redis"
    assert again.history_of("new-1").item_idx.size == 0
    again.observe_many(some_events(3, seed=1))
    assert_as_one_alone(root, tmp_path, again, load())
