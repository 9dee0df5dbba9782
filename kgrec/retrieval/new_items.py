"""Items that have hardly been met, drawn by lot: so that every item is shown to somebody."""

from __future__ import annotations

import copy
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray
from kgrec.models.baselines.baseline import Arrays, Baseline, BaselineConfig
from kgrec.models.scorer import TrainingData


class NewItemsConfig(BaselineConfig):
    """Settings of NewItems."""

    most_events: int = Field(default=5, ge=0)
    """Items with at most so many train events are new."""
    seed: int = 0
    """Of the lot."""


class NewItems(Baseline):
    """A random order of the new items, another one after each event of a history; 0 for the rest.

    The lot is a hash of seed, item, the history's last item and its length: the same request gets
    the same answer, and over requests each new item comes as often as any other.
    """

    name: ClassVar[str] = "new_items"
    config_class = NewItemsConfig
    config: NewItemsConfig
    _is_new: BoolArray | None = None

    def fit(self, train: TrainingData) -> Self:
        """Count the events of each item and return self."""
        events = np.bincount(train.interactions.item_idx, minlength=train.num_items)
        self._is_new = events <= self.config.most_events
        return self

    def with_new(self, number: int) -> Self:
        """Return the source with so many further items at the end, all of them new."""
        wider = copy.copy(self)
        wider._is_new = np.append(self.fitted(self._is_new), np.ones(number, dtype=np.bool_))
        return wider

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the lots of each history, shape (B, num_items), float32, 0 where not new."""
        is_new = self.fitted(self._is_new)
        found = np.zeros((len(histories), len(is_new)), dtype=np.float32)
        new = np.flatnonzero(is_new)
        length = np.diff(histories.indptr)
        last = np.full(len(histories), -1, dtype=np.int64)
        known = length > 0
        last[known] = histories.item_idx[histories.indptr[1:][known] - 1]
        asked = _mixed(_mixed(last.astype(np.uint64)) + length.astype(np.uint64))
        lots = _mixed(asked[:, None] ^ _mixed(new.astype(np.uint64) + np.uint64(self.config.seed)))
        found[:, new] = (lots >> np.uint64(40)).astype(np.float32) / 2**24 + np.float32(2**-24)
        return found

    def state(self) -> Arrays:
        """Return which items are new."""
        return {"is_new": self.fitted(self._is_new)}

    def restore(self, arrays: Arrays) -> None:
        """Take over which items are new."""
        self._is_new = arrays["is_new"].astype(np.bool_)


def _mixed(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return numbers whose every bit depends on every bit (the finaliser of SplitMix64)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
