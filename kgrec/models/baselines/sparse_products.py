"""Products of sparse matrices of which only the largest entries of each row are ever held."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.compiled import compiled

BLOCK_ROWS = 512


def top_product(
    left: sparse.csr_matrix,
    right: sparse.csr_matrix,
    n: int,
    *,
    column_scale: FloatArray,
    row_norm: FloatArray | None = None,
    column_norm: FloatArray | None = None,
    shrinkage: float = 0.0,
    seed: int = 0,
) -> sparse.csr_matrix:
    """Return the n largest entries off the diagonal of each row of a scaled product.

    S_ij = (left @ right)_ij * column_scale_j / (row_norm_i * column_norm_j + shrinkage), made row
    by row: memory is one dense row and the n entries kept.

    Args:
        left: Shape (num_items, m).
        right: Shape (m, num_items).
        n: Entries kept in a row, at most.
        column_scale: Shape (num_items,).
        row_norm: Shape (num_items,); None for ones.
        column_norm: Shape (num_items,); None for ones.
        shrinkage: Draws entries with little support towards 0.
        seed: Seed of the order among equal entries at the cut.

    Returns:
        Shape (num_items, num_items), float32, columns ascending.
    """
    num_items = right.shape[1]
    n = max(1, min(n, num_items))
    order = np.random.default_rng(seed).permutation(num_items)
    shuffled = right.tocsr()[:, order]
    shuffled.sort_indices()
    place = np.empty(num_items, dtype=np.int64)
    place[order] = np.arange(num_items)
    ones = np.ones(num_items, dtype=np.float32)
    counts, columns, values = _top_product(
        left.indptr.astype(np.int64),
        left.indices,
        left.data.astype(np.float32),
        shuffled.indptr.astype(np.int64),
        shuffled.indices,
        shuffled.data.astype(np.float32),
        place,
        column_scale[order].astype(np.float32),
        ones if row_norm is None else row_norm.astype(np.float32),
        ones if column_norm is None else column_norm[order].astype(np.float32),
        np.float32(shrinkage),
        n,
    )
    return rows_to_csr(counts, order[columns], values, num_items)


def rows_to_csr(
    counts: IntArray, columns: IntArray, values: FloatArray, num_columns: int
) -> sparse.csr_matrix:
    """Return padded rows as a CSR matrix with ascending columns.

    Args:
        counts: Shape (num_rows,): entries used in each row.
        columns: Shape (num_rows, n).
        values: Shape (num_rows, n).
        num_columns: Width of the matrix.
    """
    used = np.arange(columns.shape[1])[None, :] < counts[:, None]
    indptr = np.concatenate([[0], np.cumsum(counts)])
    matrix = sparse.csr_matrix(
        (values[used], columns[used], indptr), shape=(len(counts), num_columns)
    )
    matrix.sort_indices()
    return matrix


def top_per_row(matrix: FloatArray, n: int) -> sparse.csr_matrix:
    """Return the n entries of largest absolute value in each row of a dense matrix, as CSR."""
    num_rows, width = matrix.shape
    n = min(n, width)
    columns = np.empty((num_rows, n), dtype=np.int64)
    for start in range(0, num_rows, BLOCK_ROWS):
        block = np.abs(matrix[start : start + BLOCK_ROWS])
        columns[start : start + BLOCK_ROWS] = np.argpartition(-block, n - 1, axis=1)[:, :n]
    values = np.take_along_axis(matrix, columns, axis=1)
    kept = rows_to_csr(np.full(num_rows, n, dtype=np.int64), columns, values, width)
    kept.eliminate_zeros()
    return kept


@compiled
def _top_product(
    l_indptr: Any,
    l_indices: Any,
    l_data: Any,
    r_indptr: Any,
    r_indices: Any,
    r_data: Any,
    place: Any,
    column_scale: Any,
    row_norm: Any,
    column_norm: Any,
    shrinkage: Any,
    n: Any,
) -> Any:
    num_rows, width = len(l_indptr) - 1, len(column_scale)
    counts = np.zeros(num_rows, dtype=np.int64)
    columns = np.zeros((num_rows, n), dtype=np.int64)
    values = np.zeros((num_rows, n), dtype=np.float32)
    row = np.zeros(width, dtype=np.float32)
    seen = np.zeros(width, dtype=np.bool_)
    touched = np.empty(width, dtype=np.int64)
    for i in range(num_rows):
        size = 0
        for a in range(l_indptr[i], l_indptr[i + 1]):
            middle, weight = l_indices[a], l_data[a]
            for b in range(r_indptr[middle], r_indptr[middle + 1]):
                j = r_indices[b]
                if not seen[j]:
                    seen[j] = True
                    touched[size] = j
                    size += 1
                row[j] += weight * r_data[b]
        found = np.empty(size, dtype=np.float32)
        for t in range(size):
            j = touched[t]
            scaled = row[j] * column_scale[j] / (row_norm[i] * column_norm[j] + shrinkage)
            found[t] = -np.inf if j == place[i] else scaled
            row[j] = 0.0
            seen[j] = False
        counts[i] = keep_largest(found, touched, n, columns[i], values[i])
    return counts, columns, values


@compiled
def keep_largest(
    found: Any,
    names: Any,
    n: Any,
    columns: Any,
    values: Any,
) -> Any:
    """Write the n largest of ``found`` that are not 0, with their names; return how many they are.

    For use inside compiled loops. Of entries equal to the n-th the first ones stand.
    """
    size = len(found)
    line = np.float32(-np.inf)
    if size > n:
        line = np.partition(found, size - n)[size - n]
    kept = 0
    for t in range(size):
        if found[t] > line and found[t] != 0.0:
            columns[kept] = names[t]
            values[kept] = found[t]
            kept += 1
    if line != -np.inf and line != 0.0:
        for t in range(size):
            if kept < n and found[t] == line:
                columns[kept] = names[t]
                values[kept] = found[t]
                kept += 1
    return kept
