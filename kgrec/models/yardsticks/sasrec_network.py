"""The self-attention of SASRec over a user's latest likes, and its training steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec.data.interactions import IntArray
from kgrec.models.yardsticks.fitting import Network
from kgrec.models.yardsticks.pairs import UnlikedItems


@dataclass(frozen=True)
class SASRecSizes:
    """What shapes the network: see SASRecConfig."""

    embedding_dim: int
    num_blocks: int
    num_heads: int
    max_events: int
    dropout: float
    l2: float
    loss: str


class SASRecNetwork(Network):
    """Blocks of causal self-attention and a point-wise layer over item and position vectors.

    Args:
        num_items: Items are 0..num_items-1; num_items itself stands for "no event".
        sizes: Dimensions and weights.
    """

    def __init__(self, num_items: int, sizes: SASRecSizes) -> None:
        super().__init__()
        dim = sizes.embedding_dim
        self.sizes, self.num_items = sizes, num_items
        self.items = nn.Parameter(torch.randn(num_items, dim) * 0.1)
        self.positions = nn.Parameter(torch.randn(sizes.max_events, dim) * 0.1)
        self.blocks = nn.ModuleList(_Block(sizes) for _ in range(sizes.num_blocks))
        self.last_norm = nn.LayerNorm(dim)

    def forward(self, events: Tensor) -> Tensor:
        """Return the state after each event, shape (B, L, dim).

        Args:
            events: Shape (B, L), int64, L <= max_events, oldest first, num_items in front of those
                who have fewer.
        """
        known = events < self.num_items
        places = known.nonzero()[:, 1] - events.shape[1]  # -1 is the latest
        state = self.items[events[known]] * self.sizes.embedding_dim**0.5 + self.positions[places]
        state = functional.dropout(state, self.sizes.dropout, self.training)
        length = events.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=events.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=events.device)
        seen = (earlier & known.unsqueeze(1)) | itself  # (B, L, L); empty places see themselves
        for block in self.blocks:
            state = block(state, known, seen)
        return _unpacked(self.last_norm(state), known)

    def loss(self, *batch: Tensor) -> Tensor:
        """Return the loss of (events, next events, unliked items), each shape (B, L)."""
        events, following, unliked = batch
        asked = following < self.num_items
        state = self(events)[asked]  # (n, dim)
        liked, other = following[asked], unliked[asked]
        penalty = self.sizes.l2 * self.items[liked].square().sum() / (2 * len(liked))
        if self.sizes.loss == "softmax":
            return functional.cross_entropy(state @ self.items.T, liked) + penalty
        for_liked = (state * self.items[liked]).sum(1)
        for_other = (state * self.items[other]).sum(1)
        right = -functional.logsigmoid(for_liked) - functional.logsigmoid(-for_other)
        return right.mean() + penalty


class _Block(nn.Module):
    def __init__(self, sizes: SASRecSizes) -> None:
        super().__init__()
        dim = sizes.embedding_dim
        self.sizes = sizes
        self.before = nn.LayerNorm(dim)
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.between = nn.LayerNorm(dim)
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, state: Tensor, known: Tensor, seen: Tensor) -> Tensor:
        """Return the next state of n events, shape (n, dim); only attention meets the others.

        Args:
            state: Shape (n, dim), of the known events, row by row.
            known: Shape (B, L), bool, n of them true.
            seen: Shape (B, L, L), bool, what each place attends to.
        """
        queries = self.before(state)
        heads = self.sizes.num_heads
        query, key, value = (
            _unpacked(part, known).view(*known.shape, heads, -1).transpose(1, 2)
            for part in (self.query(queries), self.key(state), self.value(state))
        )
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=seen.unsqueeze(1),
            dropout_p=self.sizes.dropout if self.training else 0.0,
        )
        mixed = mixed.transpose(1, 2).flatten(2)[known]
        state = queries + self._dropped(self.out(mixed))
        normed = self.between(state)
        inner = functional.relu(self._dropped(self.inner(normed)))
        result: Tensor = normed + self._dropped(self.outer(inner))
        return result

    def _dropped(self, values: Tensor) -> Tensor:
        return functional.dropout(values, self.sizes.dropout, self.training)


def _unpacked(state: Tensor, known: Tensor) -> Tensor:
    """Return the n states at their places, shape (B, L, dim), 0 elsewhere."""
    full = state.new_zeros(*known.shape, state.shape[1])
    full[known] = state
    return full


class SequenceSteps:
    """Yields all steps of a training: events, the event after each, and an unliked item for each.

    Args:
        sequences: Shape (num_users, max_events + 1), int64: latest likes, oldest first, num_items
            in front of those who have fewer; rows with two likes at least.
        unliked: Draws items for a user's row number.
        num_items: Stands for "no event".
        batch_size: Users in a step.
        num_epochs: Passes over the users.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        sequences: IntArray,
        unliked: UnlikedItems,
        num_items: int,
        *,
        batch_size: int,
        num_epochs: int,
        seed: int,
    ) -> None:
        self.sequences, self.unliked, self.num_items = sequences, unliked, num_items
        self.batch_size, self.num_epochs, self.seed = batch_size, num_epochs, seed

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield the steps, epoch after epoch."""
        for epoch in range(self.num_epochs):
            generator = np.random.default_rng([self.seed, epoch])
            order = generator.permutation(len(self.sequences))
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                events = without_empty(self.sequences[rows, :-1], self.num_items)
                following = self.sequences[rows, -events.shape[1] :]
                following = np.where(events < self.num_items, following, self.num_items)
                users = np.repeat(rows, events.shape[1])
                other = self.unliked.draw(users, generator).reshape(events.shape)
                yield tuple(torch.from_numpy(part) for part in (events, following, other))


def without_empty(events: IntArray, num_items: int) -> IntArray:
    """Return the columns from the first on that holds an event, at least the last one.

    Args:
        events: Shape (B, L), oldest first, ``num_items`` in front of those who have fewer.
        num_items: Stands for "no event".
    """
    longest = int((events < num_items).sum(axis=1).max(initial=1))
    return events[:, -longest:]
