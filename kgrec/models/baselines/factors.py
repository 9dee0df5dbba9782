"""Factor models: a vector for each history times a vector for each item; learning is elsewhere."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from pydantic import Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.baselines.baseline import Arrays, Baseline, BaselineConfig

BLOCK_PAIRS = 65_536


class FactorConfig(BaselineConfig):
    """Settings that every factor model has."""

    num_factors: int = Field(default=64, ge=1)
    """Dimensions of the vectors; fewer where the data has fewer users or items."""
    negative_weight: float = 0.0
    """Weight of a low rating in a history, where a like weighs 1; 0 leaves it out."""
    train_negative_weight: float = 0.0
    """Weight of a low rating in the train matrix, where a like weighs 1; 0 leaves it out."""
    history_half_life_events: float | None = Field(default=None, gt=0)
    """Events after which an event of a history counts half; None: all count alike."""


class FactorScorer(Baseline):
    """Scores = U V': the user vectors U are made from the histories at request time."""

    _item_factors: FloatArray | None = None

    @property
    def item_factors(self) -> FloatArray:
        """Shape (num_items, num_factors), float32; raises NotFittedError before ``fit``."""
        return self.fitted(self._item_factors)

    @abstractmethod
    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return a vector for each history, shape (B, num_factors), float32; 0 for an empty one."""

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32."""
        vectors = self.user_vectors(histories)
        return np.asarray(vectors @ self.item_factors.T, dtype=np.float32)

    def score_pairs(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        """Return the scores of chosen items, as Scorer.score_pairs says."""
        vectors = self.user_vectors(histories)
        rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
        scores = np.empty(len(item_idx), dtype=np.float32)
        for start in range(0, len(item_idx), BLOCK_PAIRS):
            block = slice(start, start + BLOCK_PAIRS)
            scores[block] = np.einsum(
                "pf,pf->p", vectors[rows[block]], self.item_factors[item_idx[block]]
            )
        return scores

    def state(self) -> Arrays:
        """Return the item factors."""
        return {"item_factors": self.item_factors}

    def restore(self, arrays: Arrays) -> None:
        """Take over the item factors."""
        self._item_factors = arrays["item_factors"]
