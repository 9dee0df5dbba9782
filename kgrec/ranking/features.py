"""Features of user-item pairs, by the same code in training and in serving.

Every feature of a pair depends on the history, the item and the fitted state alone, never on the
other candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import DataError
from kgrec.ranking.feature_state import FeatureState
from kgrec.ranking.kernels import count_before, entity_profiles, row_sums
from kgrec.retrieval.candidates import Candidates

DAY_S = 86_400
Column = npt.NDArray[Any]
Columns = dict[str, Column]


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of the candidates of B users.

    Attributes:
        names: F stable names.
        values: Shape (n, F), float32, finite.
        indptr: Shape (B + 1,), int64: rows of each user.
    """

    names: tuple[str, ...]
    values: FloatArray
    indptr: IntArray


class FeatureBuilder:
    """Computes the feature matrix of candidate lists from a fitted state."""

    def __init__(self, state: FeatureState) -> None:
        self.state = state

    def build(self, histories: HistoryBatch, candidates: Candidates) -> FeatureMatrix:
        """Return the features of each candidate.

        Args:
            histories: B users.
            candidates: Their lists, as the sources gave them.

        Raises:
            DataError: The lists are not those of these users.
        """
        if len(candidates.indptr) != len(histories) + 1:
            raise DataError(
                f"Expected candidate lists for {len(histories)} histories, "
                f"got {len(candidates.indptr) - 1}; pass the histories that made the candidates"
            )
        pairs = _Pairs(self.state, histories, candidates)
        columns: Columns = {}
        for part in (_sources, _item, _user, _sequence, _numeric, _text, _graph, _groups):
            columns.update(part(pairs))
        values = np.empty((len(candidates.item_idx), len(columns)), dtype=np.float32)
        for place, column in enumerate(columns.values()):
            values[:, place] = column
        return FeatureMatrix(tuple(columns), values, candidates.indptr)


class _Pairs:
    """The inputs of the feature groups, computed once."""

    def __init__(
        self, state: FeatureState, histories: HistoryBatch, candidates: Candidates
    ) -> None:
        self.state, self.histories, self.candidates = state, histories, candidates
        self.config, self.arrays = state.config, state.arrays
        self.rows, self.items = candidates.row_of_pair, candidates.item_idx
        self.event_rows = histories.row_of_event
        self.later = (
            histories.indptr[1:][self.event_rows] - 1 - np.arange(len(self.event_rows))
        ).astype(np.float64)
        self.liked = histories.positive.astype(np.float64)
        self.recency = 0.5 ** (self.later / state.config.half_life)

    def per_user(self, weights: Column) -> Column:
        """Return the sum of event weights of each user, shape (B,)."""
        return np.bincount(self.event_rows, weights=weights, minlength=len(self.histories))


def _sources(pairs: _Pairs) -> Columns:
    candidates = pairs.candidates
    columns: Columns = {}
    for place, name in enumerate(candidates.source_names):
        columns[f"source.{name}.z"] = candidates.z[:, place]
        columns[f"source.{name}.rank"] = 1.0 / np.sqrt(candidates.rank[:, place])
    columns["source.mean.z"] = candidates.z.mean(axis=1)
    columns["source.mean.rank"] = (1.0 / np.sqrt(candidates.rank)).mean(axis=1)
    return columns


def _item(pairs: _Pairs) -> Columns:
    arrays, items = pairs.arrays, pairs.items
    columns = {
        "item.log_events": np.log1p(arrays["events"][items]),
        "item.log_likes": np.log1p(arrays["likes"][items]),
        "item.like_rate": arrays["like_rate"][items],
        "item.value_bias": arrays["value_bias"][items],
        "item.content_popularity": arrays["content"][items, 0],
        "item.content_like_rate": arrays["content"][items, 1],
    }
    if pairs.config.use_cold_flag:
        columns["item.cold"] = (arrays["events"][items] == 0).astype(np.float32)
    if pairs.state.has_times:
        columns |= _item_times(pairs)
    return columns


