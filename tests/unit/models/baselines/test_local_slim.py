"""Local SLIM against ridge regressions solved one by one."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.data.histories import HistoryBatch
from kgrec.models.baselines import SLIM, make_baseline
from kgrec.models.scorer import TrainingData


@pytest.mark.parametrize("table_bytes", [1, 4 * 6**2, 1_000_000])
def test_slim_weights_equal_ridge_on_the_candidates(
    train: TrainingData, likes: np.ndarray, table_bytes: int
) -> None:
    settings = {"candidates": 5, "ridge": 2.0, "table_bytes": table_bytes}
    model = make_baseline("slim", settings).fit(train)
    assert isinstance(model, SLIM)
    rows = model.weights.sparse_rows
    assert rows is not None
    weights, gram = rows.toarray(), likes.T @ likes
    cosine = gram / (np.sqrt(np.outer(np.diag(gram), np.diag(gram))) + 3.0)
    np.fill_diagonal(cosine, -np.inf)
    for target in range(likes.shape[1]):
        chosen = np.flatnonzero(weights[:, target])
        assert len(chosen) <= 5
        if not len(chosen):
            continue
        expected = np.linalg.solve(
            gram[np.ix_(chosen, chosen)] + 2.0 * np.eye(len(chosen)), gram[chosen, target]
        )
        np.testing.assert_allclose(weights[chosen, target], expected, rtol=1e-4, atol=1e-5)
        left_out = np.setdiff1d(np.arange(len(gram)), chosen)
        assert cosine[target, chosen].min() >= cosine[target, left_out].max() - 1e-6


def test_slim_weighted_with_all_candidates_equals_full_ridge(
    train: TrainingData, likes: np.ndarray, everyone: HistoryBatch
) -> None:
    degree = np.maximum(likes.sum(axis=1), 1.0)
    gram = likes.T @ (likes * degree[:, None] ** -0.5)
    diagonal = np.diag(gram)
    mean = diagonal[diagonal > 0].mean()
    ridge = 1.5 * (np.maximum(diagonal, 1e-6 * mean) / mean) ** 0.5
    weights = np.zeros_like(gram)
    for target in range(len(gram)):
        chosen = np.flatnonzero((gram[target] != 0) & (np.arange(len(gram)) != target))
        inner = gram[np.ix_(chosen, chosen)] + np.diag(ridge[chosen])
        weights[chosen, target] = np.linalg.solve(inner, gram[chosen, target])
    settings = {"candidates": 16, "ridge": 1.5, "user_exponent": 0.5, "ridge_exponent": 0.5}
    scores = make_baseline("slim", settings).fit(train).scores(everyone)
    np.testing.assert_allclose(scores, likes @ weights, rtol=1e-3, atol=1e-4)


def test_slim_rows_can_be_pruned_for_serving(train: TrainingData) -> None:
    model = make_baseline("slim", {"neighbours_per_item": 3}).fit(train)
    full = make_baseline("slim").fit(train)
    assert isinstance(model, SLIM)
    assert isinstance(full, SLIM)
    kept, rows = model.weights.sparse_rows, full.weights.sparse_rows
    assert kept is not None
    assert rows is not None
    assert np.diff(kept.indptr).max() == 3
    for item in range(kept.shape[0]):
        wanted = np.sort(np.abs(rows[item].data))[-3:]
        np.testing.assert_array_equal(np.sort(np.abs(kept[item].data)), wanted)
