"""Search among vectors by their products alone; when that is done is for index.py."""

from __future__ import annotations

import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.top_items import TopItems, top_of_scores

_DENSE_BYTES = 2_000_000  # of scores held at a time


def search_some(
    queries: FloatArray, vectors: FloatArray, ids: IntArray, k: int
) -> tuple[FloatArray, IntArray]:
    """Return scores and numbers of the k best of some vectors, both (B, k), best first."""
    score = np.full((len(queries), k), -np.inf, dtype=np.float32)
    found = np.full((len(queries), k), -1, dtype=np.int64)
    every = queries @ vectors[ids].T
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    score[:, : order.shape[1]] = np.take_along_axis(every, order, axis=1)
    found[:, : order.shape[1]] = ids[order]
    return score, found


def dense_search(
    queries: FloatArray,
    vectors: FloatArray,
    k: int,
    allowed: BoolArray | None,
    excluded: tuple[IntArray, IntArray] | None,
) -> TopItems:
    """Search exactly; a matrix product and one pass over it beat FAISS where lists are masked."""
    item_idx = np.full((len(queries), k), -1, dtype=np.int64)
    score = np.full(item_idx.shape, -np.inf, dtype=np.float32)
    step = max(1, _DENSE_BYTES // (4 * len(vectors)))
    for start in range(0, len(queries), step):
        stop = min(start + step, len(queries))
        dense = queries[start:stop] @ vectors.T
        if allowed is not None:
            dense[:, ~allowed] = -np.inf
        if excluded is not None:
            indptr, items = excluded
            rows = np.repeat(np.arange(stop - start), np.diff(indptr[start : stop + 1]))
            dense[rows, items[indptr[start] : indptr[stop]]] = -np.inf
        top = top_of_scores(dense, k, 0, np.arange(start, stop))
        item_idx[start:stop], score[start:stop] = top.item_idx, top.score
    return TopItems(item_idx, score)


def exact_scores(queries: FloatArray, vectors: FloatArray, found: IntArray) -> FloatArray:
    """Return the inner products of found rows, -inf where there is none; whole vectors are read."""
    score = np.full(found.shape, -np.inf, dtype=np.float32)
    for row, (query, items) in enumerate(zip(queries, found, strict=True)):
        there = items >= 0
        score[row, there] = vectors[items[there]] @ query
    return score


def first_of(found: IntArray, score: FloatArray, k: int) -> TopItems:
    """Return the first k entries that are not -inf of each row, best first."""
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]
    item_idx = np.full((len(found), k), -1, dtype=np.int64)
    best = np.full((len(found), k), -np.inf, dtype=np.float32)
    item_idx[:, : order.shape[1]] = np.take_along_axis(found, order, axis=1)
    best[:, : order.shape[1]] = np.take_along_axis(score, order, axis=1)
    item_idx[np.isneginf(best)] = -1
    return TopItems(item_idx, best)
