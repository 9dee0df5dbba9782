"""Features of user-item pairs, by the same code in training and in serving.

Every feature of a pair depends on the history, the item and the fitted state alone, never on the
other candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import DataError
from kgrec.ranking import feature_columns
from kgrec.ranking.feature_columns import DAY_S
from kgrec.ranking.feature_state import FeatureState
from kgrec.ranking.kernels import entity_profiles, row_sums
from kgrec.retrieval.candidates import Candidates

Column = npt.NDArray[Any]
_FEW = 16  # candidates of a user whose texts are compared one by one, not by a matrix product


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
        self._groups: dict[tuple[str, ...], list[_Group]] = {}

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
        sources = candidates.source_names
        if sources not in self._groups:
            self._groups[sources] = _groups_of(self.state, sources)
        groups = self._groups[sources]
        pairs = _Pairs(self.state, histories, candidates)
        names = tuple(name for group in groups for name in group.names)
        values = np.empty((len(candidates.item_idx), len(names)), dtype=np.float32)
        start = 0
        for group in groups:
            group.fill(pairs, values[:, start : start + len(group.names)])
            start += len(group.names)
        return FeatureMatrix(names, values, candidates.indptr)


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


class _Group(NamedTuple):
    """Features that are computed together: their names, and what writes them into (n, names)."""

    names: tuple[str, ...]
    fill: Callable[[_Pairs, FloatArray], None]


def _groups_of(state: FeatureState, sources: tuple[str, ...]) -> list[_Group]:
    """Return all feature groups in the order of their columns."""
    config = state.config
    standing = [f"source.{name}.{kind}" for name in (*sources, "mean") for kind in ("z", "rank")]
    groups = [_Group(tuple(standing), _sources), _Group(state.item_names, _item)]
    if state.has_times:
        days = [
            f"time.{kind}_{d:g}" for d in config.recent_days for kind in ("log_recent", "trend")
        ]
        groups.append(_Group(("time.log_before", "time.log_age_days", *days), _item_times))
    user = ["user.log_length", "user.like_rate", "user.mean_value"]
    if state.has_times:
        user += ["user.log_gap_days", "user.log_span_days"]
    groups.append(_Group(tuple(user), _user))
    sums = [
        f"sequence.{m}.{name}" for m in _MATRICES for name in ("last", "last3", "last10", "recent")
    ]
    groups.append(_Group(tuple(sums), _sequence))
    kinds = ("", ".liked_gap", ".liked_distance", ".recent_gap", ".recent_distance")
    numeric = [f"numeric.{name}{kind}" for name in state.numeric_names for kind in kinds]
    groups.append(_Group(tuple(numeric), _numeric))
    if config.use_text:
        groups.append(_Group(tuple(f"text.{name}" for name in _TEXT), _text))
    if config.use_graph:
        graph = [f"graph.{name}.{kind}" for name in state.relations for kind in ("liked", "taste")]
        graph += [f"graph.all.{kind}" for kind in ("liked", "disliked", "recent", "taste")]
        groups.append(_Group((*graph, "graph.best", "graph.log_degree"), _graph))
    kept = [f"group.{name}.{kind}" for name in state.group_names for kind in ("share", "rate")]
    return [*groups, _Group(tuple(kept), _user_groups)]


_MATRICES = ("steps", "together")
_TEXT = ("liked_mean", "liked_max", "liked_top3", "recent", "last", "disliked_mean")


def _sources(pairs: _Pairs, out: FloatArray) -> None:
    feature_columns.write_standing(pairs.candidates.z, pairs.candidates.rank, out)


def _item(pairs: _Pairs, out: FloatArray) -> None:
    out[:] = pairs.state.item_table[pairs.items]


def _item_times(pairs: _Pairs, out: FloatArray) -> None:
    """Popularity as of the request: nothing later than ``now`` is counted."""
    arrays = pairs.arrays
    days = np.asarray(pairs.config.recent_days, dtype=np.float64)
    now = pairs.histories.now
    feature_columns.write_times(
        pairs.rows, pairs.items, now, arrays["times_indptr"], arrays["times"], days, out
    )


def _user(pairs: _Pairs, out: FloatArray) -> None:
    histories = pairs.histories
    length = histories.lengths
    mean_like, mean_value = pairs.arrays["means"]
    value = np.where(np.isfinite(histories.value), histories.value - mean_value, 0.0)
    columns = [
        np.log1p(length),
        (pairs.per_user(pairs.liked) + 5.0 * mean_like) / (length + 5.0),
        pairs.per_user(value) / (length + 5.0),
    ]
    if pairs.state.has_times:
        start, last = np.zeros(len(length), np.int64), np.zeros(len(length), np.int64)
        filled = length > 0
        start[filled] = histories.timestamp[histories.indptr[:-1][filled]]
        last[filled] = histories.timestamp[histories.indptr[1:][filled] - 1]
        gap = np.where(filled, np.maximum(histories.now - last, 0) / DAY_S, 0.0)
        columns += [np.log1p(gap), np.log1p((last - start) / DAY_S)]
    out[:] = np.stack(columns, axis=1).astype(np.float32)[pairs.rows]


def _sequence(pairs: _Pairs, out: FloatArray) -> None:
    histories, arrays = pairs.histories, pairs.arrays
    weights = np.empty((len(pairs.later), 4), dtype=np.float32)
    weights[:, 0] = pairs.later == 0
    weights[:, 1] = (pairs.later < 3) / 3.0
    weights[:, 2] = (pairs.later < 10) / 10.0
    weights[:, 3] = pairs.recency * pairs.liked
    for place, matrix in enumerate(_MATRICES):
        out[:, 4 * place : 4 * place + 4] = row_sums(
            histories.indptr,
            histories.item_idx,
            weights,
            pairs.candidates.indptr,
            pairs.items,
            arrays[f"{matrix}_indptr"],
            arrays[f"{matrix}_items"],
            arrays[f"{matrix}_values"],
        )


def _numeric(pairs: _Pairs, out: FloatArray) -> None:
    """Signed and absolute distance from the user's weighted mean, and the value itself."""
    weights = np.stack([pairs.liked, pairs.recency], axis=1)
    feature_columns.write_numeric(
        pairs.histories.indptr,
        pairs.histories.item_idx,
        weights,
        pairs.candidates.indptr,
        pairs.items,
        pairs.arrays["numeric"],
        out,
    )