def _item_times(pairs: _Pairs) -> Columns:
    """Popularity as of the request: nothing later than ``now`` is counted."""
    arrays, items = pairs.arrays, pairs.items
    now = pairs.histories.now[pairs.rows]
    never = np.full(len(items), np.iinfo(np.int64).min)
    known = (arrays["times_indptr"], arrays["times"])
    before = count_before(*known, items, never, now)
    columns = {"time.log_before": np.log1p(before)}
    # without an event before now the first one does not matter, but it has to be some row
    first = arrays["times_indptr"][items] * (arrays["events"][items] > 0)
    age = np.where(before > 0, (now - arrays["times"][first]) / DAY_S, -1.0)
    columns["time.log_age_days"] = np.log1p(np.maximum(age, 0.0)) - (before == 0)
    for days in pairs.config.recent_days:
        recent = count_before(*known, items, now - int(days * DAY_S), now)
        columns[f"time.log_recent_{days:g}"] = np.log1p(recent)
        span = np.clip(age, 1.0, None)
        expected = before * np.minimum(days / span, 1.0)
        columns[f"time.trend_{days:g}"] = np.log((recent + 2.0) / (expected + 2.0))
    return columns


def _user(pairs: _Pairs) -> Columns:
    histories, rows = pairs.histories, pairs.rows
    length = histories.lengths
    mean_like, mean_value = pairs.arrays["means"]
    value = np.where(np.isfinite(histories.value), histories.value - mean_value, 0.0)
    columns = {
        "user.log_length": np.log1p(length)[rows],
        "user.like_rate": ((pairs.per_user(pairs.liked) + 5.0 * mean_like) / (length + 5.0))[rows],
        "user.mean_value": (pairs.per_user(value) / (length + 5.0))[rows],
    }
    if pairs.state.has_times:
        start, last = np.zeros(len(length), np.int64), np.zeros(len(length), np.int64)
        filled = length > 0
        start[filled] = histories.timestamp[histories.indptr[:-1][filled]]
        last[filled] = histories.timestamp[histories.indptr[1:][filled] - 1]
        columns["user.log_gap_days"] = np.log1p(
            np.where(filled, np.maximum(histories.now - last, 0) / DAY_S, 0.0)
        )[rows]
        columns["user.log_span_days"] = np.log1p((last - start) / DAY_S)[rows]
    return columns


def _sequence(pairs: _Pairs) -> Columns:
    histories, arrays = pairs.histories, pairs.arrays
    last = (pairs.later == 0).astype(np.float64)
    weights = {
        "last": last,
        "last3": (pairs.later < 3) / 3.0,
        "last10": (pairs.later < 10) / 10.0,
        "recent": pairs.recency * pairs.liked,
    }
    stacked = np.stack(list(weights.values()), axis=1).astype(np.float32)
    columns = {}
    for matrix in ("steps", "together"):
        sums = row_sums(
            histories.indptr,
            histories.item_idx,
            stacked,
            pairs.candidates.indptr,
            pairs.items,
            arrays[f"{matrix}_indptr"],
            arrays[f"{matrix}_items"],
            arrays[f"{matrix}_values"],
        )
        for place, name in enumerate(weights):
            columns[f"sequence.{matrix}.{name}"] = sums[:, place]
    return columns


def _numeric(pairs: _Pairs) -> Columns:
    """Signed and absolute distance from the user's weighted mean, and the value itself."""
    columns = {}
    for place, name in enumerate(pairs.state.numeric_names):
        values = pairs.arrays["numeric"][:, place]
        seen = values[pairs.histories.item_idx].astype(np.float64)
        own = values[pairs.items].astype(np.float64)
        known = np.isfinite(seen)
        columns[f"numeric.{name}"] = np.where(np.isfinite(own), own, 0.0)
        for kind, weight in (("liked", pairs.liked), ("recent", pairs.recency)):
            total = pairs.per_user(np.where(known, weight, 0.0))
            mean = pairs.per_user(np.where(known, seen * weight, 0.0)) / np.maximum(total, 1e-9)
            usable = np.isfinite(own) & (total[pairs.rows] > 0)
            gap = np.where(usable, own - mean[pairs.rows], 0.0)
            columns[f"numeric.{name}.{kind}_gap"] = gap
            columns[f"numeric.{name}.{kind}_distance"] = np.abs(gap)
    return columns


