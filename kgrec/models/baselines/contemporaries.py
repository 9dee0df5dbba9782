"""Contemporaries: what followed a history's items for users who met them at about this time."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.answers import Answers
from kgrec.models.baselines.baseline import Arrays, Baseline, BaselineConfig
from kgrec.models.baselines.event_weights import history_weights, weights_of
from kgrec.models.baselines.item_item import RowAnswers
from kgrec.models.baselines.rp3beta import held_back
from kgrec.models.baselines.sparse_scores import (
    HistoryRows,
    dense_products,
    entries,
    pair_scores,
    top_scores,
)
from kgrec.models.compiled import compiled
from kgrec.models.scorer import TrainingData
from kgrec.models.top_items import TopItems

_DAY_S = 86_400.0
_LEAST = 1 / 64  # weight below which an event of a history is not looked up


class ContemporariesConfig(BaselineConfig):
    """Settings of Contemporaries."""

    half_life_days: float = Field(default=365.0, gt=0)
    """Days between the request and an occurrence, earlier or later, after which it counts half."""
    timeless_weight: float = Field(default=0.1, ge=0, le=1)
    """Weight of an occurrence at any distance in time; what lies above it fades."""
    occurrences_per_item: int = Field(default=300, ge=1)
    """Occurrences of an item that are looked up, the nearest in time; what a request costs."""
    history_half_life_events: float | None = Field(default=7.0, gt=0)
    """Events after which an event of a history counts half (below 1/64 it is not looked up); None:
    all count alike."""
    window_events: int = Field(default=60, ge=1)
    """Events around an occurrence that it speaks for."""
    gap_half_life_events: float = Field(default=20.0, gt=0)
    """Events between an occurrence and another after which that one counts half."""
    gap_half_life_s: float | None = Field(default=None, gt=0)
    """Seconds between them after which it counts half as well; None: only events count."""
    backward_weight: float = Field(default=0.2, ge=0, le=1)
    """Weight of what came before an occurrence; 1 forgets the direction."""
    negative_weight: float = 0.0
    """Weight of a low rating in a history, where a like weighs 1; 0 leaves it out."""
    train_negative_weight: float = 0.0
    """Weight of a low rating in the train events, where a like weighs 1; 0 leaves it out."""
    source_exponent: float = Field(default=0.0, ge=0)
    """Exponent of the events of the item left, which divides."""
    target_exponent: float = Field(default=0.0, ge=0)
    """Exponent of the events of the item reached, which divides; 0 favours popular items."""


class Contemporaries(Baseline):
    """s_j = sum over i of the history, over occurrences o of i, over j around o, of products.

    The factors: age of i in the history; distance in time between the request and o; events (and
    seconds) between o and j. ``Transitions`` sums the same gaps once for all requests; here each
    request has its own sum, in which those count more who stood there at about the same time: what
    is on offer, shown first, or in fashion changes. A request outside the time of the train events
    is as of the first or last of them; where the data has no time nothing fades.

    Source: the idea of neighbours near in time is that of Garg et al., "Sequence and time aware
    neighborhood for session-based recommendations: STAN", SIGIR 2019; here single occurrences take
    the place of whole sessions.
    """

    name = "contemporaries"
    config_class = ContemporariesConfig
    config: ContemporariesConfig
    _arrays: dict[str, Any] | None = None

    def fit(self, train: TrainingData) -> Self:
        """Keep the train events, by user and by item, and return self."""
        config, events = self.config, train.interactions
        weight = np.where(events.positive, 1.0, config.train_negative_weight).astype(np.float32)
        kept = np.flatnonzero(weight)
        events, weight = events.take(kept), weight[kept]
        degree = np.bincount(events.item_idx, np.abs(weight), train.num_items).astype(np.float32)
        timestamp = events.timestamp if train.dataset.has_time else np.zeros_like(events.timestamp)
        by_item = np.lexsort((timestamp, events.item_idx))
        self._arrays = {
            "item_idx": events.item_idx.astype(np.int32),
            "timestamp": timestamp,
            "weight": weight,
            "user": events.user_idx.astype(np.int32),
            "by_item": by_item,
            "bounds": np.searchsorted(events.item_idx[by_item], np.arange(train.num_items + 1)),
            "source_scale": held_back(degree, config.source_exponent),
            "target_scale": held_back(degree, config.target_exponent),
        }
        return self

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32; 0 where unknown."""
        rows = self._rows(histories)
        return dense_products(_each(len(histories)), rows)

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
        rows = self._rows(histories)
        masked = sparse.csr_matrix(rows.shape, dtype=np.float32)
        if exclude_history:
            masked = histories.matrix(rows.shape[1], positive_only=False)
        if allowed is None:
            allowed = np.ones(rows.shape[1], dtype=np.bool_)
        each = sparse.eye_array(len(histories), dtype=np.float32, format="csr")
        return TopItems(*top_scores(each, rows, masked, allowed, k, seed, histories.user_idx))

    def score_pairs(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        """Return the scores of chosen items, as Scorer.score_pairs says."""
        return pair_scores(_each(len(histories)), self._rows(histories), indptr, item_idx)

    def answers(self, histories: HistoryBatch) -> Answers:
        """Return answers out of the one sum of each history."""
        return RowAnswers(histories, _each(len(histories)), self._rows(histories))

    def summands(self, history: HistoryBatch, held: IntArray, item_idx: IntArray) -> FloatArray:
        """Return what items of a history add to the scores of some items, as Scorer says."""
        _, columns, values = self._weights(history)
        own = weights_of(held, columns, values)
        now = np.repeat(history.now, len(held))
        rows = self._sums((np.arange(len(held) + 1), held, own), now)
        return entries(rows, np.arange(len(held)), np.ones(len(held), np.float32), item_idx)

    def state(self) -> Arrays:
        """Return the events and their order by item."""
        return self.fitted(self._arrays)

    def restore(self, arrays: Arrays) -> None:
        """Take over the arrays that ``state`` returned."""
        self._arrays = dict(arrays)

    def _weights(self, histories: HistoryBatch) -> HistoryRows:
        indptr, items, weights = history_weights(
            histories,
            self._num_items,
            self.config.negative_weight,
            self.config.history_half_life_events,
        )
        return indptr, items, np.where(np.abs(weights) < _LEAST, np.float32(0), weights)

    def _rows(self, histories: HistoryBatch) -> sparse.csr_matrix:
        return self._sums(self._weights(histories), histories.now)

    def _sums(self, rows: HistoryRows, now: IntArray) -> sparse.csr_matrix:
        config, arrays = self.config, self.fitted(self._arrays)
        known = arrays["timestamp"]
        if len(known):  # a request after the newest event is as of that event
            now = np.clip(now, known.min(), known.max())
        gaps = np.arange(config.window_events)
        per_s = 0.0 if config.gap_half_life_s is None else np.log(2) / config.gap_half_life_s
        found = _sums_of_rows(
            *rows,
            now,
            arrays["item_idx"],
            arrays["timestamp"],
            arrays["weight"],
            arrays["user"],
            arrays["by_item"],
            arrays["bounds"],
            np.exp2(-gaps / config.gap_half_life_events).astype(np.float32),
            per_s,
            np.float32(config.backward_weight),
            np.log(2) / (config.half_life_days * _DAY_S),
            config.timeless_weight,
            config.occurrences_per_item,
            arrays["source_scale"],
            arrays["target_scale"],
        )
        indptr, columns, values = found
        return sparse.csr_matrix((values, columns, indptr), shape=(len(now), self._num_items))

    @property
    def _num_items(self) -> int:
        return len(self.fitted(self._arrays)["target_scale"])


def _each(size: int) -> HistoryRows:
    """Return rows of an identity: what was summed for row b is row b's."""
    return np.arange(size + 1), np.arange(size), np.ones(size, dtype=np.float32)


@compiled
def _sums_of_rows(
    indptr: Any,
    items: Any,
    weights: Any,
    now: Any,
    item_idx: Any,
    timestamp: Any,
    weight: Any,
    user: Any,
    by_item: Any,
    bounds: Any,
    decay: Any,
    per_s: Any,
    backward_weight: Any,
    fading: Any,
    timeless_weight: Any,
    most: Any,
    source_scale: Any,
    target_scale: Any,
) -> Any:
    """Return the sums as rows (indptr, columns ascending, values)."""
    num_items, window, num_events = len(bounds) - 1, len(decay), len(item_idx)
    row = np.zeros(num_items, dtype=np.float32)
    seen = np.zeros(num_items, dtype=np.bool_)
    touched = np.empty(num_items, dtype=np.int64)
    starts = np.zeros(len(indptr), dtype=np.int64)
    columns = np.empty(1024, dtype=np.int64)
    values = np.empty(1024, dtype=np.float32)
    for b in range(len(now)):
        size = 0
        for a in range(indptr[b], indptr[b + 1]):
            if weights[a] == 0.0:
                continue
            first, stop = bounds[items[a]], bounds[items[a] + 1]
            low, right = first, stop
            while low < right:
                middle = (low + right) // 2
                if timestamp[by_item[middle]] < now[b]:
                    low = middle + 1
                else:
                    right = middle
            left = low - 1
            for _ in range(min(most, stop - first)):  # the nearest in time, either way
                if right >= stop or (
                    left >= first
                    and now[b] - timestamp[by_item[left]] <= timestamp[by_item[right]] - now[b]
                ):
                    event = by_item[left]
                    left -= 1
                else:
                    event = by_item[right]
                    right += 1
                near = np.exp(-fading * abs(now[b] - timestamp[event]))
                own = weights[a] * source_scale[items[a]] * weight[event]
                own *= timeless_weight + (1.0 - timeless_weight) * near
                start = event + 1
                if backward_weight > 0.0:
                    start = max(0, event - window)
                for other in range(start, min(num_events, event + window + 1)):
                    if user[other] != user[event]:
                        if other > event:
                            break
                        continue
                    if other == event:
                        continue
                    step = own * weight[other] * decay[abs(other - event) - 1]
                    if per_s > 0.0:
                        step *= np.exp(-per_s * abs(timestamp[other] - timestamp[event]))
                    if other < event:
                        step *= backward_weight
                    j = item_idx[other]
                    if not seen[j]:
                        seen[j] = True
                        touched[size] = j
                        size += 1
                    row[j] += step
        end = starts[b] + size
        if end > len(columns):
            room = max(end, 2 * len(columns))
            more_columns, more_values = np.empty(room, np.int64), np.empty(room, np.float32)
            more_columns[: starts[b]] = columns[: starts[b]]
            more_values[: starts[b]] = values[: starts[b]]
            columns, values = more_columns, more_values
        touched[:size].sort()
        for t in range(size):
            j = touched[t]
            columns[starts[b] + t] = j
            values[starts[b] + t] = row[j] * target_scale[j]
            row[j], seen[j] = 0.0, False
        starts[b + 1] = end
    return starts, columns[: starts[-1]].copy(), values[: starts[-1]].copy()