def _text(pairs: _Pairs, out: FloatArray) -> None:
    text, histories = pairs.arrays["text"], pairs.histories
    out[:] = 0.0
    start = np.maximum(histories.indptr[:-1], histories.indptr[1:] - pairs.config.text_history)
    bounds = pairs.candidates.indptr
    if np.diff(bounds).max(initial=0) <= _FEW:
        feature_columns.write_texts(
            text,
            start,
            histories.indptr[1:],
            histories.item_idx,
            histories.positive,
            pairs.recency,
            bounds,
            pairs.items,
            out,
        )
        return
    for row in range(len(histories)):
        events = slice(start[row], histories.indptr[row + 1])
        here = slice(bounds[row], bounds[row + 1])
        if events.start == events.stop or here.start == here.stop:
            continue
        _compare(
            text[pairs.items[here]],
            text[histories.item_idx[events]],
            histories.positive[events],
            pairs.recency[events],
            out[here],
        )


def _compare(
    texts: FloatArray, seen: FloatArray, liked: BoolArray, recency: Column, out: FloatArray
) -> None:
    """Write how a user's candidates compare with what they saw; of dislikes the mean is enough."""
    if liked.all():
        feature_columns.write_similarities(texts @ seen.T, liked, recency, out)
        return
    likes = int(liked.sum())
    mean = seen[~liked].mean(axis=0, keepdims=True, dtype=np.float32)
    similar = texts @ np.concatenate([seen[liked], seen[-1:], mean]).T
    if likes:
        own = similar[:, :likes]
        feature_columns.write_similarities(own, liked[liked], recency[liked], out)
    out[:, 4:] = similar[:, likes:]


def _graph(pairs: _Pairs, out: FloatArray) -> None:
    arrays, relations = pairs.arrays, pairs.state.relations
    liked, disliked = pairs.liked, 1.0 - pairs.liked
    mean_like = pairs.per_user(liked) / np.maximum(pairs.histories.lengths, 1)
    centred = liked - mean_like[pairs.event_rows]
    events = np.stack([liked, disliked, liked * pairs.recency, centred], axis=1)
    total = np.stack([pairs.per_user(events[:, column]) for column in range(3)], axis=1)
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
    scale = 1.0 / np.sqrt(np.maximum(total, 1.0))
    degree = arrays["slot_indptr"]
    feature_columns.write_graph(
        pairs.rows, pairs.items, sums, taste, best, scale, degree, len(relations), out
    )


def _user_groups(pairs: _Pairs, out: FloatArray) -> None:
    """How much more a user's group touches and likes the item than all users do."""
    if not pairs.state.group_names:
        return
    table, start = pairs.arrays["group_of_user"], pairs.arrays["group_start"]
    user = pairs.histories.user_idx
    known = (user >= 0) & (user < len(table))
    groups = np.where(known[:, None], table[np.where(known, user, 0)], start[None, :])
    share, rate = pairs.arrays["group_share"], pairs.arrays["group_rate"]
    feature_columns.write_groups(pairs.rows, pairs.items, groups, share, rate, out)
