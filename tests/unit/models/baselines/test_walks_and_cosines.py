"""ItemKNN, RP3beta and RP3-KG against loops that follow their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.data.histories import HistoryBatch
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import TrainingData


def test_itemknn_scores_equal_shrunk_cosines(
    train: TrainingData, likes: np.ndarray, everyone: HistoryBatch
) -> None:
    squares = np.maximum(likes.sum(axis=0), 1.0)
    weights = (likes.T @ likes) / (np.sqrt(squares)[:, None] * squares[None, :] ** 0.4 + 3.0)
    np.fill_diagonal(weights, 0.0)
    settings = {"shrinkage": 3.0, "target_exponent": 0.4, "neighbours_per_item": 16}
    scores = make_baseline("itemknn", settings).fit(train).scores(everyone)
    np.testing.assert_allclose(scores, likes @ weights, rtol=1e-5, atol=1e-6)


def walk(rows: np.ndarray, alpha: float) -> np.ndarray:
    """item -> row -> item, one probability at a time."""
    num_items = rows.shape[1]
    weights = np.zeros((num_items, num_items))
    for i in range(num_items):
        for r in np.flatnonzero(rows[:, i]):
            for j in np.flatnonzero(rows[r]):
                out, back = 1 / rows[:, i].sum(), 1 / rows[r].sum()
                weights[i, j] += out**alpha * back**alpha
    return weights


def test_rp3beta_scores_equal_naive_walks(
    train: TrainingData, likes: np.ndarray, everyone: HistoryBatch
) -> None:
    weights = walk(likes, 0.8) * np.maximum(likes.sum(axis=0), 1.0) ** -0.4
    np.fill_diagonal(weights, 0.0)
    settings = {"alpha": 0.8, "beta": 0.4, "neighbours_per_item": 16}
    scores = make_baseline("rp3beta", settings).fit(train).scores(everyone)
    np.testing.assert_allclose(scores, likes @ weights, rtol=1e-5, atol=1e-6)


def test_rp3_kg_scores_equal_naive_walks(
    train: TrainingData, likes: np.ndarray, facts: np.ndarray, everyone: HistoryBatch
) -> None:
    share = np.where(likes.sum(axis=0) == 0, 1.0, np.where(facts.sum(axis=0) == 0, 0.0, 0.3))
    weights = (1 - share)[:, None] * walk(likes, 0.9) + share[:, None] * walk(facts, 0.9)
    degree = likes.sum(axis=0) + 0.3 * facts.sum(axis=0)
    weights *= np.where(degree > 0, degree, 1.0) ** -0.5
    np.fill_diagonal(weights, 0.0)
    settings = {"alpha": 0.9, "beta": 0.5, "graph_share": 0.3, "neighbours_per_item": 16}
    scores = make_baseline("rp3_kg", settings).fit(train).scores(everyone)
    np.testing.assert_allclose(scores, likes @ weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["rp3_kg", "slim_kg"])
def test_graph_models_reach_items_without_events(
    name: str, train: TrainingData, likes: np.ndarray, everyone: HistoryBatch
) -> None:
    cold = int(np.flatnonzero(likes.sum(axis=0) == 0)[0])
    on = make_baseline(name).fit(train).scores(everyone)
    without = TrainingData(train.dataset, train.interactions, train.graph.ablated("off", 0), 1)
    off = make_baseline(name).fit(without).scores(everyone)
    assert (on[:, cold] > 0).any()
    assert (off[:, cold] == 0).all()


def test_graph_models_leave_out_entities_of_too_many_items(
    train: TrainingData, everyone: HistoryBatch
) -> None:
    capped = make_baseline("rp3_kg", {"max_items_per_entity": 2}).fit(train).scores(everyone)
    full = make_baseline("rp3_kg").fit(train).scores(everyone)
    assert not np.allclose(capped, full)
