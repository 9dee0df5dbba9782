"""Transitions: what was liked soon after an item, by direction, with decay over the gap."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from kgrec.data.interactions import Interactions
from kgrec.models.baselines.item_item import ItemItemConfig, ItemItemScorer, ItemWeights
from kgrec.models.baselines.rp3beta import held_back
from kgrec.models.baselines.sparse_products import keep_largest, rows_to_csr
from kgrec.models.compiled import compiled
from kgrec.models.scorer import TrainingData


class TransitionsConfig(ItemItemConfig):
    """Settings of Transitions."""

    neighbours_per_item: int = Field(default=200, ge=1)
    """Followers kept for each item of a history."""
    history_half_life_events: float | None = Field(default=10.0, gt=0)
    """Events after which an event of a history counts half; None: all count alike."""
    window_events: int = Field(default=50, ge=1)
    """Events after an event that count as its followers."""
    gap_half_life_events: float = Field(default=10.0, gt=0)
    """Events between two items after which their transition counts half."""
    gap_half_life_s: float | None = Field(default=None, gt=0)
    """Seconds between two items after which their transition counts half; None: only the number
    of events between them counts. Without effect where the data has no time."""
    backward_weight: float = Field(default=0.0, ge=0, le=1)
    """Weight of a transition read against its direction; 1 forgets the direction."""
    source_exponent: float = Field(default=0.5, ge=0)
    """Exponent of the events of the item left, which divides; 1 makes shares of counts."""
    target_exponent: float = Field(default=0.3, ge=0)
    """Exponent of the likes of the item reached, which divides; 0 favours popular items."""


class Transitions(ItemItemScorer):
    """W_ij = sum of 2^(-gap / half_life) over j after i / (d_i^source_exp d_j^target_exp).

    The sum runs over train events of one user; a low rating as the item left or reached weighs
    ``train_negative_weight``. A first-order Markov chain whose steps reach over a window.
    """

    name = "transitions"
    config_class = TransitionsConfig
    config: TransitionsConfig

    def learn(self, train: TrainingData) -> ItemWeights:
        """Return the decayed transition counts of the train events."""
        config, events = self.config, train.interactions
        weight = np.where(events.positive, 1.0, config.train_negative_weight).astype(np.float32)
        kept = np.flatnonzero(weight)
        events, weight = events.take(kept), weight[kept]
        degree = np.bincount(events.item_idx, np.abs(weight), train.num_items).astype(np.float32)
        by_item = np.argsort(events.item_idx, kind="stable")
        first, stop = _bounds_of_user(events)
        gaps = np.arange(config.window_events + 1)
        rate = 0.0 if config.gap_half_life_s is None else np.log(2) / config.gap_half_life_s
        counts, columns, values = _count(
            events.item_idx,
            events.timestamp,
            weight,
            first,
            stop,
            by_item,
            np.searchsorted(events.item_idx[by_item], np.arange(train.num_items + 1)),
            np.exp2(-(gaps - 1) / config.gap_half_life_events).astype(np.float32),
            np.float32(rate),
            np.float32(config.backward_weight),
            held_back(degree, config.source_exponent),
            held_back(degree, config.target_exponent),
            min(config.neighbours_per_item, train.num_items),
        )
        return ItemWeights(
            train.num_items, sparse_rows=rows_to_csr(counts, columns, values, train.num_items)
        )


def _bounds_of_user(events: Interactions) -> tuple[np.ndarray, np.ndarray]:
    first = np.searchsorted(events.user_idx, events.user_idx, side="left")
    stop = np.searchsorted(events.user_idx, events.user_idx, side="right")
    return first, stop


@compiled
def _count(
    item_idx: Any,
    timestamp: Any,
    weight: Any,
    first: Any,
    stop: Any,
    by_item: Any,
    bounds: Any,
    decay: Any,
    rate: Any,
    backward_weight: Any,
    source_scale: Any,
    target_scale: Any,
    n: Any,
) -> Any:
    num_items, window = len(bounds) - 1, len(decay) - 1
    counts = np.zeros(num_items, dtype=np.int64)
    columns = np.zeros((num_items, n), dtype=np.int64)
    values = np.zeros((num_items, n), dtype=np.float32)
    row = np.zeros(num_items, dtype=np.float32)
    seen = np.zeros(num_items, dtype=np.bool_)
    touched = np.empty(num_items, dtype=np.int64)
    for i in range(num_items):
        size = 0
        for t in range(bounds[i], bounds[i + 1]):
            event = by_item[t]
            start = event + 1
            if backward_weight > 0.0:
                start = max(first[event], event - window)
            for other in range(start, min(stop[event], event + window + 1)):
                j = item_idx[other]
                if j == i:
                    continue
                step = weight[event] * weight[other] * decay[abs(other - event)]
                if rate > 0.0:
                    step *= np.exp(-rate * abs(timestamp[other] - timestamp[event]))
                if other < event:
                    step *= backward_weight
                if not seen[j]:
                    seen[j] = True
                    touched[size] = j
                    size += 1
                row[j] += step
        found = np.empty(size, dtype=np.float32)
        for t in range(size):
            j = touched[t]
            found[t] = row[j] * source_scale[i] * target_scale[j]
            row[j] = 0.0
            seen[j] = False
        counts[i] = keep_largest(found, touched, n, columns[i], values[i])
    return counts, columns, values
