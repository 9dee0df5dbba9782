"""iALS against least squares solved directly, the SVD against numpy's."""

from __future__ import annotations

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.models.baselines import IALS, make_baseline
from kgrec.models.scorer import TrainingData


def least_squares(
    weights: np.ndarray, fixed: np.ndarray, unobserved: float, ridge: float
) -> np.ndarray:
    """One row at a time: (a0 Y'Y + sum |w| y y' + ridge n I) x = sum of w y over w > 0."""
    solved = np.zeros((len(weights), fixed.shape[1]))
    for row, weight in enumerate(weights):
        if not weight.any():
            continue
        pairs = np.count_nonzero(weight) + unobserved * len(weight)
        left = unobserved * fixed.T @ fixed + (fixed.T * np.abs(weight)) @ fixed
        left += ridge * pairs * np.eye(fixed.shape[1])
        solved[row] = np.linalg.solve(left, fixed.T @ np.maximum(weight, 0))
    return solved


def objective(
    likes: np.ndarray, users: np.ndarray, items: np.ndarray, unobserved: float, ridge: float
) -> float:
    guess = users @ items.T
    loss = ((1 - guess) ** 2 * likes).sum() + unobserved * (guess**2).sum()
    for rows, vectors in ((likes, users), (likes.T, items)):
        pairs = rows.sum(axis=1) + unobserved * rows.shape[1]
        loss += ridge * (pairs * (vectors**2).sum(axis=1)).sum()
    return float(loss)


def test_ials_history_vector_solves_the_least_squares(
    train: TrainingData, everyone: HistoryBatch, likes: np.ndarray
) -> None:
    settings = {"num_factors": 5, "unobserved_weight": 0.2, "ridge": 0.02}
    model = make_baseline("ials", settings).fit(train)
    assert isinstance(model, IALS)
    expected = least_squares(likes, model.item_factors.astype(np.float64), 0.2, 0.02)
    np.testing.assert_allclose(model.user_vectors(everyone), expected, rtol=1e-3, atol=1e-4)


def test_ials_low_rating_pulls_towards_zero(train: TrainingData, everyone: HistoryBatch) -> None:
    settings = {"num_factors": 5, "negative_weight": -2.0}
    model = make_baseline("ials", settings).fit(train)
    assert isinstance(model, IALS)
    signs = np.where(everyone.positive, 1.0, -2.0)
    weights = np.zeros((len(everyone), train.num_items))
    weights[everyone.row_of_event, everyone.item_idx] = signs
    expected = least_squares(weights, model.item_factors.astype(np.float64), 0.1, 0.01)
    np.testing.assert_allclose(model.user_vectors(everyone), expected, rtol=1e-3, atol=1e-4)


def test_ials_equals_naive_alternation(train: TrainingData, likes: np.ndarray) -> None:
    settings = {"num_factors": 3, "num_sweeps": 3, "solver_steps": 200, "unobserved_weight": 0.3}
    model = make_baseline("ials", settings).fit(train)
    assert isinstance(model, IALS)
    rng = np.random.default_rng(train.seed)
    scale = 0.1 / np.sqrt(3)
    users = scale * rng.standard_normal((train.num_users, 3))
    items = scale * rng.standard_normal((train.num_items, 3))
    for _ in range(3):
        users = least_squares(likes, items, 0.3, 0.01)
        items = least_squares(likes.T, users, 0.3, 0.01)
    np.testing.assert_allclose(model.item_factors, items, rtol=1e-2, atol=1e-3)


def test_ials_objective_falls_with_sweeps(
    train: TrainingData, everyone: HistoryBatch, likes: np.ndarray
) -> None:
    losses = []
    for sweeps in (1, 3, 12):
        model = make_baseline("ials", {"num_factors": 6, "num_sweeps": sweeps}).fit(train)
        assert isinstance(model, IALS)
        users = model.user_vectors(everyone).astype(np.float64)
        losses.append(objective(likes, users, model.item_factors.astype(np.float64), 0.1, 0.01))
    assert losses[0] > losses[1] > losses[2]


def test_svd_scores_equal_projection_on_numpy_vectors(
    train: TrainingData, everyone: HistoryBatch, likes: np.ndarray
) -> None:
    user_degree = np.maximum(likes.sum(axis=1), 1.0)
    item_degree = np.maximum(likes.sum(axis=0), 1.0)
    normalised = likes * user_degree[:, None] ** -0.3 * item_degree[None, :] ** -0.35
    right = np.linalg.svd(normalised)[2][:4]
    expected = normalised @ right.T @ right * item_degree**0.2
    settings = {"num_factors": 4, "output_exponent": 0.2}
    scores = make_baseline("svd", settings).fit(train).scores(everyone)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)


def test_svd_takes_fewer_factors_where_items_are_few(
    train: TrainingData, everyone: HistoryBatch
) -> None:
    scores = make_baseline("svd", {"num_factors": 500}).fit(train).scores(everyone)
    assert np.isfinite(scores).all()
