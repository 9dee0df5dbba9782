"""User vectors of a trained tower by compiled loops; what they mean is for user_tower.py.

A request is one history: what torch does around each small layer costs more than the layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.compiled import compiled_fast
from kgrec.models.user_tower import AttentionReader, ProfileEncoder, UserTower, rows_of_kinds


@dataclass(frozen=True)
class UserReading:
    """The weights of a UserTower as arrays, in the same memory.

    Attributes:
        profile: Codes, table and weights of text, table and weights of numbers, and a table for
            each attribute, as ProfileEncoder has them; None where no profile is read.
        means: Weight (dim, C * dim) and bias (dim,) on the history's means.
        marks: What is added to an event's vector: by place (L, dim), age (NUM_AGES, dim), like or
            not (2, dim) and kind (K + 1, dim).
        event_codes: Shape (K,), the codes of the kinds, ascending.
        attention: Weights of query (dim, dim), its bias (dim,), keys and values (2 * dim, dim),
            their bias (2 * dim,), and of what was read (dim, dim).
        heads: Heads of the attention; 0 where the tower reads no sequence.
        decays: Decay by place in events, and by time in seconds.
    """

    profile: tuple[Any, ...] | None
    means: tuple[FloatArray, ...]
    marks: tuple[FloatArray, ...]
    event_codes: Tensor
    attention: tuple[FloatArray, ...]
    heads: int
    decays: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

    @classmethod
    def of(cls, tower: UserTower) -> Self | None:
        """Return the weights of a tower; None where it reads the sequence in another way."""
        reader, dim = tower.reader, tower.config.embedding_dim
        if reader is not None and not isinstance(reader, AttentionReader):
            return None
        nothing = np.zeros((0, dim), dtype=np.float32)
        marks: tuple[FloatArray, ...] = (nothing,) * 4
        event_codes = torch.zeros(0, dtype=torch.int64)
        attention: tuple[FloatArray, ...] = (nothing, nothing[:, 0]) * 2 + (nothing,)
        heads = 0
        if reader is not None:
            event = torch.zeros(1, dim)
            if tower.event is not None:
                event, event_codes = tower.event, tower.event_codes
            marks = tuple(_array(one) for one in (tower.place, tower.age, tower.kind, event))
            query, both, heads = reader.query, reader.key_value, reader.heads
            weights = (query.weight, query.bias, both.weight, both.bias, tower.out.weight)
            attention = tuple(_array(one) for one in weights)
        config = tower.config
        decays = (
            np.asarray(config.decay_positions, dtype=np.float64),
            np.asarray(config.decay_seconds, dtype=np.float64),
        )
        means = (_array(tower.means.weight), _array(tower.means.bias))
        profile = None if tower.profile is None else _profile_of(tower.profile)
        return cls(profile, means, marks, event_codes, attention, heads, decays)

    def vectors(self, histories: HistoryBatch, items: FloatArray) -> FloatArray:
        """Return user vectors of unit length, shape (B, dim), float32.

        Args:
            histories: B users.
            items: Shape (num_items, dim), or wider: the columns after dim are passed over.
        """
        users = self._profiles(histories)
        events = (histories.item_idx, histories.timestamp, histories.positive)
        told = (histories.indptr, *events, self._kinds(histories))
        weights = (*self.means, *self.marks, *self.attention)
        arguments: tuple[Any, ...] = (*told, items, *weights, self.heads, *self.decays, users)
        _add_readings(*arguments)
        return users

    def _kinds(self, histories: HistoryBatch) -> IntArray:
        if histories.kind is None or not len(self.event_codes):
            return np.zeros(len(histories.item_idx), dtype=np.int64)
        rows: IntArray = rows_of_kinds(torch.from_numpy(histories.kind), self.event_codes).numpy()
        return rows

    def _profiles(self, histories: HistoryBatch) -> FloatArray:
        if self.profile is None:
            return np.zeros((len(histories), len(self.means[1])), dtype=np.float32)
        codes, texts, text, numbers, numeric, tables = self.profile
        rows = histories.user_idx + 1
        rows = np.where(rows < len(codes), rows, 0)
        users = texts[rows] @ text.T + numbers[rows] @ numeric.T
        for column, table in enumerate(tables):
            users += table[codes[rows, column]]
        return np.ascontiguousarray(users, dtype=np.float32)


def _profile_of(encoder: ProfileEncoder) -> tuple[Any, ...]:
    tables = [_array(table) for table in encoder.attributes.parameters()]
    told = (encoder.codes, encoder.text_table, encoder.text)
    return (*map(_array, told), _array(encoder.numeric_table), _array(encoder.numeric), tables)


def _array(tensor: Any) -> FloatArray:
    array: FloatArray = tensor.detach().numpy()
    return array


@compiled_fast
def _add_readings(
    indptr: Any,
    item_idx: Any,
    timestamp: Any,
    positive: Any,
    event_row: Any,
    items: Any,
    means_weight: Any,
    means_bias: Any,
    place: Any,
    age: Any,
    kind: Any,
    event_mark: Any,
    query_weight: Any,
    query_bias: Any,
    both_weight: Any,
    both_bias: Any,
    out_weight: Any,
    heads: Any,
    decay_positions: Any,
    decay_seconds: Any,
    users: Any,
) -> None:
    """Add to ``users`` (B, dim), the profiles, what the histories say; make them of unit length."""
    dim = users.shape[1]
    for row in range(len(users)):
        first, stop = indptr[row], indptr[row + 1]
        user = users[row]
        means = _history_means(
            first, stop, item_idx, timestamp, positive, items, dim, decay_positions, decay_seconds
        )
        for out in range(dim):
            total = np.float32(0.0)
            for place_in in range(len(means)):
                total += means_weight[out, place_in] * means[place_in]
            user[out] += total + means_bias[out]
        if heads > 0 and stop > first:
            start = max(first, stop - len(place))
            events = np.empty((stop - start, dim), dtype=np.float32)
            for event in range(start, stop):
                ago = np.log2(max(timestamp[stop - 1] - timestamp[event], 0) + 1.0)
                bucket = min(np.int64(ago), len(age) - 1)
                spot, liked = len(place) - (stop - event), np.int64(positive[event])
                mark = event_row[event]
                for at in range(dim):
                    events[event - start, at] = (
                        items[item_idx[event], at] + place[spot, at] + age[bucket, at]
                    ) + (kind[liked, at] + event_mark[mark, at])
            read = _attended(events, query_weight, query_bias, both_weight, both_bias, heads)
            for out in range(dim):
                total = np.float32(0.0)
                for at in range(dim):
                    total += out_weight[out, at] * read[at]
                user[out] += total
        length = np.float32(0.0)
        for at in range(dim):
            length += user[at] * user[at]
        length = max(np.sqrt(length), np.float32(1e-6))
        for at in range(dim):
            user[at] /= length


@compiled_fast
def _history_means(
    first: Any,
    stop: Any,
    item_idx: Any,
    timestamp: Any,
    positive: Any,
    items: Any,
    dim: Any,
    decay_positions: Any,
    decay_seconds: Any,
) -> Any:
    """Return the means that UserInputs.channels describes, one after the other, (C * dim,)."""
    count = 2 + len(decay_positions) + len(decay_seconds)
    weights = np.empty((count, stop - first))
    for event in range(first, stop):
        liked = 1.0 if positive[event] else 0.0
        own = weights[:, event - first]
        own[0] = liked
        own[1] = 1.0 - liked
        for at in range(len(decay_positions)):
            own[2 + at] = liked * np.exp(-(stop - 1 - event) / decay_positions[at])
        ago = max(timestamp[stop - 1] - timestamp[event], 0)
        for at in range(len(decay_seconds)):
            own[2 + len(decay_positions) + at] = liked * np.exp(-ago / decay_seconds[at])
    means = np.zeros(count * dim, dtype=np.float32)
    for channel in range(count):
        total = max(weights[channel].sum(), 1e-12)
        mean = means[channel * dim : (channel + 1) * dim]
        for event in range(first, stop):
            weight = np.float32(weights[channel, event - first] / total)
            if weight != 0.0:
                vector = items[item_idx[event]]
                for at in range(dim):
                    mean[at] += weight * vector[at]
    return means


@compiled_fast
def _attended(
    events: Any, query_weight: Any, query_bias: Any, both_weight: Any, both_bias: Any, heads: Any
) -> Any:
    """Return what the last event's query reads in ``events`` (n, dim), as AttentionReader does.

    Keys and values are never made: q W_k e = (W_k' q) e, and the mean of values is W_v of the
    mean. The keys' bias adds the same to every logit.
    """
    count, dim = events.shape
    width = dim // heads
    query = np.empty(dim, dtype=np.float32)
    for out in range(dim):
        total = np.float32(0.0)
        for at in range(dim):
            total += query_weight[out, at] * events[count - 1, at]
        query[out] = total + query_bias[out]
    read = np.empty(dim, dtype=np.float32)
    share = np.empty(count, dtype=np.float32)
    scale = np.float32(width) ** np.float32(0.5)
    for head in range(heads):
        asked = np.zeros(dim, dtype=np.float32)
        for out in range(head * width, (head + 1) * width):
            for at in range(dim):
                asked[at] += query[out] * both_weight[out, at]
        most = np.float32(-np.inf)
        for event in range(count):
            total = np.float32(0.0)
            for at in range(dim):
                total += asked[at] * events[event, at]
            share[event] = total / scale
            most = max(most, share[event])
        whole = np.float32(0.0)
        for event in range(count):
            share[event] = np.exp(share[event] - most)
            whole += share[event]
        mean = np.zeros(dim, dtype=np.float32)
        for event in range(count):
            weight = share[event] / whole
            for at in range(dim):
                mean[at] += weight * events[event, at]
        for out in range(head * width, (head + 1) * width):
            total = np.float32(0.0)
            for at in range(dim):
                total += both_weight[dim + out, at] * mean[at]
            read[out] = total + both_bias[dim + out]
    return read
