"""Scores of sparse histories times a sparse item-item matrix, one user's row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.baselines.compiled import compiled


def top_scores(
    history: sparse.csr_matrix,
    weights: sparse.csr_matrix,
    masked: sparse.csr_matrix,
    allowed: BoolArray,
    k: int,
    seed: int,
) -> tuple[IntArray, FloatArray]:
    """Return the k best columns of ``history @ weights`` for each row, holding one row at a time.

    Args:
        history: Shape (B, num_items).
        weights: Shape (num_items, num_items).
        masked: Shape (B, num_items); its stored entries are left out.
        allowed: Shape (num_items,); only these are returned.
        k: Columns wanted.
        seed: Seed of the order among equal scores.

    Returns:
        Items, shape (B, k), int64, -1 where there are fewer; scores, float32, -inf there.
    """
    order = np.random.default_rng(seed).permutation(weights.shape[1])
    found: tuple[IntArray, FloatArray] = _top_scores(
        history.indptr.astype(np.int64),
        history.indices,
        history.data,
        weights.indptr.astype(np.int64),
        weights.indices,
        weights.data,
        masked.indptr.astype(np.int64),
        masked.indices,
        order[allowed[order]],
        weights.shape[1],
        k,
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
    order: Any,
    num_items: Any,
    k: Any,
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
        size, worst = 0, 0
        for t in range(len(order)):
            j = order[t]
            score = row[j]
            if score == -np.inf:
                continue
            if size < k:
                items[u, size] = j
                scores[u, size] = score
                size += 1
                if size == k:
                    worst = int(np.argmin(scores[u]))
            elif k > 0 and score > scores[u, worst]:
                items[u, worst] = j
                scores[u, worst] = score
                worst = int(np.argmin(scores[u]))
        rank = np.argsort(-scores[u, :size], kind="mergesort")
        items[u, :size] = items[u, :size][rank]
        scores[u, :size] = scores[u, :size][rank]
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
