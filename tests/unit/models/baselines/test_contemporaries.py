"""Contemporaries: against an oracle of loops, and on data whose fashion changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.models.baselines import Contemporaries, ContemporariesConfig
from kgrec.models.scorer import TrainingData

DAY = 86_400
SETTINGS = ContemporariesConfig(
    half_life_days=0.05,
    timeless_weight=0.2,
    occurrences_per_item=4,
    history_half_life_events=3.0,
    window_events=3,
    gap_half_life_events=2.0,
    gap_half_life_s=2000.0,
    backward_weight=0.3,
    negative_weight=0.4,
    train_negative_weight=0.5,
    source_exponent=0.5,
    target_exponent=0.25,
)


def naive(train: TrainingData, histories: HistoryBatch, config: ContemporariesConfig) -> np.ndarray:
    events = train.interactions
    sign = np.where(events.positive, 1.0, config.train_negative_weight)
    degree = np.maximum(np.bincount(events.item_idx, sign, train.num_items), 1e-30)
    asked_at = np.clip(histories.now, events.timestamp.min(), events.timestamp.max())
    scores = np.zeros((len(histories), train.num_items))
    for b in range(len(histories)):
        own = np.arange(histories.indptr[b], histories.indptr[b + 1])
        for place in own:
            i = histories.item_idx[place]
            heard = 1.0 if histories.positive[place] else config.negative_weight
            assert config.history_half_life_events is not None
            heard *= 2.0 ** (-(own[-1] - place) / config.history_half_life_events)
            if heard < 1 / 64:
                continue
            there = np.flatnonzero(events.item_idx == i)
            distance = np.abs(events.timestamp[there] - asked_at[b])
            earlier = events.timestamp[there] < asked_at[b]
            for o in there[np.lexsort((~earlier, distance))][: config.occurrences_per_item]:
                days = abs(int(events.timestamp[o]) - int(asked_at[b])) / DAY
                near = config.timeless_weight
                near += (1 - config.timeless_weight) * 2.0 ** (-days / config.half_life_days)
                for other in np.flatnonzero(events.user_idx == events.user_idx[o]):
                    gap = abs(int(other) - int(o))
                    if gap == 0 or gap > config.window_events:
                        continue
                    step = heard * near * sign[o] * sign[other]
                    step *= 2.0 ** (-(gap - 1) / config.gap_half_life_events)
                    seconds = abs(int(events.timestamp[other]) - int(events.timestamp[o]))
                    assert config.gap_half_life_s is not None
                    step *= 2.0 ** (-seconds / config.gap_half_life_s)
                    step *= config.backward_weight if other < o else 1.0
                    scores[b, events.item_idx[other]] += step / degree[i] ** config.source_exponent
    return np.asarray(scores / degree**config.target_exponent)


@pytest.fixture
def histories(train: TrainingData) -> HistoryBatch:
    users = np.arange(train.num_users)
    now = np.random.default_rng(0).integers(1, 12_000, len(users))
    return HistoryBatch.from_interactions(train.interactions, users, now)


def test_scores_are_those_of_loops(train: TrainingData, histories: HistoryBatch) -> None:
    found = Contemporaries(SETTINGS).fit(train).scores(histories)
    wanted = naive(train, histories, SETTINGS)
    assert (wanted > 0).mean() > 0.3
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_items_of_a_history_add_up_to_the_score(
    train: TrainingData, histories: HistoryBatch
) -> None:
    model = Contemporaries(SETTINGS).fit(train)
    one = histories.take(np.array([3]))
    items = np.arange(train.num_items)
    summands = model.summands(one, np.unique(one.item_idx), items)
    np.testing.assert_allclose(summands.sum(axis=0), model.scores(one)[0], rtol=1e-4, atol=1e-6)


def fashion() -> Interactions:
    """After item 0 everybody took item 1 in the first year and item 2 in the tenth."""
    rows = []
    for user in range(20):
        late = user >= 10
        start = (10 if late else 1) * 365 * DAY + user
        rows += [(user, 0, start), (user, 2 if late else 1, start + 60)]
    user, item, time = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    value = np.ones(len(user), dtype=np.float32)
    return Interactions(user, item, value, time, np.ones(len(user), dtype=bool)).sorted(0)


@pytest.mark.parametrize(("year", "best"), [(1, 1), (10, 2)])
def test_what_followed_at_the_time_of_the_request_comes_first(
    train: TrainingData, year: int, best: int
) -> None:
    model = Contemporaries().fit(replace(train, interactions=fashion()))
    only = Interactions(
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.ones(1, np.float32),
        np.full(1, year * 365 * DAY),
        np.ones(1, dtype=bool),
    )
    asked = HistoryBatch.from_interactions(only, np.zeros(1, np.int64))
    assert model.top(asked, 2).item_idx[0].tolist() == [best, 3 - best]


def test_without_time_nothing_fades(train: TrainingData, histories: HistoryBatch) -> None:
    timeless = replace(train, dataset=replace(train.dataset, has_time=False))
    settings = ContemporariesConfig(half_life_days=0.01, timeless_weight=0.0)
    everlasting = ContemporariesConfig(half_life_days=1e9, timeless_weight=1.0)
    found = Contemporaries(settings).fit(timeless).scores(histories)
    np.testing.assert_allclose(
        found, Contemporaries(everlasting).fit(train).scores(histories), rtol=1e-5
    )
