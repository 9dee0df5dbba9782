"""Histories and train events as weighted sparse rows: low ratings and old events may count less."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray, Interactions
from kgrec.models.compiled import compiled


def history_weights(
    histories: HistoryBatch,
    num_items: int,
    negative_weight: float = 0.0,
    half_life_events: float | None = None,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the weight of each item in each history, w = s * 2^(-age / half_life_events).

    Args:
        histories: B users.
        num_items: Number of columns.
        negative_weight: The s of a low rating; a like has s = 1. At 0 low ratings say nothing.
        half_life_events: Events after which an event counts half; age 0 is the newest event of
            the history. None: age does not matter.

    Returns:
        The rows (indptr, columns, float32 weights) of a matrix of shape (B, num_items), columns
        ascending; of a repeated item the newest event stands, and weights of 0 are left out.
    """
    weights = _signs(histories.positive, negative_weight)
    if half_life_events is not None:
        rows = histories.row_of_event
        age = histories.indptr[1:][rows] - 1 - np.arange(len(rows))
        weights = weights * np.exp2(-age / half_life_events).astype(np.float32)
    found: tuple[IntArray, IntArray, FloatArray] = _newest_of_rows(
        histories.indptr, histories.item_idx, weights
    )
    return found


def weights_of(items: IntArray, columns: IntArray, weights: FloatArray) -> FloatArray:
    """Return the weights of some items of a row, 0 for those that it has not.

    Args:
        items: Shape (n,).
        columns: Shape (m,), the row's columns, ascending.
        weights: Shape (m,), their weights.
    """
    if not len(columns):
        return np.zeros(len(items), dtype=np.float32)
    place = np.minimum(np.searchsorted(columns, items), len(columns) - 1)
    return np.where(columns[place] == items, weights[place], np.float32(0)).astype(np.float32)


def history_matrix(
    histories: HistoryBatch,
    num_items: int,
    negative_weight: float = 0.0,
    half_life_events: float | None = None,
) -> sparse.csr_matrix:
    """Return ``history_weights`` as a matrix, shape (B, num_items), float32."""
    found = history_weights(histories, num_items, negative_weight, half_life_events)
    return _matrix(found, (len(histories), num_items))


def train_matrix(
    interactions: Interactions, num_users: int, num_items: int, negative_weight: float = 0.0
) -> sparse.csr_matrix:
    """Return the weight of each item for each user: 1 for a like, ``negative_weight`` for a low
    rating, nothing otherwise.

    Returns:
        Shape (num_users, num_items), float32, columns ascending.
    """
    weights = _signs(interactions.positive, negative_weight)
    shape = (num_users, num_items)
    found = _newest(interactions.user_idx, interactions.item_idx, weights, shape)
    return _matrix(found, shape)


def _signs(positive: BoolArray, negative_weight: float) -> FloatArray:
    return np.where(positive, np.float32(1), np.float32(negative_weight)).astype(np.float32)


def _newest(
    rows: IntArray, columns: IntArray, weights: FloatArray, shape: tuple[int, int]
) -> tuple[IntArray, IntArray, FloatArray]:
    pairs = rows * shape[1] + columns
    # events stand in time order: the first of the reversed ones is the newest
    pairs, last = np.unique(pairs[::-1], return_index=True)
    data = weights[::-1][last]
    kept = data != 0
    pairs, data = pairs[kept], data[kept]
    indptr = np.searchsorted(pairs, np.arange(shape[0] + 1) * shape[1])
    return indptr, pairs % shape[1], data


def _matrix(
    found: tuple[IntArray, IntArray, FloatArray], shape: tuple[int, int]
) -> sparse.csr_matrix:
    indptr, columns, data = found
    return sparse.csr_matrix((data, columns, indptr), shape=shape)


@compiled
def _newest_of_rows(indptr: Any, item_idx: Any, weights: Any) -> Any:
    """Return rows (indptr, columns ascending, values): the last event of each item, not 0."""
    starts = np.zeros(len(indptr), dtype=np.int64)
    columns = np.empty(len(item_idx), dtype=np.int64)
    values = np.empty(len(item_idx), dtype=np.float32)
    size = 0
    for row in range(len(indptr) - 1):
        own = item_idx[indptr[row] : indptr[row + 1]]
        order = np.argsort(own, kind="mergesort")  # events of one item stay in order of time
        for place in range(len(own)):
            item = own[order[place]]
            newest = place + 1 == len(own) or own[order[place + 1]] != item
            weight = weights[indptr[row] + order[place]]
            if newest and weight != 0.0:
                columns[size], values[size] = item, weight
                size += 1
        starts[row + 1] = size
    return starts, columns[:size].copy(), values[:size].copy()
