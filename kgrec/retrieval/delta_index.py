"""A FAISS index and, beside it, vectors of new items that are searched exactly."""

from __future__ import annotations

import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.top_items import TopItems
from kgrec.retrieval.index import VectorIndex


class DeltaIndex(VectorIndex):
    """Searches an index and a few vectors as one; their rows follow those of the index.

    Args:
        index: Over the first items.
        vectors: Shape (n, dim), of the items after them.
    """

    def __init__(self, index: VectorIndex, vectors: FloatArray) -> None:
        super().__init__(index.config)
        self.description = {**index.description, "delta": len(vectors)}
        self._base = index
        self._size = int(index.description["num_items"])
        self._delta = np.asarray(vectors, dtype=np.float32)

    def search(
        self,
        queries: FloatArray,
        k: int,
        *,
        allowed: BoolArray | None = None,
        excluded: tuple[IntArray, IntArray] | None = None,
    ) -> TopItems:
        """Return the k items of largest inner product, as ``VectorIndex.search`` does."""
        size = self._size
        fresh = np.asarray(queries @ self._delta.T, dtype=np.float32)
        if allowed is not None:
            fresh[:, ~allowed[size:]] = -np.inf
            allowed = allowed[:size]
        if excluded is not None:
            indptr, items = excluded
            rows = np.repeat(np.arange(len(queries)), np.diff(indptr))
            new = items >= size
            fresh[rows[new], items[new] - size] = -np.inf
            counts = np.bincount(rows[~new], minlength=len(queries))
            kept = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            excluded = (kept, items[~new])
        found = self._base.search(queries, k, allowed=allowed, excluded=excluded)
        score = np.concatenate([found.score, fresh], axis=1)
        new_rows = np.broadcast_to(size + np.arange(fresh.shape[1]), fresh.shape)
        item_idx = np.concatenate([found.item_idx, new_rows], axis=1)
        order = np.argsort(-score, axis=1, kind="stable")[:, :k]
        score = np.take_along_axis(score, order, axis=1)
        item_idx = np.take_along_axis(item_idx, order, axis=1)
        return TopItems(np.where(np.isneginf(score), -1, item_idx), score)

    def found_for(self, queries: FloatArray, wanted: IntArray) -> IntArray:
        """Return what the index finds and all further items, as ``VectorIndex.found_for`` does."""
        shape = (len(queries), len(self._delta))
        fresh = np.broadcast_to(self._size + np.arange(len(self._delta)), shape)
        return np.concatenate([self._base.found_for(queries, wanted), fresh], axis=1)
