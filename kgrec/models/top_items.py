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
_BINS = 1 << 11  # what the sign, the exponent and two more bits of a float32 tell apart


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


def top_of_columns(
    scores: FloatArray, columns: IntArray, k: int, seed: int, user_idx: IntArray
) -> TopItems:
    """Return what ``top_of_scores`` returns where every other column is at -inf.

    Args:
        scores: Shape (B, num_items), float32.
        columns: Shape (n,), ascending.
        k: Columns wanted.
        seed: Seed of the order among equal scores.
        user_idx: Shape (B,), int64.
    """
    item_idx = np.full((len(scores), k), -1, dtype=np.int64)
    score = np.full((len(scores), k), -np.inf, dtype=np.float32)
    _best_of_columns(np.ascontiguousarray(scores), columns, seed, user_idx, item_idx, score)
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
def kth_largest(values: Any, k: Any) -> Any:
    """Return the k-th largest of float32 values, k from 1 to their number.

    Values are counted by their highest bits, so that only those near the border are sorted.
    """
    bits = values.view(np.uint32)
    counts = np.zeros(_BINS, dtype=np.int64)
    for place in range(len(values)):
        counts[_bin_of(bits[place])] += 1
    near, wanted = _BINS - 1, k
    while wanted > counts[near]:
        wanted -= counts[near]
        near -= 1
    some = np.empty(counts[near], dtype=np.float32)
    size = 0
    for place in range(len(values)):
        if _bin_of(bits[place]) == near:
            some[size] = values[place]
            size += 1
    return np.partition(some, size - wanted)[size - wanted]


@compiled
def _bin_of(bits: Any) -> Any:
    """Return a number that rises with the float32 of these bits, below _BINS."""
    ordered = ~bits if bits >> np.uint32(31) else bits | np.uint32(1 << 31)
    return ordered >> np.uint32(21)


@compiled
def write_sorted(items: Any, values: Any, seed: Any, user: Any, item_idx: Any, score: Any) -> None:
    """Write the best of some items, as ``best_of_row`` orders them; the others are passed over.

    Args:
        items: Shape (n,).
        values: Shape (n,), float32.
        seed: Seed of the order among equal scores.
        user: Whose items they are.
        item_idx: Shape (k,), int64.
        score: Shape (k,), float32.
    """
    order = np.argsort(-values, kind="mergesort")
    size = min(len(item_idx), len(order))
    start = 0
    while start < size:
        stop = start + 1
        while stop < len(order) and values[order[stop]] == values[order[start]]:
            stop += 1
        if stop > start + 1:
            tied = order[start:stop].copy()
            key = np.empty(len(tied), dtype=np.uint64)
            for place in range(len(tied)):
                key[place] = tie_key(seed, user, items[tied[place]])
            order[start:stop] = tied[np.argsort(key, kind="mergesort")]
        start = stop
    for place in range(size):
        item_idx[place] = items[order[place]]
        score[place] = values[order[place]]


@compiled
def _best_of_long_row(row: Any, seed: Any, user: Any, item_idx: Any, score: Any) -> None:
    """Do what ``best_of_row`` does by finding the border first: faster where many are wanted."""
    size, k = len(row), len(item_idx)
    border = kth_largest(row, k) if size > k else np.float32(-np.inf)
    kept = np.empty(size, dtype=np.int64)
    count = 0
    for item in range(size):
        kept[count] = item
        count += row[item] >= border and row[item] > -np.inf
    write_sorted(kept[:count], row[kept[:count]], seed, user, item_idx, score)


@compiled
def _best_of_rows(scores: Any, seed: Any, user_idx: Any, item_idx: Any, score: Any) -> None:
    many = item_idx.shape[1] > _MANY
    for row in range(len(scores)):
        if many:
            _best_of_long_row(scores[row], seed, user_idx[row], item_idx[row], score[row])
        else:
            best_of_row(scores[row], seed, user_idx[row], item_idx[row], score[row])


@compiled
def _best_of_columns(
    scores: Any, columns: Any, seed: Any, user_idx: Any, item_idx: Any, score: Any
) -> None:
    k = item_idx.shape[1]
    kept = np.empty(len(columns), dtype=np.int64)
    values = np.empty(len(columns), dtype=np.float32)
    for row in range(len(scores)):
        count = 0
        for column in columns:
            kept[count], values[count] = column, scores[row, column]
            count += values[count] > -np.inf
        if 0 < k < count:
            border = kth_largest(values[:count], k)
            size = count
            count = 0
            for place in range(size):
                kept[count], values[count] = kept[place], values[place]
                count += values[count] >= border
        write_sorted(kept[:count], values[:count], seed, user_idx[row], item_idx[row], score[row])


@compiled
def _tie_keys(seed: Any, user_idx: Any, item_idx: Any) -> Any:
    keys = np.empty(len(item_idx), dtype=np.uint64)
    for pair in range(len(item_idx)):
        keys[pair] = tie_key(seed, user_idx[pair], item_idx[pair])
    return keys
