"""Softmax losses over the catalogue: exact, or sampled with the logQ correction."""

from __future__ import annotations

import torch
from torch import Tensor


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
