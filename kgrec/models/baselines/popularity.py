"""Popularity: how often each item was liked in training, newer likes counting more if asked."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.models.baselines.baseline import Arrays, Baseline, BaselineConfig
from kgrec.models.scorer import TrainingData

SECONDS_PER_DAY = 86_400.0


class PopularityConfig(BaselineConfig):
    """Settings of Popularity."""

    half_life_days: float | None = Field(default=None, gt=0)
    """Days, counted back from the newest train event, after which a like counts half; None: all
    likes count alike. Without effect where the data has no time."""


class Popularity(Baseline):
    """The same ranking for everybody: score_i = sum over likes of i of 2^(-age / half_life)."""

    name = "popularity"
    config_class = PopularityConfig
    config: PopularityConfig
    _counts: FloatArray | None = None

    def fit(self, train: TrainingData) -> Self:
        """Count the likes of each item and return self."""
        likes = train.interactions.positives()
        weights = np.ones(len(likes))
        if self.config.half_life_days is not None and len(likes):
            age_days = (likes.timestamp.max() - likes.timestamp) / SECONDS_PER_DAY
            weights = np.exp2(-age_days / self.config.half_life_days)
        counts = np.bincount(likes.item_idx, weights, minlength=train.num_items)
        self._counts = counts.astype(np.float32)
        return self

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the counts for each history, shape (B, num_items), float32."""
        return np.tile(self.fitted(self._counts), (len(histories), 1))

    def state(self) -> Arrays:
        """Return the counts."""
        return {"counts": self.fitted(self._counts)}

    def restore(self, arrays: Arrays) -> None:
        """Take over the counts."""
        self._counts = arrays["counts"]
