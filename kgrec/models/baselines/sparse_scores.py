"""Scores of sparse histories times a sparse item-item matrix, one user's row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.compiled import compiled
from kgrec.models.sparse_rows import chains, slot_of
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


HistoryRows = tuple[IntArray, IntArray, FloatArray]


def pair_scores(
    history: HistoryRows, weights: sparse.csr_matrix, indptr: IntArray, item_idx: IntArray
) -> FloatArray:
    """Return chosen entries of history rows times ``weights``, without a row over all columns.

    Args:
        history: B rows as (indptr, columns, float32 values).
        weights: Shape (num_items, num_items).
        indptr: Shape (B + 1,); row b is asked about item_idx[indptr[b]:indptr[b + 1]].
        item_idx: Shape (num_pairs,).

    Returns:
        Shape (num_pairs,), float32.
    """
    if not weights.has_sorted_indices:  # looked at once, then scipy remembers
        weights.sort_indices()
    found: FloatArray = _pair_scores(
        *history, weights.indptr, weights.indices, weights.data, indptr, item_idx
    )
    return found


def dense_products(history: HistoryRows, weights: sparse.csr_matrix) -> FloatArray:
    """Return history rows times ``weights``, shape (B, num_items), float32."""
    out = np.zeros((len(history[0]) - 1, weights.shape[1]), dtype=np.float32)
    _add_products(*history, weights.indptr, weights.indices, weights.data, out)
    return out


def entries(
    matrix: sparse.csr_matrix, rows: IntArray, weights: FloatArray, columns: IntArray
) -> FloatArray:
    """Return chosen rows, weighted, and columns of a sparse matrix, read in one pass.

    Args:
        matrix: Any.
        rows: Shape (L,).
        weights: Shape (L,), float32, by which the rows are multiplied.
        columns: Shape (n,), in any order, repeated or not.

    Returns:
        Shape (L, n), float32.
    """
    out = np.zeros((len(rows), len(columns)), dtype=np.float32)
    _fill_entries(rows, weights, matrix.indptr, matrix.indices, matrix.data, columns, out)
    return out


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
) -> Any:
    out = np.zeros(len(item_idx), dtype=np.float32)
    for u in range(len(h_indptr) - 1):
        for a in range(h_indptr[u], h_indptr[u + 1]):
            first, stop = w_indptr[h_indices[a]], w_indptr[h_indices[a] + 1]
            own = w_indices[first:stop]
            for p in range(indptr[u], indptr[u + 1]):
                place = np.searchsorted(own, item_idx[p])
                if place < stop - first and own[place] == item_idx[p]:
                    out[p] += h_data[a] * w_data[first + place]
    return out


@compiled
def _fill_entries(
    rows: Any, weights: Any, indptr: Any, indices: Any, data: Any, columns: Any, out: Any
) -> None:
    table, first, following = chains(columns)
    # most entries are of other columns: a look at one byte tells so of nearly all of them
    size = 1024
    while size < 16 * len(columns):
        size *= 2
    may_be = np.zeros(size, dtype=np.bool_)
    for column in columns:
        may_be[column & (size - 1)] = True
    for row in range(len(rows)):
        if weights[row] == 0.0:
            continue
        for entry in range(indptr[rows[row]], indptr[rows[row] + 1]):
            if may_be[indices[entry] & (size - 1)]:
                place = first[slot_of(table, indices[entry])]
                while place >= 0:
                    out[row, place] = weights[row] * data[entry]
                    place = following[place]


@compiled
def _add_products(
    h_indptr: Any, h_indices: Any, h_data: Any, w_indptr: Any, w_indices: Any, w_data: Any, out: Any
) -> None:
    for u in range(len(out)):
        row = out[u]
        for a in range(h_indptr[u], h_indptr[u + 1]):
            weight = h_data[a]
            for b in range(w_indptr[h_indices[a]], w_indptr[h_indices[a] + 1]):
                row[w_indices[b]] += weight * w_data[b]
