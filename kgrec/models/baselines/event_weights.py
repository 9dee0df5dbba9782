"""Histories and train events as weighted sparse rows: low ratings and old events may count less."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray, Interactions


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
    rows = histories.row_of_event
    if half_life_events is not None:
        age = histories.indptr[1:][rows] - 1 - np.arange(len(rows))
        weights = weights * np.exp2(-age / half_life_events).astype(np.float32)
    return _newest(rows, histories.item_idx, weights, (len(histories), num_items))


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