def _text(pairs: _Pairs) -> Columns:
    if not pairs.config.use_text:
        return {}
    names = ("liked_mean", "liked_max", "liked_top3", "recent", "last", "disliked_mean")
    text, histories = pairs.arrays["text"], pairs.histories
    out = np.zeros((len(names), len(pairs.items)), dtype=np.float32)
    for row in range(len(histories)):
        stop = histories.indptr[row + 1]
        start = max(histories.indptr[row], stop - pairs.config.text_history)
        here = slice(pairs.candidates.indptr[row], pairs.candidates.indptr[row + 1])
        if start == stop or here.start == here.stop:
            continue
        similar = text[pairs.items[here]] @ text[histories.item_idx[start:stop]].T
        _summarise(similar, histories.positive[start:stop], pairs.recency[start:stop], out[:, here])
    return {f"text.{name}": out[place] for place, name in enumerate(names)}


def _summarise(similar: FloatArray, liked: BoolArray, recency: Column, out: FloatArray) -> None:
    """Fill ``out`` (6, n) from similarities (n, events) of candidates to the history."""
    ours = similar[:, liked]
    if ours.shape[1]:
        out[0] = ours.mean(axis=1)
        out[1] = ours.max(axis=1)
        top = min(3, ours.shape[1])
        out[2] = np.partition(ours, -top, axis=1)[:, -top:].mean(axis=1)
        weight = recency[liked].astype(np.float32)
        out[3] = ours @ (weight / weight.sum())
    out[4] = similar[:, -1]
    if ours.shape[1] < similar.shape[1]:
        out[5] = similar[:, ~liked].mean(axis=1)


def _graph(pairs: _Pairs) -> Columns:
    if not pairs.config.use_graph:
        return {}
    arrays, relations = pairs.arrays, pairs.state.relations
    liked, disliked = pairs.liked, 1.0 - pairs.liked
    mean_like = pairs.per_user(liked) / np.maximum(pairs.histories.lengths, 1)
    centred = liked - mean_like[pairs.event_rows]
    events = np.stack([liked, disliked, liked * pairs.recency, centred], axis=1)
    total = [pairs.per_user(events[:, column]) for column in range(3)]
    sums, taste, best = entity_profiles(
        pairs.histories.indptr,
        pairs.histories.item_idx,
        events.astype(np.float32),
        pairs.candidates.indptr,
        pairs.items,
        arrays["slot_indptr"],
        arrays["slots"],
        arrays["slot_relation"],
        arrays["slot_idf"],
        max(len(relations), 1),
        events.shape[1],
        3.0,
    )
    scale = [1.0 / np.sqrt(np.maximum(weight, 1.0))[pairs.rows] for weight in total]
    columns = {}
    for place, name in enumerate(relations):
        columns[f"graph.{name}.liked"] = np.log1p(sums[:, place, 0] * scale[0])
        columns[f"graph.{name}.taste"] = taste[:, place]
    for column, kind in enumerate(("liked", "disliked", "recent")):
        columns[f"graph.all.{kind}"] = np.log1p(sums[:, :, column].sum(axis=1) * scale[column])
    columns["graph.all.taste"] = taste.mean(axis=1)
    columns["graph.best"] = np.log1p(best * scale[0])
    degree = arrays["slot_indptr"][pairs.items + 1] - arrays["slot_indptr"][pairs.items]
    columns["graph.log_degree"] = np.log1p(degree)
    return columns


def _groups(pairs: _Pairs) -> Columns:
    """How much more a user's group touches and likes the item than all users do."""
    columns: Columns = {}
    if not pairs.state.group_names:
        return columns
    table, start = pairs.arrays["group_of_user"], pairs.arrays["group_start"]
    user = pairs.histories.user_idx
    known = (user >= 0) & (user < len(table))
    groups = np.where(known[:, None], table[np.where(known, user, 0)], start[None, :])
    for place, name in enumerate(pairs.state.group_names):
        group = groups[pairs.rows, place]
        columns[f"group.{name}.share"] = pairs.arrays["group_share"][group, pairs.items]
        columns[f"group.{name}.rate"] = pairs.arrays["group_rate"][group, pairs.items]
    return columns
