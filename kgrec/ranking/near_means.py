"""Means of a history, in which what is near to the asked item counts more."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgrec.models.compiled import compiled_fast


@compiled_fast
def near_means(
    indptr: Any,
    index: Any,
    target: Any,
    vectors: Any,
    rows: Any,
    items: Any,
    sharpness: Any,
    shrinkage: Any,
) -> Any:
    """Return the mean of each pair's history, its entries weighing exp(sharpness x cosine).

    Args:
        indptr: Shape (n + 1,).
        index: Shape (num_entries,), rows of ``vectors``.
        target: Shape (num_entries,), float64.
        vectors: Shape (num_items, d), unit rows.
        rows: Shape (num_pairs,), of the histories.
        items: Shape (num_pairs,), rows of ``vectors``.
        sharpness: Per unit of cosine.
        shrinkage: Weight of a further entry of target 0.

    Returns:
        Shape (num_pairs,), float64.
    """
    out = np.zeros(len(rows))
    for pair in range(len(rows)):
        total, weight = 0.0, shrinkage
        for place in range(indptr[rows[pair]], indptr[rows[pair] + 1]):
            cosine = 0.0
            for column in range(vectors.shape[1]):
                cosine += vectors[items[pair], column] * vectors[index[place], column]
            share = np.exp(sharpness * cosine)
            total += share * target[place]
            weight += share
        out[pair] = total / weight
    return out
