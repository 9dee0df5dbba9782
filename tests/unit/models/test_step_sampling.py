"""Training steps: disjoint halves of a history, no target's own edge in the graph, resumable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from towers_data import NUM_ITEMS, planted

from kgrec.models.sampling import StepSampler, TrainingStep
from kgrec.models.towers_config import TowersConfig


def _sampler(**settings: object) -> StepSampler:
    train = planted()
    config = TowersConfig(users_per_step=50, **settings)
    return StepSampler(train.interactions, train.num_items, 40, config, seed=5)


def _targets(step: TrainingStep) -> set[tuple[int, int]]:
    users = (step.inputs.profile - 1).numpy()
    return set(zip(users[step.rows].tolist(), step.columns.tolist(), strict=True))


def test_targets_are_likes_that_do_not_stand_in_the_input() -> None:
    sampler = _sampler()
    step, events = sampler.step(3), sampler.interactions
    likes = events.positives()
    all_likes = set(zip(likes.user_idx.tolist(), likes.item_idx.tolist(), strict=True))
    users = (step.inputs.profile - 1).numpy()
    seen = set(zip(users[step.seen_rows].tolist(), step.seen_columns.tolist(), strict=True))
    assert _targets(step) <= all_likes
    assert not _targets(step) & seen
    assert set(step.rows.tolist()) == set(range(50))  # every user is asked for something


def test_no_target_edge_stands_in_the_graph_of_its_step() -> None:
    sampler = _sampler(edge_dropout=0.0)
    step, likes = sampler.step(1), sampler.interactions.positives()
    kept = step.interactions_kept.numpy() > 0
    edges = set(zip(likes.user_idx[kept].tolist(), likes.item_idx[kept].tolist(), strict=True))
    assert not edges & _targets(step)
    users = (step.inputs.profile - 1).numpy()
    outside = ~np.isin(likes.user_idx, users)
    assert kept[outside].all()  # users who are not asked keep theirs


def test_cut_in_time_asks_for_what_comes_after_the_input() -> None:
    sampler = _sampler(random_cut_share=0.0)
    step, events = sampler.step(2), sampler.interactions
    users = (step.inputs.profile - 1).numpy()
    when = {
        (u, i): t
        for u, i, t in zip(
            events.user_idx.tolist(), events.item_idx.tolist(), events.timestamp.tolist(),
            strict=True,
        )
    }  # fmt: skip
    for row, user in enumerate(users.tolist()):
        seen = [when[user, i] for i in step.seen_columns[step.seen_rows == row].tolist()]
        asked = [when[user, i] for i in step.columns[step.rows == row].tolist()]
        assert not seen or max(seen) < min(asked)


def test_step_is_the_same_whenever_it_is_drawn() -> None:
    first, again = _sampler().step(7), _sampler().step(7)
    for name in ("rows", "columns", "weights", "interactions_kept", "triples_kept", "hidden"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert first.seed == again.seed
    assert not torch.equal(first.hidden, _sampler().step(8).hidden)


def test_weights_are_one_over_the_root_of_a_users_targets() -> None:
    step = _sampler().step(0)
    counts = torch.bincount(step.rows)[step.rows]
    torch.testing.assert_close(step.weights, counts.float().rsqrt())


def test_large_catalogue_gets_candidates_with_their_probability() -> None:
    step = _sampler(max_softmax_items=10, sampled_items=20).step(4)
    candidates = step.candidates
    assert torch.equal(candidates, candidates.unique())
    assert 20 <= len(candidates) <= NUM_ITEMS
    assert (step.log_q <= 0).all()
    exact = _sampler().step(4)
    assert torch.equal(candidates[step.columns], exact.columns)
    in_input = set(zip(exact.seen_rows.tolist(), exact.seen_columns.tolist(), strict=True))
    sampled = zip(step.seen_rows.tolist(), candidates[step.seen_columns].tolist(), strict=True)
    assert set(sampled) == {pair for pair in in_input if pair[1] in set(candidates.tolist())}


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_hidden_items_are_the_wanted_share(share: float) -> None:
    sampler = _sampler(hidden_items=share)
    hidden = torch.stack([sampler.step(number).hidden for number in range(30)])
    assert abs(float(hidden.float().mean()) - share) < 0.05
