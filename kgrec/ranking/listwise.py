"""Torch rankers that learn the order within lists: softmax cross-entropy, NDCG to stop by."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from kgrec.ranking.ranker import RankingRows, ndcg_of_lists
from kgrec.ranking.torch_ranker import Batch, TorchRanker, TorchRankerConfig


class ListwiseConfig(TorchRankerConfig):
    """Training of a ranker by lists."""

    binary_weight: float = Field(0.2, ge=0.0)
    """Weight of the binary cross-entropy beside the listwise loss."""


class ListwiseRanker(TorchRanker):
    """A torch ranker whose network gives a score, trained by lists, stopped by NDCG@20."""

    config: ListwiseConfig

    def _loss(self, outputs: torch.Tensor, rows: RankingRows, batch: Batch) -> torch.Tensor:
        label, group = torch.from_numpy(rows.label[batch.rows]), torch.from_numpy(batch.group)
        loss = listwise_loss(outputs, label, group, batch.num_lists)
        if self.config.binary_weight:
            binary = nn.functional.binary_cross_entropy_with_logits(outputs, label)
            loss = loss + self.config.binary_weight * binary
        return loss

    def _quality(self, val: RankingRows) -> float:
        return float(ndcg_of_lists(val, self.scores(val.values, val.behaviour)).mean())


def listwise_loss(
    scores: torch.Tensor, label: torch.Tensor, group: torch.Tensor, num_groups: int
) -> torch.Tensor:
    """Return the mean over lists of -sum_i y_i log softmax(s)_i / sum_i y_i.

    Args:
        scores: Shape (n,).
        label: Shape (n,), 1 or 0.
        group: Shape (n,), int64: the list of each row, 0..num_groups-1.
        num_groups: Lists; those without a positive do not count.
    """
    high = torch.full((num_groups,), -torch.inf).scatter_reduce(0, group, scores.detach(), "amax")
    exponent = torch.exp(scores - high[group])
    total = torch.zeros(num_groups).index_add(0, group, exponent)
    log_softmax = scores - high[group] - torch.log(total[group])
    positives = torch.zeros(num_groups).index_add(0, group, label)
    gain = torch.zeros(num_groups).index_add(0, group, label * log_softmax)
    counted = positives > 0
    return -(gain[counted] / positives[counted]).sum() / counted.sum().clamp(min=1)
