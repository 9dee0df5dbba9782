"""Hard negatives of the sampled softmax: which they are, and what the correction makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from towers_data import NUM_ITEMS, NUM_USERS, planted

from kgrec.data.histories import HistoryBatch
from kgrec.models.look import Look
from kgrec.models.losses import log_inclusion, softmax_loss
from kgrec.models.tower_inputs import Assembly, assemble
from kgrec.models.towers_config import TowersConfig

SAMPLED = TowersConfig(
    embedding_dim=16,
    users_per_step=40,
    threads=1,
    device="cpu",
    max_softmax_items=10,
    sampled_items=12,
    hard_negatives=3,
)


@pytest.fixture
def assembly() -> Assembly:
    return assemble(planted(), SAMPLED)


def _histories() -> HistoryBatch:
    return HistoryBatch.from_interactions(planted().interactions, np.arange(NUM_USERS))


def test_look_keeps_its_scores_while_the_model_goes_on(assembly: Assembly) -> None:
    look = Look(assembly.model)
    before = look.scores(_histories())
    expected = assembly.model.eval().all_items()[0]
    assert torch.equal(look.vectors, expected)
    assembly.model.train()
    with torch.no_grad():
        for weight in assembly.model.parameters():
            weight.add_(0.3)
    assert torch.equal(look.scores(_histories()), before)
    assert assembly.model.training
    assert not torch.equal(Look(assembly.model).scores(_histories()), before)


def test_best_are_the_highest_scores_that_no_history_holds(
    assembly: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, histories = Look(assembly.model), _histories()
    scores = look.scores(histories).numpy().copy()
    scores[histories.row_of_event, histories.item_idx] = -np.inf
    expected = np.unique(np.argsort(-scores, axis=1, kind="stable")[:, :3])
    np.testing.assert_array_equal(look.best(histories, 3), expected)
    monkeypatch.setattr("kgrec.models.look._BLOCK_SCORES", 5 * NUM_ITEMS)
    np.testing.assert_array_equal(look.best(histories, 3), expected)
    unseen = np.unique(np.nonzero(scores > -np.inf)[1])
    np.testing.assert_array_equal(look.best(histories, 10 * NUM_ITEMS), unseen)


def test_hard_negatives_are_sure_candidates_and_the_others_keep_their_correction(
    assembly: Assembly,
) -> None:
    sampler = assembly.sampler
    plain = sampler.step(2)
    sampler.look = Look(assembly.model)
    step = sampler.step(2)
    users = (step.inputs.profile - 1).numpy()
    known = step.candidates[step.seen_columns]
    assert set(plain.candidates.tolist()) <= set(step.candidates.tolist())
    sure = step.candidates[step.log_q == 0]
    assert len(sure) >= SAMPLED.hard_negatives
    assert len(users) == 40
    assert len(known) >= len(plain.seen_columns)
    others = step.log_q < 0
    same = torch.isin(plain.candidates, step.candidates[others])
    assert torch.equal(step.candidates[others], plain.candidates[same])
    assert torch.equal(step.log_q[others], plain.log_q[same])
    for name in ("rows", "interactions_kept", "triples_kept", "hidden"):
        assert torch.equal(getattr(step, name), getattr(plain, name))


def test_exact_softmax_has_no_candidates_to_add_to() -> None:
    assembly = assemble(planted(), SAMPLED.model_copy(update={"max_softmax_items": 1000}))
    assembly.sampler.look = Look(assembly.model)
    assert len(assembly.sampler.step(0).candidates) == 0


def _errors(sure: Tensor) -> tuple[float, float]:
    """Return how far sampled gradients are from the exact one: their mean, and each by itself."""
    rng = np.random.default_rng(1)
    num_items, draws, rounds = 300, 15, 800
    logits = torch.from_numpy(rng.standard_normal((2, num_items)).astype(np.float32))
    logits[0, :4] = 6.0  # item 0 is the target of both rows, 1..3 its near twins
    logits[1, :4] = 5.0
    logits.requires_grad_()
    rows, columns, ones = torch.arange(2), torch.zeros(2, dtype=torch.int64), torch.ones(2)
    exact = torch.autograd.grad(softmax_loss(logits, rows, columns, ones), logits)[0]
    log_q = log_inclusion(draws / num_items, torch.zeros(num_items))
    log_q[0] = 0.0  # the target is always there
    log_q[sure] = 0.0
    mean, single = torch.zeros_like(exact), 0.0
    for _ in range(rounds):
        drawn = rng.choice(num_items, draws, replace=False)
        chosen = torch.from_numpy(np.unique(np.concatenate([[0], sure.numpy(), drawn])))
        sampled = logits[:, chosen] - log_q[chosen]
        loss = softmax_loss(sampled, rows, torch.searchsorted(chosen, columns), ones)
        found = torch.autograd.grad(loss, logits)[0]
        mean += found / rounds
        single += float((found - exact).abs().sum()) / rounds
    return float((mean - exact).abs().sum()), single


def test_sure_candidates_bring_each_steps_gradient_near_the_exact_one() -> None:
    """Near twins of a target hold most of the softmax: drawn at random, they are mostly absent."""
    none, twins = torch.empty(0, dtype=torch.int64), torch.tensor([1, 2, 3])
    mean_without, single_without = _errors(none)
    mean_with, single_with = _errors(twins)
    assert single_with < 0.5 * single_without
    assert mean_with < 0.2 * mean_without  # the log of a noisy sum is biased, less so of a calm one
    assert mean_with < 0.1
