"""EASE against the formula written out with dense float64 inverses."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.data.histories import HistoryBatch
from kgrec.errors import ConfigError, DataError, MemoryBudgetError
from kgrec.models.baselines import EASE, EASEConfig, GramCache, make_baseline
from kgrec.models.scorer import TrainingData


def closed_form(gram: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(gram + np.diag(ridge))
    weights = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return weights


def test_ease_scores_equal_dense_formula(
    train: TrainingData, likes: np.ndarray, everyone: HistoryBatch
) -> None:
    warm = likes.sum(axis=0) > 0
    weights = closed_form((likes.T @ likes)[np.ix_(warm, warm)], np.full(warm.sum(), 7.0))
    expected = np.zeros_like(likes)
    expected[:, warm] = likes[:, warm] @ weights
    scores = make_baseline("ease", {"ridge": 7.0}).fit(train).scores(everyone)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_ease_weighted_scores_equal_dense_formula(
    train: TrainingData, likes: np.ndarray, everyone: HistoryBatch
) -> None:
    warm = likes.sum(axis=0) > 0
    inner = likes[:, warm]
    degree = np.maximum(inner.sum(axis=1), 1.0)
    gram = inner.T @ (inner * degree[:, None] ** -0.75)
    ridge = 0.8 * (np.diag(gram) / np.diag(gram).mean()) ** 0.25
    expected = inner @ closed_form(gram, ridge)
    settings = {"ridge": 0.8, "user_exponent": 0.75, "ridge_exponent": 0.25}
    scores = make_baseline("ease", settings).fit(train).scores(everyone)
    np.testing.assert_allclose(scores[:, warm], expected, rtol=1e-4, atol=1e-5)


def test_ease_kg_scores_equal_formula_with_side_rows(
    train: TrainingData, likes: np.ndarray, facts: np.ndarray, everyone: HistoryBatch
) -> None:
    side = facts.T @ (facts * facts.sum(axis=1, keepdims=True) ** -0.5)
    gram = likes.T @ likes + 0.4 * side
    settings = {"ridge": 5.0, "graph_weight": 0.4, "graph_exponent": 0.5, "cold_items": True}
    scores = make_baseline("ease_kg", settings).fit(train).scores(everyone)
    expected = likes @ closed_form(gram, np.full(len(gram), 5.0))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_ease_kg_reaches_items_without_events_when_asked(
    train: TrainingData, likes: np.ndarray, everyone: HistoryBatch
) -> None:
    cold = int(np.flatnonzero(likes.sum(axis=0) == 0)[0])
    warm_only = make_baseline("ease_kg").fit(train).scores(everyone)
    reached = make_baseline("ease_kg", {"cold_items": True}).fit(train).scores(everyone)
    assert (warm_only[:, cold] == 0).all()
    assert (reached[:, cold] != 0).any()


def test_ease_with_no_graph_weight_equals_ease(train: TrainingData, everyone: HistoryBatch) -> None:
    plain = make_baseline("ease", {"ridge": 9.0}).fit(train).scores(everyone)
    side = make_baseline("ease_kg", {"ridge": 9.0, "graph_weight": 0.0}).fit(train)
    np.testing.assert_allclose(side.scores(everyone), plain, rtol=1e-5, atol=1e-6)


def test_ease_with_gram_cache_gives_the_same_weights(
    train: TrainingData, everyone: HistoryBatch
) -> None:
    grams = GramCache()
    for name in ("ease", "ease_kg"):
        for ridge in (3.0, 30.0):
            settings = {"ridge": ridge, "user_exponent": 0.5}
            kept = make_baseline(name, settings, grams).fit(train).scores(everyone)
            fresh = make_baseline(name, settings).fit(train).scores(everyone)
            np.testing.assert_array_equal(kept, fresh)


def test_gram_cache_forgets_other_train_events(train: TrainingData, everyone: HistoryBatch) -> None:
    grams = GramCache()
    make_baseline("ease", None, grams).fit(train)
    half = train.interactions.take(np.arange(0, len(train.interactions), 2))
    other = TrainingData(train.dataset, half, train.graph, train.seed)
    cached = make_baseline("ease", None, grams).fit(other).scores(everyone)
    np.testing.assert_array_equal(cached, make_baseline("ease").fit(other).scores(everyone))


def test_gram_cache_drops_the_oldest(train: TrainingData) -> None:
    grams = GramCache(max_bytes=40)
    grams.get(train.interactions, ("a",))
    grams.put(("a",), np.eye(2, dtype=np.float32))
    grams.put(("b",), np.eye(3, dtype=np.float32))
    assert grams.get(train.interactions, ("a",)) is None
    kept = grams.get(train.interactions, ("b",))
    assert kept is not None
    assert kept.shape == (3, 3)
    grams.put(("c",), np.eye(4, dtype=np.float32))  # larger than everything allowed
    assert grams.get(train.interactions, ("c",)) is None
    assert grams.get(train.interactions, ("b",)) is not None


def test_ease_pruned_keeps_the_largest_weights(train: TrainingData, everyone: HistoryBatch) -> None:
    full = make_baseline("ease").fit(train)
    pruned = make_baseline("ease", {"neighbours_per_item": 4}).fit(train)
    assert isinstance(full, EASE)
    assert isinstance(pruned, EASE)
    dense, items = full.weights.dense, full.weights.item_idx
    kept = pruned.weights.sparse_rows
    assert dense is not None
    assert items is not None
    assert kept is not None
    assert np.diff(kept.indptr).max() == 4
    for row, item in enumerate(items):
        strongest = np.sort(np.abs(dense[row]))[-4:]
        found = np.sort(np.abs(kept.data[kept.indptr[item] : kept.indptr[item + 1]]))
        np.testing.assert_array_equal(found, strongest)


def test_ease_above_memory_budget_refuses_with_bytes_and_remedy(train: TrainingData) -> None:
    model = make_baseline("ease", {"max_memory_bytes": 1000})
    with pytest.raises(MemoryBudgetError, match=r"at most 1,000 bytes \(got 2,700 for 15.*slim"):
        model.fit(train)


def test_ease_without_likes_says_so(train: TrainingData) -> None:
    none = train.interactions.take(np.empty(0, dtype=np.int64))
    with pytest.raises(DataError, match="got none"):
        make_baseline("ease").fit(TrainingData(train.dataset, none, train.graph))


def test_ease_neighbours_are_the_strongest_of_its_row(train: TrainingData) -> None:
    model = EASE(EASEConfig(ridge=5.0)).fit(train)
    items, weights = model.neighbours(2, 3)
    dense, known = model.weights.dense, model.weights.item_idx
    assert dense is not None
    assert known is not None
    row = dense[list(known).index(2)].copy()
    row[list(known).index(2)] = -np.inf
    assert items.tolist() == known[np.argsort(-row, kind="stable")[:3]].tolist()
    assert (np.diff(weights) <= 0).all()
    assert len(model.neighbours(15, 3)[0]) == 0  # an item without train events


def test_ease_config_refuses_an_impossible_ridge() -> None:
    with pytest.raises(ConfigError, match="ridge"):
        make_baseline("ease", {"ridge": 0.0})
