"""A ranker that attends to the user's last events as the candidate asks (DIN)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.ranking.behaviour import Behaviour
from kgrec.ranking.cross_network import CrossNetwork, CrossNetworkConfig, mlp
from kgrec.ranking.listwise import ListwiseRanker
from kgrec.ranking.piecewise import PiecewiseLinear
from kgrec.ranking.ranker import RankingRows
from kgrec.ranking.torch_ranker import Inputs, TorchRankerConfig


class TargetAttentionConfig(CrossNetworkConfig):
    """Sizes and training of the ranker with target attention; its features are crossed as well."""

    events: int = Field(50, ge=1)
    """Last events that are looked at, at most ``history_events`` of the pipeline."""
    item_dim: int = Field(8, ge=1)
    """Length of the item vectors."""
    use_ids: bool = False
    """Whether an item with train events has a learned vector of its own beside its text's; it has
    where there are no texts at all."""
    id_dropout: float = Field(0.3, ge=0.0, lt=1.0)
    """Share of own vectors left out in training, so that content alone suffices too."""
    attention_hidden: int = Field(8, ge=1)
    """Width of the attention's hidden layer."""


class TargetAttention(nn.Module):
    """score = cross network(x) + MLP(x, e, u, e * u), u = sum_t a(e, h_t, t) h_t.

    e = W content + E[id] of the candidate, h_t the same of event t with a learned vector of whether
    it was liked. a is a perceptron of e, h_t, e * h_t and the event's age in events; it is
    not normalised, so that strength of interest is kept.

    Source: Zhou et al., Deep Interest Network for click-through rate prediction, KDD 2018. Here
    GELU stands for Dice, the ages enter, and the cross network (whose MLP is left out) gives the
    features' part.
    """

    def __init__(self, facts: dict[str, int], config: TargetAttentionConfig) -> None:
        super().__init__()
        dim, width = config.item_dim, config.attention_hidden
        self.id_dropout = config.id_dropout
        self.features = CrossNetwork(
            facts["features"], config.model_copy(update={"hidden": (), "stacked": False})
        )
        self.content = nn.Linear(facts["content"], dim, bias=False) if facts["content"] else None
        by_id = config.use_ids or self.content is None
        self.own = nn.Embedding(facts["items"] + 1, dim, padding_idx=0) if by_id else None
        self.liked = nn.Embedding(2, dim)
        self.of_item = nn.Linear(dim, width)
        self.of_event = nn.Linear(dim, width, bias=False)
        self.of_both = nn.Parameter(torch.randn(width, dim) / dim**0.5)
        self.age = nn.Parameter(torch.zeros(facts["events"], width))
        self.strength = nn.Linear(width, 1)
        features = facts["features"]
        self.places = PiecewiseLinear(features, config.pieces) if config.pieces else None
        inputs = features * (1 + config.pieces) + 3 * dim
        self.deep, last = mlp(inputs, config.hidden, config.dropout)
        self.output = nn.Linear(last, 1)
        if self.own is not None:
            nn.init.normal_(self.own.weight, std=0.1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(
        self,
        features: torch.Tensor,
        item: torch.Tensor,
        item_content: torch.Tensor,
        list_of_row: torch.Tensor,
        event: torch.Tensor,
        event_content: torch.Tensor,
        event_kind: torch.Tensor,
    ) -> torch.Tensor:
        """Return the scores of n rows in G lists with L events each, shape (n,).

        Args:
            features: Shape (n, F), standardised.
            item: Shape (n,), int64: 1 + item_idx, 0 where the item has no vector of its own.
            item_content: Shape (n, D).
            list_of_row: Shape (n,), int64, 0..G-1.
            event: Shape (G, L), int64, as ``item``.
            event_content: Shape (G, L, D).
            event_kind: Shape (G, L), int64: 2 liked, 1 not liked, 0 no event.
        """
        own = self._vectors(item, item_content)  # (n, d)
        events = self._vectors(event, event_content)  # (G, L, d)
        events = events + self.liked((event_kind - 1).clamp(min=0))
        there = (event_kind > 0).to(events.dtype)  # (G, L)
        events = events * there.unsqueeze(2)
        # a hidden unit is linear in e, h and e * h: the first two are made once an item, not a pair
        hidden = (self.of_event(events) + self.age)[list_of_row]  # (n, L, w)
        keys = own.unsqueeze(1) * self.of_both  # (n, w, d)
        history = events[list_of_row]  # (n, L, d)
        hidden = hidden + self.of_item(own).unsqueeze(1) + history @ keys.transpose(1, 2)
        weight = self.strength(nn.functional.gelu(hidden)).squeeze(2) * there[list_of_row]  # (n, L)
        interest = (weight.unsqueeze(1) @ history).squeeze(1) / event.shape[1] ** 0.5  # (n, d)
        places = [] if self.places is None else [self.places(features)]
        joined = torch.cat([features, *places, own, interest, own * interest], dim=1)
        score: torch.Tensor = self.features(features) + self.output(self.deep(joined)).squeeze(1)
        return score

    def _vectors(self, item: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
        """Return the vectors of items, one more axis than ``item``."""
        vectors: torch.Tensor = torch.zeros(1) if self.content is None else self.content(content)
        if self.own is None:
            return vectors
        own: torch.Tensor = self.own(item)
        if self.training and self.id_dropout:
            own = own * (torch.rand(item.shape) >= self.id_dropout).unsqueeze(-1)
        return vectors + own


class TargetAttentionRanker(ListwiseRanker):
    """Target attention behind the ranker contract; a cold item is known by its content."""

    name: ClassVar[str] = "target_attention"
    reads_behaviour: ClassVar[bool] = True
    config: TargetAttentionConfig
    _config_type: ClassVar[type[TorchRankerConfig]] = TargetAttentionConfig
    _rows_at_a_time: ClassVar[int] = 8_192

    def _make_network(self, facts: dict[str, int]) -> nn.Module:
        return TargetAttention(facts, self.config)

    further_inputs: ClassVar[tuple[str, ...]] = (
        "item", "item_content", "list_of_row", "event", "event_content", "event_kind",
    )  # fmt: skip

    def _prepare(self, network: nn.Module, scaled: FloatArray) -> None:
        assert isinstance(network, TargetAttention)  # as it was made
        if network.places is not None:
            network.places.place(scaled)

    def _facts_of(self, rows: RankingRows) -> dict[str, int]:
        assert rows.behaviour is not None  # fit() has checked it
        items, content = rows.behaviour.content.shape
        events = min(self.config.events, rows.behaviour.history.shape[1])
        return super()._facts_of(rows) | {"items": items, "content": content, "events": events}

    def _further(self, behaviour: Behaviour | None) -> Inputs:
        assert behaviour is not None  # checked by the callers
        lists, group = np.unique(behaviour.list_of_row, return_inverse=True)
        history = behaviour.history[lists, : self._facts["events"]]  # (G, L)
        there = history >= 0
        event = np.where(there, history, 0)
        liked = behaviour.liked[lists, : self._facts["events"]]
        item = behaviour.item_idx
        return (
            self._ids(item, behaviour.known),
            behaviour.content[item],
            group.astype(np.int64),
            self._ids(event, there),
            behaviour.content[event],
            there.astype(np.int64) + liked,
        )

    def _example(self) -> Inputs:
        events, content = self._facts["events"], self._facts["content"]
        return (
            np.zeros(2, dtype=np.int64),
            np.zeros((2, content), dtype=np.float32),
            np.zeros(2, dtype=np.int64),
            np.zeros((2, events), dtype=np.int64),
            np.zeros((2, events, content), dtype=np.float32),
            np.zeros((2, events), dtype=np.int64),
        )

    def _ids(self, item: IntArray, known: BoolArray) -> IntArray:
        """Return 1 + item_idx; 0 for what is not known, or was added after training."""
        return np.where(known & (item < self._facts["items"]), item + 1, 0)
