"""The best items of each user's scores, and the one rule for equal scores.

Equal scores are ordered by a hash of seed, user and item: the order is random from user to user
(one order for all would hand a model without an opinion one lucky or unlucky list, many times),
and neither the batch nor the other items change it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.compiled import compiled

_MANY = 32


@dataclass(frozen=True)
class TopItems:
    """The best items of each user, best first.

    Attributes:
        item_idx: Shape (B, k), int64, -1 where there are fewer than k.
        score: Shape (B, k), float32, -inf where item_idx is -1.
    """

    item_idx: IntArray
    score: FloatArray


def top_of_scores(scores: FloatArray, k: int, seed: int, user_idx: IntArray) -> TopItems:
    """Return the k best columns of each row, -inf left out, ties broken at random.

    Args:
        scores: Shape (B, num_items), float32; -inf marks what may not be returned.
        k: Columns wanted.
        seed: Seed of the order among equal scores.
        user_idx: Shape (B,), int64; each user has an order of their own.
    """
    item_idx = np.full((len(scores), k), -1, dtype=np.int64)
    score = np.full((len(scores), k), -np.inf, dtype=np.float32)
    _best_of_rows(np.ascontiguousarray(scores), seed, user_idx, item_idx, score)
    return TopItems(item_idx, score)


def tie_keys(seed: int, user_idx: IntArray, item_idx: IntArray) -> np.ndarray[Any, Any]:
    """Return what orders pairs of equal score, smallest first, shape (num_pairs,), uint64."""
    keys: np.ndarray[Any, Any] = _tie_keys(seed, user_idx, item_idx)
    return keys


@compiled
def tie_key(seed: Any, user: Any, item: Any) -> Any:
    """Return splitmix64 of the three numbers.

    Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014.
    """
    key = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(user)
    for value in (np.uint64(0), np.uint64(item)):
        key += value + np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        key ^= key >> np.uint64(31)
    return key


@compiled
def best_of_row(row: Any, seed: Any, user: Any, item_idx: Any, score: Any) -> None:
    """Write the best entries of a row that are above -inf into ``item_idx`` and ``score``.

    Args:
        row: Shape (num_items,).
        seed: Seed of the order among equal scores.
        user: Whose row it is.
        item_idx: Shape (k,), int64, filled with -1.
        score: Shape (k,), float32, filled with -inf.
    """
    k = len(item_idx)
    if k == 0:
        return
    key = np.zeros(k, dtype=np.uint64)
    size, worst = 0, 0
    for item in range(len(row)):
        value = row[item]
        if size < k:
            if not value > -np.inf:
                continue
            slot = size
            size += 1
            key[slot] = tie_key(seed, user, item)
        elif value < score[worst]:
            continue
        else:
            own = tie_key(seed, user, item)
            if not (value > score[worst] or (value == score[worst] and own < key[worst])):
                continue
            slot = worst
            key[slot] = own
        item_idx[slot], score[slot] = item, value
        if size == k:
            worst = 0
            for other in range(1, k):
                if score[other] < score[worst] or (
                    score[other] == score[worst] and key[other] > key[worst]
                ):
                    worst = other
    by_key = np.argsort(key[:size], kind="mergesort")
    order = by_key[np.argsort(-score[:size][by_key], kind="mergesort")]
    item_idx[:size] = item_idx[:size][order]
    score[:size] = score[:size][order]


@compiled
def _best_of_long_row(row: Any, seed: Any, user: Any, item_idx: Any, score: Any) -> None:
    """Do what ``best_of_row`` does by finding the border first: faster where many are wanted."""
    size, k = len(row), len(item_idx)
    border = np.partition(row, size - k)[size - k] if size > k else np.float32(-np.inf)
    kept = np.flatnonzero((row >= border) & (row > -np.inf))
    key = np.empty(len(kept), dtype=np.uint64)
    for place in range(len(kept)):
        key[place] = tie_key(seed, user, kept[place])
    by_key = np.argsort(key, kind="mergesort")
    order = by_key[np.argsort(-row[kept][by_key], kind="mergesort")]
    for place in range(min(k, len(order))):
        item_idx[place] = kept[order[place]]
        score[place] = row[kept[order[place]]]


@compiled
def _best_of_rows(scores: Any, seed: Any, user_idx: Any, item_idx: Any, score: Any) -> None:
    many = item_idx.shape[1] > _MANY
    for row in range(len(scores)):
        if many:
            _best_of_long_row(scores[row], seed, user_idx[row], item_idx[row], score[row])
        else:
            best_of_row(scores[row], seed, user_idx[row], item_idx[row], score[row])


@compiled
def _tie_keys(seed: Any, user_idx: Any, item_idx: Any) -> Any:
    keys = np.empty(len(item_idx), dtype=np.uint64)
    for pair in range(len(item_idx)):
        keys[pair] = tie_key(seed, user_idx[pair], item_idx[pair])
    return keys
