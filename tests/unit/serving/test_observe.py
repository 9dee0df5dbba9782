"""What a user does changes their next answer, survives a restart, and is bounded in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from serving_data import SCORERS, make_artifact, make_training_data

from kgrec import Recommender, RequestError
from kgrec.errors import EventLogError
from kgrec.events import Event, read_events
from kgrec.serving.answers import Recommendations
from kgrec.serving.live_histories import PositiveRule
from kgrec.serving.live_state import LiveConfig

LATER = 2_000_000_000.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root)
    return root


def load(root: Path, log: Path, **options: object) -> Recommender:
    return Recommender.load(root / "current", event_log=log, scorers=SCORERS, **options)  # type: ignore[arg-type]


def ids(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer]


def test_an_unknown_user_becomes_known_by_the_first_event(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        assert not rec.recommend("new").personalised
        told = rec.observe("new", "item-0", event="rating", value=5.0)
        assert (told.repeated, told.item_known, told.counts, told.offset) == (False, True, True, 0)
        rec.observe("new", "item-1", value=5.0)
        answer = rec.recommend("new", k=1)
        assert answer.personalised
        assert ids(answer) == ["item-2"]  # the maker's third item
        assert ids(answer) == ids(rec.recommend(history=["item-0", "item-1"], k=1))


def test_a_known_user_keeps_the_stored_history(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        before = rec.history_of("user-0")
        new = next(i for i in range(60) if i not in before.item_idx)
        rec.observe("user-0", f"item-{new}", value=4.5, time=LATER)
        after = rec.history_of("user-0")
        np.testing.assert_array_equal(after.item_idx[:-1], before.item_idx)
        assert (after.item_idx[-1], after.value[-1], after.positive[-1]) == (new, 4.5, True)
        assert after.timestamp[-1] == LATER
        assert after.now[0] == LATER + 1
        assert f"item-{new}" not in ids(rec.recommend("user-0", k=60))


def test_low_values_are_masked_and_no_likes(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        rec.observe("new", "item-0", value=1.0)
        answer = rec.recommend("new", k=60)
        assert not answer.personalised
        assert "nothing that was liked" in answer.reason
        assert "item-0" not in ids(answer)


def test_the_last_event_of_an_item_counts(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        stored = rec.history_of("user-0")
        liked = int(stored.item_idx[stored.positive][0])
        rec.observe("user-0", f"item-{liked}", value=1.0, time=LATER)
        history = rec.history_of("user-0")
        assert (history.item_idx == liked).sum() == 1
        assert not history.positive[history.item_idx == liked].any()
        # an event that comes late to the log does not undo a newer one
        rec.observe("user-0", f"item-{liked}", value=5.0, time=1.0)
        assert not rec.history_of("user-0").positive[history.item_idx == liked].any()


def test_events_that_the_artifact_holds_count_once(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        stored = rec.history_of("user-3")
        plain = rec.recommend("user-3", k=20)
        for item, value, time in zip(stored.item_idx, stored.value, stored.timestamp, strict=True):
            rec.observe("user-3", f"item-{item}", value=float(value), time=float(time))
        np.testing.assert_array_equal(rec.history_of("user-3").item_idx, stored.item_idx)
        assert rec.recommend("user-3", k=20) == plain


def test_repeats_and_impressions_change_nothing(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        first = rec.observe("new", "item-0", event_id="e1", value=5.0)
        again = rec.observe("new", "item-0", event_id="e1", value=1.0)
        assert again.repeated
        assert again.offset == first.offset
        assert not again.counts
        assert not rec.observe("new", "item-5", event="impression").counts
        history = rec.history_of("new")
        assert history.item_idx.tolist() == [0]
        assert history.positive.tolist() == [True]
        assert rec.metrics().counts["events"] == 3
        assert rec.metrics().counts["events_repeated"] == 1


def test_events_of_unknown_items_wait_in_the_log(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        told = rec.observe("new", "not-yet-there")
        assert not told.item_known
        assert not rec.recommend("new").personalised
        assert rec.metrics().counts["events_of_unknown_items"] == 1
        stored = next(read_events(tmp_path))
        assert stored.event.item_id == "not-yet-there"
        assert stored.event.artifact_version == rec.artifact_id


def test_a_restart_gives_the_same_answers(root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    events = [
        Event(
            event_id=f"e{n}",
            user_id=f"user-{rng.integers(8)}" if n % 2 else f"new-{rng.integers(4)}",
            item_id=f"item-{rng.integers(60)}",
            value=float(rng.integers(1, 6)),
            time=LATER + int(rng.integers(100)),  # out of order, with ties
        )
        for n in range(200)
    ]
    users = [f"user-{n}" for n in range(9)] + [f"new-{n}" for n in range(4)]
    with load(root, tmp_path) as rec:
        rec.observe_many(events[:150])
        for event in events[150:]:
            rec.observe(event)
        before = [rec.recommend(user, k=10) for user in users]
    with load(root, tmp_path) as rec:
        assert [rec.recommend(user, k=10) for user in users] == before
        assert all(one.repeated for one in rec.observe_many(events))


def test_one_process_writes_to_a_log(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path), pytest.raises(EventLogError, match="no other writer"):
        load(root, tmp_path)
    load(root, tmp_path).close()


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"value": float("nan")}, r"got nan under 'value'"),
        ({"value": float("inf")}, r"got inf under 'value'"),
        ({"time": -5.0}, r"got -5.0 under 'time'"),
        ({"user_id": " "}, r"under 'user_id'"),
        ({"event": "x" * 65}, r"under 'event'"),
        ({"wrong": 1}, r"under 'wrong'"),
    ],
)
def test_events_that_are_none_are_refused(
    root: Path, tmp_path: Path, event: dict[str, object], message: str
) -> None:
    with load(root, tmp_path) as rec:
        asked = {"user_id": "user-0", "item_id": "item-0", **event}
        with pytest.raises(RequestError, match=message):
            rec.observe(**asked)  # type: ignore[arg-type]
        assert rec.metrics().counts.get("events", 0) == 0


def test_without_a_log_nothing_can_be_observed(root: Path) -> None:
    rec = Recommender.load(root / "current", scorers=SCORERS)
    with pytest.raises(RequestError, match="Expected an event log to write to, got none"):
        rec.observe("user-0", "item-0")


def test_a_history_of_ten_thousand_events(root: Path, tmp_path: Path) -> None:
    items = [f"item-{n % 60}" for n in range(10_000)]
    with load(root, tmp_path, live=LiveConfig(max_events_per_user=500)) as rec:
        brought = rec.recommend(history=items, k=5)
        assert len(brought) == 0  # every item stands in the history
        events = [
            Event(event_id=str(n), user_id="busy", item_id=item, time=LATER + n)
            for n, item in enumerate(items)
            if n % 60 < 50
        ]
        rec.observe_many(events)
        answer = rec.recommend("busy", k=60)
        assert {int(item.removeprefix("item-")) for item in ids(answer)} == set(range(50, 60))
        assert rec.metrics().gauges["live_users"] == 1


def test_artifacts_without_time_put_later_events_last(tmp_path: Path) -> None:
    from dataclasses import replace

    from serving_data import SmallEase

    from kgrec.artifact import save_artifact

    train = make_training_data()
    events = train.interactions
    timeless = replace(train, interactions=replace(events, timestamp=events.timestamp * 0))
    folder = save_artifact(tmp_path, SmallEase().fit(timeless), timeless, scorers=SCORERS)
    with Recommender.load(folder, event_log=tmp_path / "log", scorers=SCORERS) as rec:
        stored = rec.history_of("user-0")
        rec.observe("user-0", f"item-{stored.item_idx[0]}", value=1.0)
        after = rec.history_of("user-0")
        assert after.item_idx.tolist() == [*stored.item_idx[1:], stored.item_idx[0]]
        assert not after.positive[-1]
        assert after.now.tolist() == [0]
        assert not after.timestamp.any()


@pytest.mark.parametrize(
    ("rule", "event", "value", "like"),
    [
        ({"min_value": 3.5}, "rating", 3.5, True),
        ({"min_value": 3.5}, "rating", 3.0, False),
        ({"min_value": 3.5}, "click", None, False),
        ({"events": ["purchase"]}, "purchase", None, True),
        ({"events": ["purchase"]}, "click", 5.0, False),
        ({"events": ["rating", "buy"], "min_value": 4}, "buy", None, True),
        ({"events": ["rating", "buy"], "min_value": 4}, "rating", 3.0, False),
        ({}, "view", None, True),
    ],
)
def test_the_rule_of_the_data_set_decides_what_is_liked(
    rule: dict[str, object], event: str, value: float | None, like: bool
) -> None:
    assert PositiveRule.of({"positive": rule}, 99.0).is_like(event, value) is like
