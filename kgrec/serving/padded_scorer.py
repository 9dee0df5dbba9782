"""A scorer that learned without the new items, asked about a catalogue that has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import NotFittedError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.top_items import TopItems


class PaddedScorer(Scorer):
    """Scores new items as the scorer scores what nobody has touched: 0, or less where all is less.

    Events of new items say nothing to it, and are left out of the histories that it is asked with.

    Args:
        scorer: Fitted on the first items.
        num_items: Items that it knows.
        num_new: Items after them.
    """

    name: ClassVar[str] = "padded"

    def __init__(self, scorer: Scorer, num_items: int, num_new: int) -> None:
        self._scorer, self._num_items, self._num_new = scorer, num_items, num_new

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, new ones last."""
        scores = self._scorer.scores(histories.of_items_below(self._num_items))
        nothing = np.minimum(np.median(scores, axis=1, keepdims=True), 0.0)
        padding = np.repeat(nothing, self._num_new, axis=1)
        return np.concatenate([scores, padding], axis=1).astype(np.float32)

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> TopItems:
        """Return the k best of the items that it knows; new ones are for other sources."""
        if allowed is not None:
            allowed = allowed[: self._num_items]
        known = histories.of_items_below(self._num_items)
        return self._scorer.top(
            known, k, exclude_history=exclude_history, allowed=allowed, seed=seed
        )

    def score_pairs(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        """Return the scores of chosen items, 0 for new ones."""
        rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
        old = item_idx < self._num_items
        counts = np.bincount(rows[old], minlength=len(histories))
        kept = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        scores = np.zeros(len(item_idx), dtype=np.float32)
        scores[old] = self._scorer.score_pairs(
            histories.of_items_below(self._num_items), kept, item_idx[old]
        )
        return scores

    def score_grid(self, histories: HistoryBatch, item_idx: IntArray) -> FloatArray:
        """Return the scores of the same few items for each history, 0 for new ones."""
        old = item_idx < self._num_items
        scores = np.zeros((len(histories), len(item_idx)), dtype=np.float32)
        known = histories.of_items_below(self._num_items)
        scores[:, old] = self._scorer.score_grid(known, item_idx[old])
        return scores

    def summands(
        self, history: HistoryBatch, held: IntArray, item_idx: IntArray
    ) -> FloatArray | None:
        """Return what items of a history add to the scores of some items, nothing to new ones."""
        mine, old = held < self._num_items, item_idx < self._num_items
        known = history.of_items_below(self._num_items)
        found = self._scorer.summands(known, held[mine], item_idx[old])
        if found is None:
            return None
        out = np.zeros((len(held), len(item_idx)), dtype=np.float32)
        out[np.ix_(mine, old)] = found
        return out

    def describe(self) -> dict[str, Any]:
        """Return what the scorer says of itself."""
        return self._scorer.describe()

    def fit(self, train: TrainingData) -> Self:
        """Raise NotFittedError: it is made of a fitted scorer, and never kept."""
        raise NotFittedError("Expected a fitted scorer to be padded, got a call of fit()")

    def save(self, folder: Path) -> None:
        """Raise NotFittedError, as ``fit`` does."""
        raise NotFittedError("Expected an artifact's own scorer to be saved, got a padded one")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raise NotFittedError, as ``fit`` does."""
        raise NotFittedError("Expected an artifact's own scorer to be loaded, got a padded one")
