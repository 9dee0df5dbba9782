"""Losses of the towers: softmax over the catalogue, exact or sampled, and what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Targets:
    """What rows of logits are asked for.

    Attributes:
        rows, columns: Shape (num_targets,), int64: candidate columns[t] is a target of rows[t].
        weights: Shape (num_targets,), float32.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the targets on ``device``."""
        return type(self)(*(part.to(device) for part in (self.rows, self.columns, self.weights)))


def softmax_loss(logits: Tensor, rows: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of -log softmax(logits)[row, column].

    Args:
        logits: Shape (B, num_candidates), float32; -inf leaves a candidate out of its row.
        rows: Shape (num_targets,), int64, the row of each target.
        columns: Shape (num_targets,), int64: candidate columns[t] is a target of row rows[t].
        weights: Shape (num_targets,), float32.

    Returns:
        A scalar; 0 where there are no targets.
    """
    log_total = torch.logsumexp(logits, dim=1)
    losses = log_total[rows] - logits[rows, columns]
    return (losses * weights).sum() / weights.sum().clamp_min(1e-12)


def dislike_loss(logits: Tensor, likes: tuple[Tensor, Tensor], dislikes: Targets) -> Tensor:
    """Return the weighted mean of softplus(logit of a dislike - mean logit of its row's likes).

    Args:
        logits: Shape (B, num_candidates), float32.
        likes: Rows and columns of the likes, each of shape (num_likes,), int64.
        dislikes: Rows, columns and weights of the dislikes; those in a row without a like are
            left out.

    Returns:
        A scalar; 0 where there are no dislikes.

    Source: BPR (Rendle et al. 2009) with the mean of the likes in place of one drawn like.
    """
    rows, columns = likes
    nothing = torch.zeros(len(logits), device=logits.device)
    count = nothing.index_add(0, rows, torch.ones_like(logits[rows, columns]))
    liked = nothing.index_add(0, rows, logits[rows, columns]) / count.clamp_min(1.0)
    weights = dislikes.weights * (count[dislikes.rows] > 0)
    gap = logits[dislikes.rows, dislikes.columns] - liked[dislikes.rows]
    total = (nn.functional.softplus(gap) * weights).sum()
    return total / weights.sum().clamp_min(1e-12)


def contrastive_loss(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Return how badly row i of each side finds row i of the other, both ways averaged, a scalar.

    -log softmax over j of cos(left_i, right_j) / temperature, at i; 0 for less than two rows.

    Args:
        left: Shape (n, dim), float32.
        right: Shape (n, dim), float32.
        temperature: Above 0.

    Source: InfoNCE (van den Oord et al. 2018), both ways as in CLIP (Radford et al. 2021).
    """
    if len(left) < 2:
        return torch.zeros((), device=left.device)
    left, right = (nn.functional.normalize(side, dim=1, eps=1e-6) for side in (left, right))
    logits = left @ right.T / temperature
    own = torch.arange(len(left), device=left.device)
    found = nn.functional.cross_entropy(logits, own)
    return (found + nn.functional.cross_entropy(logits.T, own)) / 2


def log_inclusion(uniform_share: float, in_batch: Tensor) -> Tensor:
    """Return the log of the probability that each item is among the candidates of a step.

    Candidates are a uniform draw without replacement, joined with the targets of the batch. With
    the in-batch count of item i Poisson of mean m_i: q_i = 1 - (1 - uniform_share) exp(-m_i).
    Logits less log q_i make the sum of exp over the candidates an unbiased estimate of the sum
    over the catalogue; where everything is drawn q_i = 1 and the loss is the exact one.

    Args:
        uniform_share: Uniform draws / catalogue size, in 0..1.
        in_batch: Shape (num_candidates,), float32: mean number of targets a batch has at each.

    Returns:
        Shape (num_candidates,), float32, at most 0.

    Source: Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", eq. 3, for distinct candidates, and with uniform ones mixed in as in Yang et
    al. 2020, "Mixed negative sampling".
    """
    probability = 1.0 - (1.0 - uniform_share) * torch.exp(-in_batch)
    return probability.clamp_min(1e-12).log()
