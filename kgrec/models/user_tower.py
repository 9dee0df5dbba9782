"""User tower: history and profile to one vector, without parameters of single users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kgrec.data.histories import HistoryBatch
from kgrec.models.propagation import SparseOperator
from kgrec.models.towers_config import TowersConfig

NUM_AGES = 24  # buckets of log2 seconds: the last reaches 97 days and everything beyond


@dataclass(frozen=True)
class UserInputs:
    """A HistoryBatch as the tensors that the tower reads; B users, n events, L recent ones.

    Attributes:
        operator: Shape (B, num_items): one entry for each event.
        channels: Shape (C, n), float32: the weights of each mean, summing to 1 for each user who
            has an event of that kind.
        recent: Shape (B, L), int64: most recent events, the last one at L - 1, -1 in front.
        recent_positive: Shape (B, L), bool.
        recent_age: Shape (B, L), int64: bucket of log2 seconds before the last event.
        recent_kind: Shape (B, L), int64: code of the event's kind, 0 where none is told.
        profile: Shape (B,), int64, the row of the profile table, 0 where none is known.
    """

    operator: SparseOperator
    channels: Tensor
    recent: Tensor
    recent_positive: Tensor
    recent_age: Tensor
    recent_kind: Tensor
    profile: Tensor

    @classmethod
    def of(
        cls,
        histories: HistoryBatch,
        num_items: int,
        config: TowersConfig,
        *,
        differentiable: bool = False,
    ) -> UserInputs:
        """Return the tensors of a batch of histories; ``differentiable`` in the item vectors."""
        rows = histories.row_of_event
        last_time = np.zeros(len(histories), dtype=np.int64)
        filled = histories.lengths > 0
        last_time[filled] = histories.timestamp[histories.indptr[1:][filled] - 1]
        age_s = np.maximum(last_time[rows] - histories.timestamp, 0)
        places = histories.indptr[1:][rows] - 1 - np.arange(len(rows))
        recent, slots = _recent(histories, config.max_sequence)
        kinds = np.zeros(len(rows), np.int64) if histories.kind is None else histories.kind
        return cls(
            operator=SparseOperator.from_edges(
                rows,
                histories.item_idx,
                (len(histories), num_items),
                differentiable=differentiable,
            ),
            channels=_channels(histories, rows, places, age_s, config),
            recent=torch.from_numpy(recent),
            recent_positive=torch.from_numpy(_at(histories.positive, slots)),
            recent_age=torch.from_numpy(_at(_buckets(age_s), slots)),
            recent_kind=torch.from_numpy(_at(kinds, slots)),
            profile=torch.from_numpy(histories.user_idx + 1),
        )

    def to(self, device: torch.device, **_: object) -> UserInputs:
        """Return the tensors on ``device``."""
        return UserInputs(*(getattr(self, item.name).to(device) for item in fields(self)))


def num_channels(config: TowersConfig) -> int:
    """Return the number of history means that ``UserInputs.channels`` holds."""
    return 2 + len(config.decay_positions) + len(config.decay_seconds)


def _channels(
    histories: HistoryBatch,
    rows: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    age_s: npt.NDArray[np.int64],
    config: TowersConfig,
) -> Tensor:
    """Flat mean of likes, flat mean of the rest, then likes decayed by place and by time."""
    liked = histories.positive.astype(np.float64)
    weights = [liked, 1.0 - liked]
    weights += [liked * np.exp(-places / scale) for scale in config.decay_positions]
    weights += [liked * np.exp(-age_s / scale) for scale in config.decay_seconds]
    scaled = []
    for weight in weights:
        total = np.bincount(rows, weights=weight, minlength=len(histories))
        scaled.append(weight / np.maximum(total, 1e-12)[rows])
    return torch.from_numpy(np.stack(scaled).astype(np.float32))


def _recent(
    histories: HistoryBatch, length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return items and event numbers of the last events, shape (B, length), -1 in front."""
    slots = histories.indptr[1:, None] - length + np.arange(length)
    slots = np.where(slots >= histories.indptr[:-1, None], slots, -1)
    return _at(histories.item_idx, slots, empty=-1), slots


def _at(
    values: npt.NDArray[np.generic], slots: npt.NDArray[np.int64], empty: int = 0
) -> npt.NDArray[np.int64]:
    found = np.full(slots.shape, empty, dtype=np.int64)
    found[slots >= 0] = values[slots[slots >= 0]]
    return found


