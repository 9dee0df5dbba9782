"""A source's answers to several questions about the same histories, at the cost of one asking.

The candidate union asks each source for its best items, for its best among some items, and for
the scores of items that other sources brought. Nothing of a history is ever among the answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.top_items import TopItems, top_of_columns, top_of_scores

if TYPE_CHECKING:
    from kgrec.models.scorer import Scorer


class Answers(ABC):
    """What one source says of one batch of histories."""

    @abstractmethod
    def top(self, k: int, allowed: BoolArray | None, seed: int) -> TopItems:
        """Return the k best items that no history holds, as Scorer.top says."""

    @abstractmethod
    def pairs(self, indptr: IntArray, item_idx: IntArray) -> FloatArray:
        """Return scores of chosen items, as Scorer.score_pairs says; -inf for one of the history.

        The score of an item is the very one that ``top`` gives it, to the last bit.
        """


class DenseAnswers(Answers):
    """Answers out of the scores of all items, held until the last question."""

    def __init__(self, source: Scorer, histories: HistoryBatch) -> None:
        self._user_idx = histories.user_idx
        self._scores = source.scores(histories).astype(np.float32, copy=True)
        self._scores[histories.row_of_event, histories.item_idx] = -np.inf

    def top(self, k: int, allowed: BoolArray | None, seed: int) -> TopItems:
        """Return the k best items, as Answers says."""
        if allowed is None:
            return top_of_scores(self._scores, k, seed, self._user_idx)
        return top_of_columns(self._scores, np.flatnonzero(allowed), k, seed, self._user_idx)

    def pairs(self, indptr: IntArray, item_idx: IntArray) -> FloatArray:
        """Return the scores of chosen items, as Answers says."""
        rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        return np.asarray(self._scores[rows, item_idx])


class AskedAnswers(Answers):
    """Asks the source anew at each question, where the scores of all items are too many to hold."""

    def __init__(self, source: Scorer, histories: HistoryBatch) -> None:
        self._source, self._histories = source, histories

    def top(self, k: int, allowed: BoolArray | None, seed: int) -> TopItems:
        """Return the k best items, as Answers says."""
        return self._source.top(self._histories, k, allowed=allowed, seed=seed)

    def pairs(self, indptr: IntArray, item_idx: IntArray) -> FloatArray:
        """Return the scores of chosen items, as Answers says."""
        scores = self._source.score_pairs(self._histories, indptr, item_idx)
        return np.where(in_history(self._histories, indptr, item_idx), np.float32(-np.inf), scores)


def nothing(num_users: int, k: int) -> TopItems:
    """Return lists without an item."""
    scores = np.full((num_users, k), -np.inf, dtype=np.float32)
    return TopItems(np.full((num_users, k), -1, dtype=np.int64), scores)


def in_history(histories: HistoryBatch, indptr: IntArray, item_idx: IntArray) -> BoolArray:
    """Return which pairs are of an item that stands in the user's history, shape (num_pairs,)."""
    rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
    size = 1 + max(item_idx.max(initial=0), histories.item_idx.max(initial=0))
    held = histories.row_of_event * size + histories.item_idx
    return np.asarray(np.isin(rows * size + item_idx, held))
