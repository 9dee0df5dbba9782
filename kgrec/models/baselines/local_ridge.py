"""Ridge regressions on small sets of items: the Gram entries come from a table or on demand."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kgrec.data.interactions import FloatArray
from kgrec.models.compiled import compiled


def local_ridge(
    rows: sparse.csr_matrix,
    nearest: sparse.csr_matrix,
    ridge: FloatArray,
    table_bytes: int,
) -> sparse.csr_matrix:
    """Return W whose column j solves (G_NN + diag(ridge_N)) w = G_Nj, G = rows' rows.

    Pairs of common items are read from a table of G that fits in ``table_bytes``; a pair with a
    rare item is summed over the few rows of that item. Both give the same numbers up to rounding.

    Args:
        rows: Shape (m, num_items), float32.
        nearest: Shape (num_items, num_items); the columns stored in row j are N, j not among them.
        ridge: Shape (num_items,).
        table_bytes: Bytes for the table.

    Returns:
        Shape (num_items, num_items), float32, as CSR with ascending columns.
    """
    num_items = rows.shape[1]
    columns = rows.T.tocsr()
    work = np.bincount(
        rows.indices, np.repeat(np.diff(rows.indptr), np.diff(rows.indptr)), num_items
    )
    size = min(num_items, int(np.sqrt(table_bytes / 4)))
    common = np.argsort(-work, kind="stable")[:size]
    place = np.full(num_items, -1, dtype=np.int64)
    place[common] = np.arange(size)
    by_row = (rows.indptr.astype(np.int64), rows.indices, rows.data)
    by_column = (columns.indptr.astype(np.int64), columns.indices, columns.data)
    table = _gram_table(*by_row, *by_column, common, place)
    data = _solve(
        *by_row,
        *by_column,
        nearest.indptr.astype(np.int64),
        nearest.indices,
        place,
        table,
        np.asarray(ridge, dtype=np.float64),
    )
    by_target = (data, nearest.indices, nearest.indptr)
    weights = sparse.csr_matrix(by_target, shape=nearest.shape).T.tocsr()
    weights.sort_indices()
    return weights


@compiled
def _gram_table(
    r_indptr: Any,
    r_indices: Any,
    r_data: Any,
    c_indptr: Any,
    c_indices: Any,
    c_data: Any,
    common: Any,
    place: Any,
) -> Any:
    table = np.zeros((len(common), len(common)), dtype=np.float32)
    for p in range(len(common)):
        i = common[p]
        for a in range(c_indptr[i], c_indptr[i + 1]):
            row, weight = c_indices[a], c_data[a]
            for b in range(r_indptr[row], r_indptr[row + 1]):
                q = place[r_indices[b]]
                if q >= 0:
                    table[p, q] += weight * r_data[b]
    return table


@compiled
def _solve(
    r_indptr: Any,
    r_indices: Any,
    r_data: Any,
    c_indptr: Any,
    c_indices: Any,
    c_data: Any,
    n_indptr: Any,
    n_indices: Any,
    place: Any,
    table: Any,
    ridge: Any,
) -> Any:
    num_items = len(place)
    out = np.zeros(len(n_indices), dtype=np.float32)
    slot = np.full(num_items, -1, dtype=np.int64)
    for j in range(num_items):
        start, stop = n_indptr[j], n_indptr[j + 1]
        size = stop - start
        if size == 0:
            continue
        chosen = np.empty(size + 1, dtype=np.int64)  # the candidates, then the target itself
        chosen[:size] = n_indices[start:stop]
        chosen[size] = j
        gram = np.zeros((size + 1, size + 1))
        for p in range(size + 1):
            slot[chosen[p]] = p
        for p in range(size + 1):
            i = chosen[p]
            if place[i] >= 0:
                for q in range(p, size + 1):
                    if place[chosen[q]] >= 0:
                        gram[p, q] = table[place[i], place[chosen[q]]]
                        gram[q, p] = gram[p, q]
                continue
            gram[p, :] = 0.0
            for a in range(c_indptr[i], c_indptr[i + 1]):
                row, weight = c_indices[a], c_data[a]
                for b in range(r_indptr[row], r_indptr[row + 1]):
                    q = slot[r_indices[b]]
                    if q >= 0:
                        gram[p, q] += weight * r_data[b]
            gram[:, p] = gram[p, :]
        for p in range(size):
            gram[p, p] += ridge[chosen[p]]
        found = np.linalg.solve(
            np.ascontiguousarray(gram[:size, :size]), np.ascontiguousarray(gram[:size, size])
        )
        out[start:stop] = found.astype(np.float32)
        for p in range(size + 1):
            slot[chosen[p]] = -1
    return out
