"""The softmax losses against plain formulas, and the sampled one against the exact one."""

from __future__ import annotations

import numpy as np
import torch

from kgrec.models.losses import log_inclusion, softmax_loss


def test_softmax_loss_equals_torch_cross_entropy() -> None:
    logits, targets = torch.randn(6, 11), torch.tensor([0, 3, 10, 2, 2, 7])
    expected = torch.nn.functional.cross_entropy(logits, targets)
    actual = softmax_loss(logits, torch.arange(6), targets, torch.ones(6))
    torch.testing.assert_close(actual, expected)


def test_softmax_loss_weights_several_targets_of_a_row() -> None:
    logits = torch.randn(2, 5)
    log_p = torch.log_softmax(logits, dim=1)
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([1, 4, 2])
    weights = torch.tensor([0.5, 0.5, 2.0])
    expected = -(0.5 * log_p[0, 1] + 0.5 * log_p[0, 4] + 2 * log_p[1, 2]) / 3
    torch.testing.assert_close(softmax_loss(logits, rows, columns, weights), expected)


def test_softmax_loss_without_targets_is_zero() -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert softmax_loss(torch.randn(2, 3), none, none, torch.empty(0)).item() == 0.0


def test_log_inclusion_of_everything_drawn_is_zero() -> None:
    assert log_inclusion(1.0, torch.tensor([0.0, 3.0])).tolist() == [0.0, 0.0]


def test_log_inclusion_without_in_batch_part_is_the_uniform_share() -> None:
    torch.testing.assert_close(log_inclusion(0.25, torch.zeros(3)).exp(), torch.full((3,), 0.25))


def test_log_inclusion_makes_sampled_sums_unbiased() -> None:
    """Mean over many samples of sum exp(logit - log q) equals the sum over the catalogue."""
    rng = np.random.default_rng(0)
    num_items, draws, targets = 200, 30, 25
    share = rng.dirichlet(np.full(num_items, 0.3))
    logits = torch.from_numpy(rng.standard_normal(num_items).astype(np.float32))
    log_q = log_inclusion(draws / num_items, torch.from_numpy((targets * share).astype(np.float32)))
    corrected, plain = [], []
    for _ in range(2000):
        uniform = rng.choice(num_items, draws, replace=False)
        in_batch = np.flatnonzero(rng.poisson(targets * share))
        chosen = torch.from_numpy(np.union1d(uniform, in_batch))
        corrected.append(float((logits - log_q)[chosen].exp().sum()))
        plain.append(float(logits[chosen].exp().sum()))
    exact = float(logits.exp().sum())
    error = np.std(corrected) / np.sqrt(len(corrected))
    assert abs(np.mean(corrected) - exact) < 4 * error
    assert np.mean(plain) < 0.6 * exact  # what the correction is for


def test_sampled_loss_has_the_gradient_of_the_exact_one() -> None:
    """Mean gradient over samples; a constant -log q of the target itself changes the value only."""
    rng = np.random.default_rng(1)
    num_items, batch, draws, rounds = 200, 4, 40, 600
    logits = torch.from_numpy(rng.standard_normal((batch, num_items)).astype(np.float32))
    logits.requires_grad_()
    popular = np.where(np.arange(num_items) < 30, 1.5, 0.0)  # mean targets of a batch at each item
    columns, rows, ones = torch.arange(batch), torch.arange(batch), torch.ones(batch)
    popular[:batch] = 50.0  # the targets themselves are in every batch
    log_q = log_inclusion(draws / num_items, torch.from_numpy(popular.astype(np.float32)))
    exact = torch.autograd.grad(softmax_loss(logits, rows, columns, ones), logits)[0]
    means = {True: torch.zeros_like(exact), False: torch.zeros_like(exact)}
    for _ in range(rounds):
        uniform = rng.choice(num_items, draws, replace=False)
        chosen = torch.from_numpy(np.union1d(uniform, np.flatnonzero(rng.poisson(popular))))
        for corrected, mean in means.items():
            sampled = logits[:, chosen] - log_q[chosen] * corrected
            loss = softmax_loss(sampled, rows, torch.searchsorted(chosen, columns), ones)
            mean += torch.autograd.grad(loss, logits)[0] / rounds
    error = {key: float((mean - exact).abs().sum()) for key, mean in means.items()}
    assert error[True] < 0.15
    assert error[False] > 3 * error[True]
