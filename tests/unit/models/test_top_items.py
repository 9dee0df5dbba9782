"""The best items of dense scores against a naive loop, and the order among equal scores."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.models.top_items import tie_keys, top_of_scores

MASK = (1 << 64) - 1


def mixed(seed: int, user: int, item: int) -> int:
    """splitmix64 in Python's whole numbers."""
    key = (seed * 0x9E3779B97F4A7C15 + user) & MASK
    for value in (0, item):
        key = (key + value + 0x9E3779B97F4A7C15) & MASK
        key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & MASK
        key ^= key >> 31
    return key


@pytest.mark.parametrize("k", [0, 1, 7, 40, 60])
def test_top_equals_a_naive_sort(k: int) -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, (30, 50)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    users = rng.integers(-1, 1000, 30)
    top = top_of_scores(scores, k, 5, users)
    for row, user in enumerate(users):
        kept = [item for item in range(50) if scores[row, item] > -np.inf]
        kept.sort(key=lambda item: (-scores[row, item], mixed(5, int(user), item)))
        expected = (kept + [-1] * k)[:k]
        assert top.item_idx[row].tolist() == expected
        found = [scores[row, item] if item >= 0 else -np.inf for item in expected]
        assert top.score[row].tolist() == found


def test_tie_keys_are_those_of_the_lists() -> None:
    users, items = np.array([3, -1]), np.array([0, 9])
    assert tie_keys(7, users, items).tolist() == [mixed(7, 3, 0), mixed(7, -1, 9)]


def test_order_of_equal_scores_differs_by_user_and_seed_but_not_by_batch() -> None:
    scores = np.zeros((2, 300), dtype=np.float32)
    users = np.array([4, 9])
    top = top_of_scores(scores, 10, 0, users).item_idx
    assert top[0].tolist() != top[1].tolist()
    assert top_of_scores(scores, 10, 1, users).item_idx[0].tolist() != top[0].tolist()
    assert top_of_scores(scores[:1], 10, 0, users[1:]).item_idx[0].tolist() == top[1].tolist()


def test_every_item_is_drawn_as_often_among_equal_scores() -> None:
    drawn = top_of_scores(np.zeros((4000, 50), np.float32), 10, 0, np.arange(4000)).item_idx
    count = np.bincount(drawn.ravel(), minlength=50)
    assert abs(count - 800).max() < 5 * np.sqrt(800 * 0.8)


def test_rows_without_order_in_memory_give_the_same() -> None:
    scores = np.random.default_rng(0).random((6, 20)).astype(np.float32)
    users = np.arange(6)
    expected = top_of_scores(scores, 5, 0, users).item_idx
    np.testing.assert_array_equal(
        top_of_scores(np.asfortranarray(scores), 5, 0, users).item_idx, expected
    )
