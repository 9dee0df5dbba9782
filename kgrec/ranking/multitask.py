"""Clicks and conversions learned together: shared experts, a tower for each, the ESMM product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import nn

from kgrec.data.interactions import FloatArray
from kgrec.errors import DataError
from kgrec.evaluation.ctr_metrics import log_loss
from kgrec.ranking.cross_network import mlp
from kgrec.ranking.ranker import RankingRows
from kgrec.ranking.torch_ranker import Batch, TorchRanker, TorchRankerConfig

TASKS = 2  # click, conversion after a click


class MultiTaskConfig(TorchRankerConfig):
    """Experts, towers and losses of a model of clicks and conversions."""

    shared_experts: int = Field(1, ge=1)
    """Networks that both towers read, mixed by a gate for each tower; 1 without ``own_experts``
    is a shared bottom, more are MMoE."""
    own_experts: int = Field(0, ge=0)
    """Networks that one tower alone reads, beside the shared ones: PLE of one level."""
    expert_hidden: tuple[int, ...] = (32,)
    """Widths of an expert's layers."""
    tower_hidden: tuple[int, ...] = (16,)
    """Widths of a tower's layers."""
    dropout: float = Field(0.1, ge=0.0, lt=1.0)
    """Dropout after each layer."""
    learned_on: Literal["impressions", "clicks"] = "impressions"
    """Where conversions are learned: on all impressions, as the product of both probabilities
    (ESMM), or on clicked ones alone."""
    click_weight: float = Field(1.0, ge=0.0)
    """Weight of the clicks' loss; 0 learns conversions alone."""
    conversion_weight: float = Field(1.0, ge=0.0)
    """Weight of the conversions' loss."""
    rank_by: Literal["click", "conversion", "both"] = "both"
    """What scores are the log-odds of: a click, a conversion after one, or click and conversion."""
    feature_dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of feature values set to their mean in training."""
    weight_decay: float = Field(0.01, ge=0.0)
    """AdamW's decay."""


@dataclass(frozen=True)
class ConversionProbabilities:
    """What is foretold of n impressions.

    Attributes:
        click: Shape (n,), float32: P(click).
        conversion: Shape (n,), float32: P(conversion | click).
        both: Shape (n,), float32: P(click and conversion), the product.
    """

    click: FloatArray
    conversion: FloatArray
    both: FloatArray


