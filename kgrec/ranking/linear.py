"""The linear softmax ranker: a weighted sum of standardised features, trained listwise."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kgrec.ranking.cross_network import CrossNetworkConfig, CrossNetworkRanker
from kgrec.ranking.torch_ranker import TorchRankerConfig


class LinearConfig(CrossNetworkConfig):
    """A cross network without cross layers and without an MLP."""

    cross_layers: int = Field(0, ge=0, le=0)
    """None: the ranker is linear."""
    hidden: tuple[()] = ()
    """None: the ranker is linear."""
    learning_rate: float = Field(5e-3, gt=0.0)
    """AdamW's step size."""
    weight_decay: float = Field(1e-3, ge=0.0)
    """AdamW's decay."""


class LinearRanker(CrossNetworkRanker):
    """The baseline of rankers: what it gains comes from the sources, not from interactions."""

    name: ClassVar[str] = "linear"
    _config_type: ClassVar[type[TorchRankerConfig]] = LinearConfig
