"""Answers of a model with item and user vectors, through a FAISS index."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.answers import Answers, nothing
from kgrec.models.compiled import compiled, compiled_fast
from kgrec.models.sparse_rows import best_of_some, empty_table, slot_of
from kgrec.models.top_items import TopItems, top_of_scores
from kgrec.retrieval.index import IndexConfig, VectorIndex
from kgrec.retrieval.index_shards import build_index, load_index

_EVERY = np.empty(0, dtype=np.bool_)
_FEW = 10_000  # narrow items up to which scoring each is the quickest way


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
        return cls(model, build_index(vectors, users, config))

    @classmethod
    def load(cls, model: VectorModel, folder: Path) -> IndexedSource:
        """Return the source of a fitted model with the index saved in ``folder``."""
        return cls(model, load_index(folder))

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
        narrow: Shape (num_items,), bool: items few enough to be scored one by one; a filter that
            leaves no others is answered so, or out of what the index found.
        narrow_items: The same by number, ascending.
        narrow_vectors: Their vectors, shape (len(narrow_items), dim), in one piece.
    """

    def __init__(
        self,
        model: VectorModel,
        index: VectorIndex,
        histories: HistoryBatch,
        narrow: BoolArray,
        narrow_items: IntArray,
        narrow_vectors: FloatArray,
    ) -> None:
        self._index, self._histories = index, histories
        self._narrow, self._narrow_items = narrow, narrow_items
        self._narrow_vectors = narrow_vectors
        self._found: IntArray | None = None
        self._items = np.asarray(model.item_vectors(), dtype=np.float32)
        self._users = np.ascontiguousarray(model.user_vectors(histories), dtype=np.float32)

    def top(self, k: int, allowed: BoolArray | None, seed: int) -> TopItems:
        """Return the k best items, as Answers says."""
        wanted = k + self._histories.lengths  # what the history holds is left out here
        if allowed is None:
            self._found = self._index.found_for(self._users, wanted)
            return self._best_of(self._found, _EVERY, k, seed)[0]
        among = self._narrow_among(allowed)
        if among is None:
            wide = int(wanted.max(initial=0))
            found = self._index.search(self._users, wide, allowed=allowed).item_idx
            return self._best_of(found, _EVERY, k, seed)[0]
        if len(among) <= _FEW or self._found is None:
            return self._top_of_narrow(np.arange(len(self._histories)), among, k, seed)
        # what the index found, best first, holds the best narrow ones too, if it holds so many
        top, counts = self._best_of(self._found, allowed, k, seed)
        short = np.flatnonzero(counts < k)
        if len(short):
            exact = self._top_of_narrow(short, among, k, seed)
            top.item_idx[short], top.score[short] = exact.item_idx, exact.score
        return top

    def _narrow_among(self, allowed: BoolArray) -> BoolArray | None:
        """Return which of the narrow items are allowed; None where others are too."""
        if allowed is self._narrow:
            return np.ones(len(self._narrow_items), dtype=np.bool_)
        count = np.count_nonzero(allowed)
        if count > len(self._narrow_items):
            return None
        among = allowed[self._narrow_items]
        return among if count == np.count_nonzero(among) else None

    def _best_of(
        self, found: IntArray, allowed: BoolArray, k: int, seed: int
    ) -> tuple[TopItems, IntArray]:
        """Return the k best allowed items of those found, and how many were allowed, (B,)."""
        histories = self._histories
        top, counts = nothing(len(histories), k), np.zeros(len(histories), dtype=np.int64)
        _best_of_found(
            found,
            allowed,
            histories.indptr,
            histories.item_idx,
            histories.user_idx,
            self._users,
            self._items,
            seed,
            top.item_idx,
            top.score,
            counts,
        )
        return top, counts

    def pairs(self, indptr: IntArray, item_idx: IntArray) -> FloatArray:
        """Return the scores of chosen items, as Answers says."""
        scores = np.empty(len(item_idx), dtype=np.float32)
        histories = self._histories
        _products(
            indptr,
            item_idx,
            histories.indptr,
            histories.item_idx,
            self._users,
            self._items,
            scores,
        )
        return scores

    def _top_of_narrow(self, rows: IntArray, among: BoolArray, k: int, seed: int) -> TopItems:
        """Return the k best narrow items of some users, each scored."""
        histories = self._histories.take(rows)
        scores = np.empty((len(histories), len(among)), dtype=np.float32)
        _narrow_products(
            self._narrow_items,
            among,
            histories.indptr,
            histories.item_idx,
            self._users[rows],
            self._narrow_vectors,
            scores,
        )
        top = top_of_scores(scores, k, seed, histories.user_idx)
        if not len(among):
            return top
        return TopItems(
            np.where(top.item_idx >= 0, self._narrow_items[top.item_idx], -1), top.score
        )


@compiled_fast
def _product(user: Any, item: Any) -> Any:
    total = np.float32(0.0)
    for place in range(len(user)):
        total += user[place] * item[place]
    return total


@compiled
def _table_of(items: Any) -> Any:
    table = empty_table(len(items))
    for place in range(len(items)):
        table[slot_of(table, items[place])] = items[place]
    return table


@compiled
def _products(
    indptr: Any,
    item_idx: Any,
    history_indptr: Any,
    history_items: Any,
    users: Any,
    items: Any,
    out: Any,
) -> None:
    """Write the inner product of each pair of a user and an item, -inf for one of the history."""
    for row in range(len(users)):
        held = _table_of(history_items[history_indptr[row] : history_indptr[row + 1]])
        for pair in range(indptr[row], indptr[row + 1]):
            item = item_idx[pair]
            known = held[slot_of(held, item)] == item
            out[pair] = -np.inf if known else _product(users[row], items[item])


@compiled
def _narrow_products(
    narrow: Any,
    among: Any,
    history_indptr: Any,
    history_items: Any,
    users: Any,
    vectors: Any,
    out: Any,
) -> None:
    """Write the inner products with a few items (B, n), -inf for those not among or in history."""
    for row in range(len(users)):
        held = _table_of(history_items[history_indptr[row] : history_indptr[row + 1]])
        for place in range(len(narrow)):
            there = among[place] and held[slot_of(held, narrow[place])] != narrow[place]
            out[row, place] = _product(users[row], vectors[place]) if there else -np.inf


@compiled
def _best_of_found(
    found: Any,
    allowed: Any,
    history_indptr: Any,
    history_items: Any,
    user_idx: Any,
    users: Any,
    items: Any,
    seed: Any,
    item_idx: Any,
    score: Any,
    counts: Any,
) -> None:
    """Write the best of the found items (B, wide) that no history holds, by their products, and
    how many there were; ``allowed`` is empty where all are.
    """
    for row in range(len(found)):
        held = _table_of(history_items[history_indptr[row] : history_indptr[row + 1]])
        kept = np.empty(found.shape[1], dtype=np.int64)
        values = np.empty(found.shape[1], dtype=np.float32)
        count = 0
        for place in range(found.shape[1]):
            item = found[row, place]
            if item < 0 or (len(allowed) > 0 and not allowed[item]):
                continue
            if held[slot_of(held, item)] != item:
                kept[count] = item
                values[count] = _product(users[row], items[item])
                count += 1
        counts[row] = count
        best_of_some(kept[:count], values[:count], seed, user_idx[row], item_idx[row], score[row])
