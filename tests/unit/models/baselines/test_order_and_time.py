"""Models and weights that hear the order of events: transitions, recency, decayed popularity."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.models.baselines import make_baseline
from kgrec.models.baselines.event_weights import history_matrix, train_matrix
from kgrec.models.scorer import TrainingData


def history(items: list[int], positive: list[bool]) -> HistoryBatch:
    count = len(items)
    return HistoryBatch(
        np.array([-1]),
        np.array([0, count]),
        np.array(items, dtype=np.int64),
        np.ones(count, dtype=np.float32),
        np.arange(count, dtype=np.int64),
        np.array(positive, dtype=np.bool_),
        np.array([count]),
    )


def test_history_matrix_leaves_low_ratings_out_by_default() -> None:
    batch = history([2, 0, 1], [True, False, True])
    assert history_matrix(batch, 4).toarray().tolist() == [[0, 1, 1, 0]]
    assert history_matrix(batch, 4).nnz == 2


def test_history_matrix_weighs_low_ratings_with_a_sign() -> None:
    batch = history([2, 0, 1], [True, False, True])
    np.testing.assert_allclose(history_matrix(batch, 4, -0.5).toarray(), [[-0.5, 1, 1, 0]])


def test_history_matrix_halves_the_weight_with_age() -> None:
    batch = history([2, 0, 1], [True, False, True])
    weights = history_matrix(batch, 4, 0.2, half_life_events=1.0).toarray()
    np.testing.assert_allclose(weights, [[0.1, 1, 0.25, 0]])


def test_history_matrix_takes_the_newest_of_a_repeated_item() -> None:
    assert history_matrix(history([1, 1], [True, False]), 2, -1.0).toarray().tolist() == [[0, -1]]
    assert history_matrix(history([1, 1], [False, True]), 2, -1.0).toarray().tolist() == [[0, 1]]


def test_train_matrix_equals_the_binary_matrix_of_likes(
    train: TrainingData, likes: np.ndarray
) -> None:
    matrix = train_matrix(train.interactions, train.num_users, train.num_items)
    np.testing.assert_array_equal(matrix.toarray(), likes)
    assert matrix.has_sorted_indices


def naive_transitions(
    events: Interactions, num_items: int, low: float, backward: float, life_s: float | None
) -> np.ndarray:
    counts = np.zeros((num_items, num_items))
    degree = np.zeros(num_items)
    weight = np.where(events.positive, 1.0, low)
    rows = np.flatnonzero(weight)
    for user in np.unique(events.user_idx):
        mine = rows[events.user_idx[rows] == user]
        for p, first in enumerate(mine):
            degree[events.item_idx[first]] += abs(weight[first])
            for q, second in enumerate(mine):
                gap = abs(q - p)
                i, j = events.item_idx[first], events.item_idx[second]
                if gap == 0 or gap > 4 or i == j:
                    continue
                step = weight[first] * weight[second] * 2 ** (-(gap - 1) / 2.0)
                if life_s is not None:
                    step *= 2 ** (
                        -abs(float(events.timestamp[second] - events.timestamp[first])) / life_s
                    )
                counts[i, j] += step * (1.0 if q > p else backward)
    safe = np.where(degree > 0, degree, 1.0)
    return counts / safe[:, None] ** 0.5 / safe[None, :] ** 0.3


@pytest.mark.parametrize(
    ("low", "backward", "life_s"), [(0.0, 0.0, None), (0.4, 0.25, None), (0.4, 1.0, 500.0)]
)
def test_transitions_equal_naive_counts(
    train: TrainingData,
    likes: np.ndarray,
    everyone: HistoryBatch,
    low: float,
    backward: float,
    life_s: float | None,
) -> None:
    expected = naive_transitions(train.interactions, train.num_items, low, backward, life_s)
    settings = {
        "window_events": 4,
        "gap_half_life_events": 2.0,
        "gap_half_life_s": life_s,
        "train_negative_weight": low,
        "backward_weight": backward,
        "history_half_life_events": None,
        "neighbours_per_item": 16,
    }
    scores = make_baseline("transitions", settings).fit(train).scores(everyone)
    np.testing.assert_allclose(scores, likes @ expected, rtol=1e-4, atol=1e-5)


def test_popularity_counts_likes(
    train: TrainingData, likes: np.ndarray, everyone: HistoryBatch
) -> None:
    scores = make_baseline("popularity").fit(train).scores(everyone)
    np.testing.assert_array_equal(scores[0], likes.sum(axis=0))


def test_popularity_with_half_life_favours_new_likes(
    train: TrainingData, everyone: HistoryBatch
) -> None:
    liked = train.interactions.positives()
    days = (liked.timestamp.max() - liked.timestamp) / 86_400
    expected = np.bincount(liked.item_idx, 0.5 ** (days / 0.02), minlength=train.num_items)
    scores = make_baseline("popularity", {"half_life_days": 0.02}).fit(train).scores(everyone)
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5)
