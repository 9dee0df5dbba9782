"""A cross network (DCN-v2) over standardised features with a listwise loss."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from kgrec.data.interactions import FloatArray
from kgrec.ranking.behaviour import Behaviour
from kgrec.ranking.cross_weights import CrossWeights, Layer
from kgrec.ranking.listwise import ListwiseConfig, ListwiseRanker
from kgrec.ranking.piecewise import PiecewiseLinear
from kgrec.ranking.torch_ranker import TorchRankerConfig


class CrossNetworkConfig(ListwiseConfig):
    """Sizes and training of the cross network."""

    cross_layers: int = Field(1, ge=0)
    """Cross layers; 0 leaves the MLP alone."""
    rank: int = Field(8, ge=1)
    """Rank of each cross layer's matrices."""
    experts: int = Field(1, ge=1)
    """Low-rank matrices of a cross layer, mixed by gates that look at the row; 1 has no gate."""
    stacked: bool = False
    """Whether the MLP reads the last cross layer, in place of the features beside it."""
    hidden: tuple[int, ...] = (32,)
    """Widths of the MLP's layers; empty together with cross_layers 0 is a linear ranker."""
    pieces: int = Field(0, ge=0)
    """Pieces that each feature's range is cut into, by quantiles; the MLP reads how far the value
    has come through each, beside the value. 0: the value alone."""
    dropout: float = Field(0.3, ge=0.0, lt=1.0)
    """Dropout after each MLP layer."""


class CrossNetwork(nn.Module):
    """score = w' x_L + MLP(x_0 or x_L), x_{l+1} = x_0 * sum_e g_e(x_l) (U_e V_e x_l + b_e) + x_l.

    Source: Wang et al., DCN V2, WWW 2021: low rank (equation 4) and mixed (equation 5) without
    the inner nonlinearity, parallel or stacked.
    """

    def __init__(self, num_features: int, config: CrossNetworkConfig) -> None:
        super().__init__()
        self.feature_dropout, self.stacked = config.feature_dropout, config.stacked
        self.experts = config.experts
        self.down = nn.ModuleList(
            nn.Linear(num_features, config.rank * config.experts, bias=False)
            for _ in range(config.cross_layers)
        )
        self.up = nn.ModuleList(
            nn.Linear(config.rank * config.experts, num_features)
            for _ in range(config.cross_layers)
        )
        self.gate = nn.ModuleList(
            nn.Linear(num_features, config.experts)
            for _ in range(config.cross_layers if config.experts > 1 else 0)
        )
        pieces = config.pieces if config.hidden else 0
        self.places = PiecewiseLinear(num_features, pieces) if pieces else None
        self.deep, width = mlp(num_features * (1 + pieces), config.hidden, config.dropout)
        self.shallow_output = nn.Linear(num_features, 1)
        self.deep_output = nn.Linear(width, 1) if config.hidden else None
        # the network starts as a linear one; crosses and the MLP grow only where they help
        for layer in (*self.up, *([self.deep_output] if self.deep_output is not None else [])):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the scores of n rows of F standardised features, shape (n,)."""
        if self.training and self.feature_dropout:
            features = features * (torch.rand_like(features) >= self.feature_dropout)
        crossed = features
        for place, (down, up) in enumerate(zip(self.down, self.up, strict=True)):
            low = down(crossed)  # (n, experts * rank)
            if self.experts > 1:
                gate = torch.softmax(self.gate[place](crossed), dim=1)  # (n, experts)
                low = (low.unflatten(1, (self.experts, -1)) * gate.unsqueeze(2)).flatten(1)
            crossed = features * up(low) + crossed
        score: torch.Tensor = self.shallow_output(crossed)
        if self.deep_output is not None:
            read = crossed if self.stacked else features
            if self.places is not None:
                read = torch.cat([read, self.places(features)], dim=1)
            score = score + self.deep_output(self.deep(read))
        return score.squeeze(1)  # (n,)

    @cached_property
    def weights(self) -> CrossWeights:
        """The weights for scoring without torch, in the same memory: training changes them."""
        return CrossWeights(
            tuple(map(_matrix, self.down)),
            tuple(map(_layer, self.up)),
            tuple(map(_layer, self.gate)),
            tuple(_layer(layer) for layer in self.deep if isinstance(layer, nn.Linear)),
            _layer(self.shallow_output),
            None if self.deep_output is None else _layer(self.deep_output),
            self.stacked,
            None if self.places is None else self.places.edges.numpy(),
        )


def _matrix(layer: nn.Module) -> FloatArray:
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach().numpy()


def _layer(layer: nn.Module) -> Layer:
    assert isinstance(layer, nn.Linear)
    return _matrix(layer), layer.bias.detach().numpy()


def mlp(num_inputs: int, hidden: tuple[int, ...], dropout: float) -> tuple[nn.Sequential, int]:
    """Return GELU layers of the given widths with dropout after each, and the last width."""
    widths, layers = (num_inputs, *hidden), []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers), widths[-1]


class CrossNetworkRanker(ListwiseRanker):
    """The cross network behind the ranker contract."""

    name: ClassVar[str] = "cross_network"
    config: CrossNetworkConfig
    _config_type: ClassVar[type[TorchRankerConfig]] = CrossNetworkConfig

    def _make_network(self, facts: dict[str, int]) -> nn.Module:
        return CrossNetwork(facts["features"], self.config)

    def _prepare(self, network: nn.Module, scaled: FloatArray) -> None:
        assert isinstance(network, CrossNetwork)  # as it was made
        if network.places is not None:
            network.places.place(scaled)

    def _forward(self, scaled: FloatArray, behaviour: Behaviour | None) -> FloatArray:
        """Return the scores of rows of scaled features, without torch."""
        assert isinstance(self._network, CrossNetwork)  # as it was made, or loaded
        return self._network.weights.scores(scaled)