class MultiTaskNetwork(nn.Module):
    """logit_k = tower_k(sum_e softmax(G_k x)_e expert_e(x)), e over shared and k's own experts.

    Source: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts, KDD 2018; own experts: Tang et al., Progressive Layered Extraction,
    RecSys 2020, with one level (CGC).
    """

    def __init__(self, num_features: int, config: MultiTaskConfig) -> None:
        super().__init__()
        self.feature_dropout = config.feature_dropout
        self.shared, self.own = config.shared_experts, config.own_experts
        experts = self.shared + TASKS * self.own
        made = [mlp(num_features, config.expert_hidden, config.dropout) for _ in range(experts)]
        self.experts = nn.ModuleList(network for network, _ in made)
        width = made[0][1]
        self.gates = nn.ModuleList(
            nn.Linear(num_features, self.shared + self.own) for _ in range(TASKS)
        )
        towers = [mlp(width, config.tower_hidden, config.dropout) for _ in range(TASKS)]
        self.towers = nn.ModuleList(
            nn.Sequential(tower, nn.Linear(last, 1)) for tower, last in towers
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits of click and of conversion after a click, shape (n, 2)."""
        if self.training and self.feature_dropout:
            features = features * (torch.rand_like(features) >= self.feature_dropout)
        found = torch.stack([expert(features) for expert in self.experts], dim=1)  # (n, E, w)
        logits = []
        for task, (gate, tower) in enumerate(zip(self.gates, self.towers, strict=True)):
            start = self.shared + task * self.own
            seen = torch.cat([found[:, : self.shared], found[:, start : start + self.own]], dim=1)
            weight = torch.softmax(gate(features), dim=1)  # (n, shared + own)
            logits.append(tower((weight.unsqueeze(1) @ seen).squeeze(1)))
        return torch.cat(logits, dim=1)  # (n, 2)


class MultiTaskRanker(TorchRanker):
    """A model of clicks and conversions behind the ranker contract.

    It learns from rows whose ``label`` is a click and whose ``conversion`` says what followed. On
    all impressions, conversions are learned as P(click) P(conversion | click): the second factor is
    then fitted for all that is shown, though it is never seen alone.

    Source: Ma et al., Entire Space Multi-Task Model, SIGIR 2018.
    """

    name: ClassVar[str] = "multitask"
    config: MultiTaskConfig
    _config_type: ClassVar[type[TorchRankerConfig]] = MultiTaskConfig

    def _make_network(self, facts: dict[str, int]) -> nn.Module:
        return MultiTaskNetwork(facts["features"], self.config)

    def fit(self, train: RankingRows, val: RankingRows | None = None) -> Self:
        """Train by AdamW, stopping on the log loss of ``val`` where it is given.

        Raises:
            DataError: The rows say nothing of conversions.
        """
        for rows in (train, val):
            if rows is not None and rows.conversion is None:
                raise DataError(
                    "Expected rows that say which clicks became conversions for the ranker "
                    f"'{self.name}', got clicks alone; set RankingRows.conversion"
                )
        return super().fit(train, val)

    def probabilities(self, values: FloatArray) -> ConversionProbabilities:
        """Return P(click), P(conversion | click) and their product of n impressions.

        Args:
            values: Shape (n, F).
        """
        click, conversion = (0.5 * (1.0 + np.tanh(0.5 * self.outputs(values)))).T
        return ConversionProbabilities(click, conversion, click * conversion)

    def _score(self, outputs: FloatArray) -> FloatArray:
        if self.config.rank_by == "click":
            return outputs[:, 0]
        if self.config.rank_by == "conversion":
            return outputs[:, 1]
        # log p - log(1 - p) of p = p1 p2, from logits, so that small products keep their order
        log_both = -np.logaddexp(0.0, -outputs).sum(axis=1)
        return np.asarray(log_both - np.log(-np.expm1(np.minimum(log_both, -1e-6))), np.float32)

    def _loss(self, outputs: torch.Tensor, rows: RankingRows, batch: Batch) -> torch.Tensor:
        assert rows.conversion is not None  # fit() has checked it
        config, cross_entropy = self.config, nn.functional.binary_cross_entropy_with_logits
        click = torch.from_numpy(rows.label[batch.rows])
        conversion = torch.from_numpy(rows.conversion[batch.rows])
        loss = config.click_weight * cross_entropy(outputs[:, 0], click)
        if config.learned_on == "impressions":
            log_both = nn.functional.logsigmoid(outputs).sum(dim=1)
            none = torch.log(-torch.expm1(log_both.clamp(max=-1e-6)))
            found = -(conversion * log_both + (1.0 - conversion) * none).mean()
        else:
            each = cross_entropy(outputs[:, 1], conversion, reduction="none")
            found = (each * click).sum() / click.sum().clamp(min=1.0)
        return loss + config.conversion_weight * found

    def _quality(self, val: RankingRows) -> float:
        """Return minus the log loss of what is learned."""
        assert val.conversion is not None  # fit() has checked it
        found = self.probabilities(val.values)
        clicked, bought = val.label > 0, val.conversion > 0
        config = self.config
        quality = -config.click_weight * log_loss(clicked, found.click)
        if config.learned_on == "impressions":
            return quality - config.conversion_weight * log_loss(bought, found.both)
        if not clicked.any():
            return quality
        seen = log_loss(bought[clicked], found.conversion[clicked])
        return quality - config.conversion_weight * seen
