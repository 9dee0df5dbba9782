"""A sparse matrix times a dense one on the CPU, four stored entries of a row at a time.

What the product waits for is memory: rows of the dense matrix are asked for some entries ahead of
their use, and a row of the result is written once for four entries, not once for each.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kgrec.models.compiled import compiled_fast, fetch_ahead

_AHEAD = 16  # entries; with 4 or 32 it is slower by a fifth
_LINE = 16  # float32 numbers of a cache line
_EDGES_PER_THREAD = 50_000  # fewer are done before another thread has started


def product(indptr: Tensor, indices: Tensor, values: Tensor, dense: Tensor) -> Tensor:
    """Return A @ dense for A in CSR form; the same to the last bit for any number of threads.

    Args:
        indptr: Shape (num_rows + 1,), int64.
        indices: Shape (num_edges,), int64.
        values: Shape (num_edges,), float32.
        dense: Shape (num_columns, dim), float32, on the CPU.

    Returns:
        Shape (num_rows, dim), float32, without a gradient.
    """
    num_rows = len(indptr) - 1
    out = torch.empty((num_rows, dense.shape[1]), dtype=torch.float32)
    bounds = indptr.numpy()
    parts = (
        bounds,
        indices.numpy(),
        values.detach().contiguous().numpy(),
        dense.detach().contiguous().numpy(),
        out.numpy(),
    )
    threads = max(1, min(torch.get_num_threads(), len(indices) // _EDGES_PER_THREAD))
    cuts = np.searchsorted(bounds, np.linspace(0, len(indices), threads + 1)[1:-1])
    first = np.concatenate([[0], cuts, [num_rows]]).astype(np.int64)
    others = [
        Thread(target=_sum_rows, args=(*parts, first[part], first[part + 1]))
        for part in range(1, threads)
    ]
    for thread in others:
        thread.start()
    _sum_rows(*parts, first[0], first[1])
    for thread in others:
        thread.join()
    return out


@compiled_fast
def _sum_rows(
    indptr: Any, indices: Any, values: Any, dense: Any, out: Any, first: Any, stop: Any
) -> None:
    dim, last = dense.shape[1], len(indices) - 1
    for row in range(first, stop):
        sums, entry, end = out[row], indptr[row], indptr[row + 1]
        for column in range(dim):
            sums[column] = 0.0
        while entry + 3 < end:
            for ahead in range(entry + _AHEAD, entry + _AHEAD + 4):
                for column in range(0, dim, _LINE):
                    fetch_ahead(dense, indices[min(ahead, last)], column)
            a, b, c, d = values[entry], values[entry + 1], values[entry + 2], values[entry + 3]
            row_a, row_b = dense[indices[entry]], dense[indices[entry + 1]]
            row_c, row_d = dense[indices[entry + 2]], dense[indices[entry + 3]]
            for column in range(dim):
                sums[column] += (a * row_a[column] + b * row_b[column]) + (
                    c * row_c[column] + d * row_d[column]
                )
            entry += 4
        while entry < end:
            for column in range(0, dim, _LINE):
                fetch_ahead(dense, indices[min(entry + _AHEAD, last)], column)
            value, only = values[entry], dense[indices[entry]]
            for column in range(dim):
                sums[column] += value * only[column]
            entry += 1
