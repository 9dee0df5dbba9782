"""Answers of a model with item and user vectors, through a FAISS index."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.answers import Answers, in_history, nothing
from kgrec.models.compiled import compiled_fast
from kgrec.models.sparse_rows import best_of_some
from kgrec.models.top_items import TopItems, top_of_scores
from kgrec.retrieval.index import IndexConfig, VectorIndex


@runtime_checkable
class VectorModel(Protocol):
    """A fitted model whose score is the inner product of a user and an item vector."""

    def item_vectors(self) -> FloatArray:
        """Return the item vectors, shape (num_items, dim)."""

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return one vector for each history, shape (B, dim)."""


class IndexedSource:
    """Top lists of a vector model through a FAISS index.

    Args:
        model: A fitted model with vectors, such as the towers.
        index: Built over its item vectors.
    """

    def __init__(self, model: VectorModel, index: VectorIndex) -> None:
        self.model, self.index = model, index

    @classmethod
    def build(
        cls, model: VectorModel, queries: HistoryBatch, config: IndexConfig | None = None
    ) -> IndexedSource:
        """Return the source of a fitted model, its index tuned on real histories."""
        vectors = np.asarray(model.item_vectors(), dtype=np.float32)
        users = np.asarray(model.user_vectors(queries), dtype=np.float32)
        return cls(model, VectorIndex(config).build(vectors, users))

    @classmethod
    def load(cls, model: VectorModel, folder: Path) -> IndexedSource:
        """Return the source of a fitted model with the index saved in ``folder``."""
        return cls(model, VectorIndex.load(folder))

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
    ) -> TopItems:
        """Return the k best items, as Scorer.top says; exact ties come in the index's order."""
        excluded = (histories.indptr, histories.item_idx) if exclude_history else None
        users = np.asarray(self.model.user_vectors(histories), dtype=np.float32)
        return self.index.search(users, k, allowed=allowed, excluded=excluded)


class IndexedAnswers(Answers):
    """Finds items by the index and scores them by one product each, so that scores repeat.

    Args:
        model: A fitted model with vectors.
        index: Built over its item vectors.
        histories: B users.
        narrow: Items few enough to be scored one by one, ascending; a filter that leaves no others
            is answered so.
    """

    def __init__(
        self, model: VectorModel, index: VectorIndex, histories: HistoryBatch, narrow: IntArray
    ) -> None:
        self._index, self._histories, self._narrow = index, histories, narrow
        self._items = np.asarray(model.item_vectors(), dtype=np.float32)
        self._users = np.ascontiguousarray(model.user_vectors(histories), dtype=np.float32)

    def top(self, k: int, allowed: BoolArray | None, seed: int) -> TopItems:
        """Return the k best items, as Answers says."""
        histories = self._histories
        if allowed is not None and allowed[self._narrow].sum() == allowed.sum():
            return self._top_of_few(self._narrow[allowed[self._narrow]], k, seed)
        excluded = (histories.indptr, histories.item_idx)
        found = self._index.search(self._users, k, allowed=allowed, excluded=excluded).item_idx
        top = nothing(len(histories), k)
        for row, user in enumerate(histories.user_idx):
            items = found[row][found[row] >= 0]
            scores = _products(np.full(len(items), row), items, self._users, self._items)
            best_of_some(items, scores, seed, user, top.item_idx[row], top.score[row])
        return top

    def pairs(self, indptr: IntArray, item_idx: IntArray) -> FloatArray:
        """Return the scores of chosen items, as Answers says."""
        rows = np.repeat(np.arange(len(self._histories)), np.diff(indptr))
        scores: FloatArray = _products(rows, item_idx, self._users, self._items)
        scores[in_history(self._histories, indptr, item_idx)] = -np.inf
        return scores

    def _top_of_few(self, items: IntArray, k: int, seed: int) -> TopItems:
        count = len(self._histories)
        if not len(items):
            return nothing(count, k)
        pairs = np.arange(count + 1) * len(items)
        scores = self.pairs(pairs, np.tile(items, count)).reshape(count, len(items))
        top = top_of_scores(scores, k, seed, self._histories.user_idx)
        return TopItems(np.where(top.item_idx >= 0, items[top.item_idx], -1), top.score)


@compiled_fast
def _products(rows: Any, item_idx: Any, users: Any, items: Any) -> Any:
    """Return the inner product of each pair of a user and an item, shape (num_pairs,), float32."""
    out = np.empty(len(item_idx), dtype=np.float32)
    for pair in range(len(item_idx)):
        user, item = users[rows[pair]], items[item_idx[pair]]
        total = np.float32(0.0)
        for place in range(len(user)):
            total += user[place] * item[place]
        out[pair] = total
    return out
