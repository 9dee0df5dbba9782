"""Scores of sparse histories times a sparse item-item matrix, one user's row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.compiled import compiled
from kgrec.models.top_items import best_of_row


def top_scores(
    history: sparse.csr_matrix,
    weights: sparse.csr_matrix,
    masked: sparse.csr_matrix,
    allowed: BoolArray,
    k: int,
    seed: int,
    user_idx: IntArray,
) -> tuple[IntArray, FloatArray]:
    """Return the k best columns of ``history @ weights`` for each row, holding one row at a time.

    Args:
        history: Shape (B, num_items).
        weights: Shape (num_items, num_items).
        masked: Shape (B, num_items); its stored entries are left out.
        allowed: Shape (num_items,); only these are returned.
        k: Columns wanted.
        seed: Seed of the order among equal scores.
        user_idx: Shape (B,); each user has an order of their own.

    Returns:
        Items, shape (B, k), int64, -1 where there are fewer; scores, float32, -inf there.
    """
    found: tuple[IntArray, FloatArray] = _top_scores(
        history.indptr.astype(np.int64),
        history.indices,
        history.data,
        weights.indptr.astype(np.int64),
        weights.indices,
        weights.data,
        masked.indptr.astype(np.int64),
        masked.indices,
        np.flatnonzero(~allowed),
        weights.shape[1],
        k,
        seed,
        user_idx,
    )
    return found


def pair_scores(
    history: sparse.csr_matrix, weights: sparse.csr_matrix, indptr: IntArray, item_idx: IntArray
) -> FloatArray:
    """Return chosen entries of ``history @ weights``, holding one row at a time.

    Args:
        history: Shape (B, num_items).
        weights: Shape (num_items, num_items).
        indptr: Shape (B + 1,); row b is asked about item_idx[indptr[b]:indptr[b + 1]].
        item_idx: Shape (num_pairs,).

    Returns:
        Shape (num_pairs,), float32.
    """
    found: FloatArray = _pair_scores(
        history.indptr.astype(np.int64),
        history.indices,
        history.data,
        weights.indptr.astype(np.int64),
        weights.indices,
        weights.data,
        indptr,
        item_idx,
        weights.shape[1],
    )
    return found


@compiled
def _top_scores(
    h_indptr: Any,
    h_indices: Any,
    h_data: Any,
    w_indptr: Any,
    w_indices: Any,
    w_data: Any,
    m_indptr: Any,
    m_indices: Any,
    refused: Any,
    num_items: Any,
    k: Any,
    seed: Any,
    user_idx: Any,
) -> Any:
    num_rows = len(h_indptr) - 1
    items = np.full((num_rows, k), -1, dtype=np.int64)
    scores = np.full((num_rows, k), -np.inf, dtype=np.float32)
    row = np.zeros(num_items, dtype=np.float32)
    for u in range(num_rows):
        row[:] = 0.0
        for a in range(h_indptr[u], h_indptr[u + 1]):
            i, weight = h_indices[a], h_data[a]
            for b in range(w_indptr[i], w_indptr[i + 1]):
                row[w_indices[b]] += weight * w_data[b]
        for a in range(m_indptr[u], m_indptr[u + 1]):
            row[m_indices[a]] = -np.inf
        row[refused] = -np.inf
        best_of_row(row, seed, user_idx[u], items[u], scores[u])
    return items, scores


@compiled
def _pair_scores(
    h_indptr: Any,
    h_indices: Any,
    h_data: Any,
    w_indptr: Any,
    w_indices: Any,
    w_data: Any,
    indptr: Any,
    item_idx: Any,
    num_items: Any,
) -> Any:
    out = np.zeros(len(item_idx), dtype=np.float32)
    row = np.zeros(num_items, dtype=np.float32)
    for u in range(len(h_indptr) - 1):
        if indptr[u] == indptr[u + 1]:
            continue
        row[:] = 0.0
        for a in range(h_indptr[u], h_indptr[u + 1]):
            i, weight = h_indices[a], h_data[a]
            for b in range(w_indptr[i], w_indptr[i + 1]):
                row[w_indices[b]] += weight * w_data[b]
        for p in range(indptr[u], indptr[u + 1]):
            out[p] = row[item_idx[p]]
    return out
