"""Item-item models: history weights times one matrix; how the matrix is learned is elsewhere."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.answers import Answers, nothing
from kgrec.models.baselines.baseline import Arrays, Baseline, BaselineConfig
from kgrec.models.baselines.event_weights import history_matrix, history_weights, weights_of
from kgrec.models.baselines.sparse_products import top_per_row
from kgrec.models.baselines.sparse_scores import (
    HistoryRows,
    dense_products,
    entries,
    pair_scores,
    top_scores,
)
from kgrec.models.compiled import compiled
from kgrec.models.scorer import TrainingData
from kgrec.models.sparse_rows import best_of_sums, look_up, sum_of_rows
from kgrec.models.top_items import TopItems

_EVERY = np.empty(0, dtype=np.bool_)


class ItemItemConfig(BaselineConfig):
    """Settings that every item-item model has."""

    neighbours_per_item: int | None = Field(default=None, ge=1)
    """Entries kept in each row of the item-item matrix; None keeps all that were learned."""
    negative_weight: float = 0.0
    """Weight of a low rating in a history, where a like weighs 1; 0 leaves it out."""
    train_negative_weight: float = 0.0
    """Weight of a low rating in the train matrix, where a like weighs 1; 0 leaves it out."""
    history_half_life_events: float | None = Field(default=None, gt=0)
    """Events after which an event of a history counts half; None: all count alike."""


@dataclass(frozen=True)
class ItemWeights:
    """An item-item matrix: row = item of the history, column = item scored.

    Attributes:
        num_items: Size of the catalogue.
        sparse_rows: Shape (num_items, num_items), or None where the matrix is dense.
        item_idx: Shape (n,), int64: the items of the dense matrix; every other item scores 0.
        dense: Shape (n, n), float32, or None where the matrix is sparse.
    """

    num_items: int
    sparse_rows: sparse.csr_matrix | None = None
    item_idx: IntArray | None = None
    dense: FloatArray | None = None

    def pruned(self, n: int) -> ItemWeights:
        """Return the same with the n largest entries (in absolute value) of each row, sparse."""
        if self.dense is not None and self.item_idx is not None:
            kept = top_per_row(self.dense, n)
            lengths = np.zeros(self.num_items, dtype=np.int64)
            lengths[self.item_idx] = np.diff(kept.indptr)
            indptr = np.concatenate([[0], np.cumsum(lengths)])
            rows = (kept.data, self.item_idx[kept.indices], indptr)
            shape = (self.num_items, self.num_items)
            return ItemWeights(self.num_items, sparse.csr_matrix(rows, shape=shape))
        matrix = self.sparse_rows
        if matrix is None or np.diff(matrix.indptr).max(initial=0) <= n:
            return self
        row = np.repeat(np.arange(self.num_items), np.diff(matrix.indptr))
        best_first = np.lexsort((-np.abs(matrix.data), row))
        rank = np.arange(matrix.nnz) - matrix.indptr[row]
        kept = np.sort(best_first[rank < n])
        counts = np.bincount(row[kept], minlength=self.num_items)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        rows = (matrix.data[kept], matrix.indices[kept], indptr)
        return ItemWeights(self.num_items, sparse.csr_matrix(rows, shape=matrix.shape))


class ItemItemScorer(Baseline):
    """Scores = H W: weighted history rows times an item-item matrix.

    Serves users that it never trained on: a history is all it needs. Sparse matrices are scored
    row by row, so that ``top`` and ``score_pairs`` never hold users x items.
    """

    config: ItemItemConfig
    _weights: ItemWeights | None = None

    @abstractmethod
    def learn(self, train: TrainingData) -> ItemWeights:
        """Return the item-item matrix of the train events."""

    def fit(self, train: TrainingData) -> Self:
        """Learn the item-item matrix and return self."""
        weights = self.learn(train)
        if self.config.neighbours_per_item is not None:
            weights = weights.pruned(self.config.neighbours_per_item)
        self._weights = weights
        return self

    @property
    def weights(self) -> ItemWeights:
        """The fitted item-item matrix; raises NotFittedError before ``fit``."""
        return self.fitted(self._weights)

    def history_rows(self, histories: HistoryBatch) -> sparse.csr_matrix:
        """Return the weight of each item in each history, shape (B, num_items), float32."""
        return history_matrix(
            histories,
            self.weights.num_items,
            self.config.negative_weight,
            self.config.history_half_life_events,
        )

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32; 0 where unknown."""
        weights = self.weights
        if weights.sparse_rows is not None:
            return dense_products(self._weights_of(histories), weights.sparse_rows)
        rows = self.history_rows(histories)
        scores = np.zeros((len(histories), weights.num_items), dtype=np.float32)
        scores[:, weights.item_idx] = rows[:, weights.item_idx] @ weights.dense
        return scores

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> TopItems:
        """Return the k best items for each history, as Scorer.top says."""
        weights = self.weights
        if weights.sparse_rows is None:
            return super().top(
                histories, k, exclude_history=exclude_history, allowed=allowed, seed=seed
            )
        num_items = weights.num_items
        masked = sparse.csr_matrix((len(histories), num_items), dtype=np.float32)
        if exclude_history:
            masked = histories.matrix(num_items, positive_only=False)
        if allowed is None:
            allowed = np.ones(num_items, dtype=np.bool_)
        rows = self.history_rows(histories)
        return TopItems(
            *top_scores(rows, weights.sparse_rows, masked, allowed, k, seed, histories.user_idx)
        )

    def score_pairs(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        """Return the scores of chosen items, as Scorer.score_pairs says."""
        weights = self.weights
        if weights.sparse_rows is None:
            return super().score_pairs(histories, indptr, item_idx)
        return pair_scores(self._weights_of(histories), weights.sparse_rows, indptr, item_idx)

    def summands(self, history: HistoryBatch, held: IntArray, item_idx: IntArray) -> FloatArray:
        """Return what items of a history add to the scores of some items, as Scorer says."""
        weights = self.weights
        _, columns, values = self._weights_of(history)
        own = weights_of(held, columns, values)
        if weights.sparse_rows is not None:
            return entries(weights.sparse_rows, held, own, item_idx)
        known, dense = self.fitted(weights.item_idx), self.fitted(weights.dense)
        found: FloatArray = _dense_entries(dense, known, held, own, item_idx)
        return found

    def _weights_of(self, histories: HistoryBatch) -> HistoryRows:
        return history_weights(
            histories,
            self.weights.num_items,
            self.config.negative_weight,
            self.config.history_half_life_events,
        )

    def answers(self, histories: HistoryBatch) -> Answers | None:
        """Return answers out of the rows of the histories' items, where the matrix is sparse."""
        if self.weights.sparse_rows is None:
            return None
        return RowAnswers(histories, self._weights_of(histories), self.weights.sparse_rows)

    def neighbours(self, item_idx: int, k: int) -> tuple[IntArray, FloatArray]:
        """Return the k items that one liked item speaks for most, and the weights, best first."""
        weights = self.weights
        if weights.sparse_rows is not None:
            start, stop = weights.sparse_rows.indptr[item_idx : item_idx + 2]
            items = weights.sparse_rows.indices[start:stop].astype(np.int64)
            values = weights.sparse_rows.data[start:stop]
        else:
            known = self.fitted(weights.item_idx)
            row = np.flatnonzero(known == item_idx)
            dense = self.fitted(weights.dense)
            items, values = (known, dense[row[0]]) if len(row) else (known[:0], dense[:0, 0])
        kept = items != item_idx
        items, values = items[kept], values[kept]
        best = np.argsort(-values, kind="stable")[:k]
        return items[best], values[best]

    def state(self) -> Arrays:
        """Return the matrix as CSR arrays, or as a dense block and its items."""
        weights = self.weights
        size = np.array([weights.num_items], dtype=np.int64)
        if weights.sparse_rows is not None:
            return {
                "num_items": size,
                "indptr": weights.sparse_rows.indptr.astype(np.int64),
                "indices": weights.sparse_rows.indices.astype(np.int32),
                "data": weights.sparse_rows.data.astype(np.float32),
            }
        return {
            "num_items": size,
            "item_idx": self.fitted(weights.item_idx),
            "dense": self.fitted(weights.dense),
        }

    def restore(self, arrays: Arrays) -> None:
        """Take over the arrays that ``state`` returned."""
        num_items = int(arrays["num_items"][0])
        if "dense" in arrays:
            self._weights = ItemWeights(
                num_items, item_idx=arrays["item_idx"], dense=arrays["dense"]
            )
            return
        rows = (arrays["data"], arrays["indices"], arrays["indptr"])
        matrix = sparse.csr_matrix(rows, shape=(num_items, num_items))
        self._weights = ItemWeights(num_items, sparse_rows=matrix)


@compiled
def _dense_entries(dense: Any, known: Any, rows: Any, own: Any, columns: Any) -> Any:
    """Return weighted entries of the dense matrix of ``known`` items, 0 for the others."""
    out = np.zeros((len(rows), len(columns)), dtype=np.float32)
    place = np.searchsorted(known, columns)
    for row in range(len(rows)):
        at = np.searchsorted(known, rows[row])
        if own[row] == 0.0 or at == len(known) or known[at] != rows[row]:
            continue
        for column in range(len(columns)):
            there = place[column]
            if there < len(known) and known[there] == columns[column]:
                out[row, column] = own[row] * dense[at, there]
    return out


class RowAnswers(Answers):
    """Answers out of the summed rows of each history's items; every other item scores 0."""

    def __init__(
        self,
        histories: HistoryBatch,
        rows: tuple[IntArray, IntArray, FloatArray],
        weights: sparse.csr_matrix,
    ) -> None:
        self._user_idx, self._num_items = histories.user_idx, weights.shape[1]
        indptr, items, item_weights = rows
        self._sums = [
            sum_of_rows(
                items[indptr[row] : indptr[row + 1]],
                item_weights[indptr[row] : indptr[row + 1]],
                histories.item_idx[histories.indptr[row] : histories.indptr[row + 1]],
                weights.indptr,
                weights.indices,
                weights.data,
                self._num_items,
            )
            for row in range(len(histories))
        ]

    def top(self, k: int, allowed: BoolArray | None, seed: int) -> TopItems:
        """Return the k best items, as Answers says."""
        found = nothing(len(self._sums), k)
        mask = _EVERY if allowed is None else allowed
        for row, (table, sums) in enumerate(self._sums):
            user, size = self._user_idx[row], self._num_items
            best_of_sums(table, sums, mask, size, seed, user, found.item_idx[row], found.score[row])
        return found

    def pairs(self, indptr: IntArray, item_idx: IntArray) -> FloatArray:
        """Return the scores of chosen items, as Answers says."""
        scores = np.empty(len(item_idx), dtype=np.float32)
        for row, (table, sums) in enumerate(self._sums):
            own = slice(indptr[row], indptr[row + 1])
            look_up(table, sums, item_idx[own], scores[own])
        return scores
