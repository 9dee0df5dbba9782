"""SLIT: what comes next, against an oracle of loops and on data whose next item is known."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.data.histories import HistoryBatch
from kgrec.errors import DataError, MemoryBudgetError
from kgrec.models.baselines import SLIT, SLITConfig
from kgrec.models.baselines.slit import past_and_future
from kgrec.models.scorer import TrainingData

SETTINGS = SLITConfig(
    past_events=3,
    future_events=2,
    cut_every_events=2,
    history_half_life_events=2.0,
    future_half_life_events=1.0,
    train_negative_weight=0.5,
    user_exponent=1.0,
    ridge=2.0,
    ridge_exponent=0.5,
)


def naive(train: TrainingData, config: SLITConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return past and future of every cut by loops over events, weighted by user."""
    events = train.interactions
    past, future = [], []
    for user in np.unique(events.user_idx):
        own = np.flatnonzero(events.user_idx == user)
        cuts = [at for at in range(1, len(own)) if (len(own) - at) % config.cut_every_events == 0]
        for at in cuts:
            before, after = np.zeros(train.num_items), np.zeros(train.num_items)
            for age, event in enumerate(own[:at][::-1][: config.past_events]):
                sign = 1.0 if events.positive[event] else config.train_negative_weight
                before[events.item_idx[event]] += sign * 2 ** (
                    -age / (config.history_half_life_events or np.inf)
                )
            for age, event in enumerate(own[at : at + config.future_events]):
                if events.positive[event]:
                    after[events.item_idx[event]] += 2 ** (
                        -age / (config.future_half_life_events or np.inf)
                    )
            weight = len(cuts) ** (-config.user_exponent / 2)
            past.append(weight * before)
            future.append(weight * after)
    return np.array(past), np.array(future)


def test_cuts_weigh_past_and_future_as_loops_do(train: TrainingData) -> None:
    past, future = past_and_future(train.interactions, train.num_items, SETTINGS)
    wanted = naive(train, SETTINGS)
    np.testing.assert_allclose(past.toarray(), wanted[0], rtol=1e-5)
    np.testing.assert_allclose(future.toarray(), wanted[1], rtol=1e-5)


def test_scores_are_the_ridge_regression_of_the_future_on_the_past(train: TrainingData) -> None:
    past, future = naive(train, SETTINGS)
    gram = past.T @ past
    diagonal = np.diag(gram)
    used = np.flatnonzero((past != 0).any(axis=0) | (future != 0).any(axis=0))
    mean = diagonal[used].mean()
    floor = np.maximum(diagonal[used], 1e-6 * mean)
    solved = np.linalg.solve(
        gram[np.ix_(used, used)] + np.diag(SETTINGS.ridge * np.sqrt(floor / mean)),
        past[:, used].T @ future[:, used],
    )
    weights = np.zeros((train.num_items, train.num_items))
    weights[np.ix_(used, used)] = solved
    model = SLIT(SETTINGS).fit(train)
    histories = HistoryBatch.from_interactions(train.interactions, np.arange(train.num_users))
    expected = model.history_rows(histories).toarray() @ weights
    np.testing.assert_allclose(model.scores(histories), expected, rtol=1e-3, atol=1e-4)


def test_fit_refuses_what_would_not_fit_into_memory(train: TrainingData) -> None:
    with pytest.raises(MemoryBudgetError, match="Expected 'slit' to need at most 10 bytes"):
        SLIT(SLITConfig(max_memory_bytes=10)).fit(train)


def test_fit_refuses_histories_of_one_event(train: TrainingData) -> None:
    events = train.interactions
    first = np.unique(events.user_idx, return_index=True)[1]
    short = TrainingData(train.dataset, events.take(first), train.graph, 0)
    with pytest.raises(DataError, match="Expected histories with a past and a like after it"):
        SLIT().fit(short)