def _buckets(age_s: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    buckets = np.log2(age_s + 1.0).astype(np.int64)
    return np.asarray(np.minimum(buckets, NUM_AGES - 1), dtype=np.int64)


@dataclass(frozen=True)
class Profiles:
    """What is known of users besides events; row 0 stands for "no profile known".

    Attributes:
        text: Shape (num_users + 1, text_dim), float32.
        numeric: Shape (num_users + 1, num_numeric), float32, as tower_inputs.standardised.
        codes: Shape (num_users + 1, num_attributes), int64, 0 where unknown.
        vocabulary: Attribute -> its values; code = place in it + 1.
    """

    text: Tensor
    numeric: Tensor
    codes: Tensor
    vocabulary: Mapping[str, Sequence[str]]


class ProfileEncoder(nn.Module):
    """Sum of projected profile text, numbers and attribute embeddings; starts at zero."""

    text_table: Tensor
    numeric_table: Tensor
    codes: Tensor

    def __init__(self, profiles: Profiles, dim: int) -> None:
        super().__init__()
        self.register_buffer("text_table", profiles.text, persistent=False)
        self.register_buffer("numeric_table", profiles.numeric, persistent=False)
        self.register_buffer("codes", profiles.codes, persistent=False)
        self.text = nn.Parameter(torch.zeros(dim, profiles.text.shape[1]))
        self.numeric = nn.Parameter(torch.zeros(dim, profiles.numeric.shape[1]))
        self.attributes = nn.ModuleList(
            nn.Embedding(len(values) + 1, dim, padding_idx=0)
            for values in profiles.vocabulary.values()
        )
        for table in self.attributes.parameters():
            nn.init.zeros_(table)

    def forward(self, rows: Tensor) -> Tensor:
        """Return shape (B, dim) for rows of the profile table, shape (B,), int64.

        Rows beyond the table are users who came after it was made: nothing is known of them.
        """
        rows = torch.where(rows < len(self.codes), rows, 0)
        encoded = self.text_table[rows] @ self.text.T + self.numeric_table[rows] @ self.numeric.T
        for column, table in enumerate(self.attributes):
            encoded = encoded + table(self.codes[rows, column])
        return encoded


class AttentionReader(nn.Module):
    """Reads recent events with one query, made from the last event: (B, L, dim) -> (B, dim)."""

    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads if dim % heads == 0 else 1
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)

    def forward(self, events: Tensor, present: Tensor) -> Tensor:
        """Return what was read; ``present`` is (B, L) bool, rows without any give zeros."""
        batch, length, dim = events.shape
        width = dim // self.heads
        query = self.query(events[:, -1]).view(batch, self.heads, 1, width)
        keys, values = self.key_value(events).chunk(2, dim=2)
        keys = keys.view(batch, length, self.heads, width).transpose(1, 2)  # (B, heads, L, width)
        values = values.view(batch, length, self.heads, width).transpose(1, 2)
        logits = (query @ keys.transpose(2, 3)) / width**0.5  # (B, heads, 1, L)
        logits = logits.masked_fill(~present[:, None, None], -1e9)
        read: Tensor = torch.softmax(logits, dim=3) @ values
        any_event = present.any(dim=1, keepdim=True).to(events.dtype)
        return read.reshape(batch, dim) * any_event


class GruReader(nn.Module):
    """Reads recent events in order with a GRU: (B, L, dim) -> (B, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(dim, dim, batch_first=True)

    def forward(self, events: Tensor, present: Tensor) -> Tensor:
        """Return the last state; ``present`` is (B, L) bool, rows without any give zeros."""
        _, state = self.gru(events * present.unsqueeze(2))
        read: Tensor = state[0] * present.any(dim=1, keepdim=True)
        return read


def rows_of_kinds(kinds: Tensor, codes: Tensor) -> Tensor:
    """Return the row of each kind in the table of marks: place in ``codes`` + 1, 0 for others."""
    place = torch.searchsorted(codes, kinds).clamp_max(len(codes) - 1)
    return torch.where(codes[place] == kinds, place + 1, 0)


class UserTower(nn.Module):
    """u = sum_c W_c m_c + read(recent events) + profile, of unit length.

    m_c are means of the history's item vectors (likes, the rest, likes decayed by place and by
    time). At the start u is the flat mean of likes: W_c, reader and profile start as zeros.
    """

    event_codes: Tensor

    def __init__(
        self, config: TowersConfig, profiles: Profiles, event_kinds: Tensor | None = None
    ) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.config = config
        self.means = nn.Linear(num_channels(config) * dim, dim)
        nn.init.zeros_(self.means.weight)
        nn.init.normal_(self.means.bias, std=0.01)  # the vector of an empty history
        with torch.no_grad():
            self.means.weight[:, :dim] = torch.eye(dim)
        self.reader: nn.Module | None = None
        if config.sequence != "off":
            self.reader = AttentionReader(dim) if config.sequence == "attention" else GruReader(dim)
            self.place = nn.Parameter(torch.randn(config.max_sequence, dim) * 0.02)
            self.age = nn.Parameter(torch.randn(NUM_AGES, dim) * 0.02)
            self.kind = nn.Parameter(torch.randn(2, dim) * 0.02)
            self.out = nn.Linear(dim, dim, bias=False)
            nn.init.zeros_(self.out.weight)
        self.event: nn.Parameter | None = None
        if event_kinds is not None:
            self.register_buffer("event_codes", event_kinds, persistent=False)
            self.event = nn.Parameter(torch.zeros(len(event_kinds) + 1, dim))
        self.profile = ProfileEncoder(profiles, dim) if config.use_profile else None

    def forward(self, inputs: UserInputs, items: Tensor) -> Tensor:
        """Return user vectors.

        Args:
            inputs: B users.
            items: Shape (num_items, dim), the item vectors.

        Returns:
            Shape (B, dim), unit length.
        """
        means = torch.cat([inputs.operator(weight, items) for weight in inputs.channels], dim=1)
        means = nn.functional.dropout(means, self.config.dropout, self.training)
        users: Tensor = self.means(means)
        if self.reader is not None:
            users = users + self.out(self.reader(*self._events(inputs, items)))
        if self.profile is not None:
            users = users + self.profile(inputs.profile)
        return nn.functional.normalize(users, dim=1, eps=1e-6)

    def _events(self, inputs: UserInputs, items: Tensor) -> tuple[Tensor, Tensor]:
        present = inputs.recent >= 0
        events = nn.functional.embedding(inputs.recent.clamp_min(0), items)
        events = events + self.place + self.age[inputs.recent_age]
        events = events + self.kind[inputs.recent_positive]
        if self.event is not None:
            rows = rows_of_kinds(inputs.recent_kind, self.event_codes)
            if self.training:  # requests often tell of items alone
                rows = rows * (torch.rand(rows.shape, device=items.device) >= self.config.dropout)
            events = events + self.event[rows]
        if self.training:  # whole events, which is cheaper than single numbers and generalises
            present = present & (
                torch.rand(present.shape, device=items.device) >= self.config.dropout
            )
        return events, present
