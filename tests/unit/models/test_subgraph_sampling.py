"""Steps over a drawn part of the graph: what they equal, what they leave out, that they repeat."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from towers_data import NUM_ITEMS, NUM_USERS, cold_task, planted, recall

from kgrec.models import graph_blocks
from kgrec.models.graph_layers import RULES
from kgrec.models.graph_part import GraphPart
from kgrec.models.hybrid import TwoTowers
from kgrec.models.neighbours import Neighbours
from kgrec.models.tower_inputs import Assembly, assemble
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig

SMALL = TowersConfig(
    embedding_dim=16, steps=60, users_per_step=50, threads=1, device="cpu", sampled_above=0
)
WHOLE = 10**9


def _assembled(**settings: object) -> Assembly:
    assembly = assemble(planted(), SMALL.model_copy(update=settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in assembly.model.parameters():  # none is zero, so that every path counts
            weight.add_(torch.randn_like(weight) * 0.1)
    assembly.model.eval()
    return assembly


def _part(assembly: Assembly, asked: list[int], left_out: list[int], seed: int = 1) -> GraphPart:
    assert assembly.sampler.parts is not None
    return assembly.sampler.parts.around(np.array(asked), np.array(left_out, dtype=np.int64), seed)


def _gradients(model: TwoTowers, vectors: Tensor, bias: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    weights = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))
    ((vectors * weights).sum() + (bias * weights[:, 0]).sum()).backward()
    return {
        name: weight.grad.to_dense()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_all_neighbours_drawn_give_vectors_and_gradients_of_the_whole_graph(
    rule: str, layers: int
) -> None:
    settings = {"neighbours": 1000, "edge_dropout": 0.0}
    assembly = _assembled(**settings, graph_rule=rule, graph_layers=layers)
    model, asked, left_out = assembly.model, [3, 70, 5, 41], [0, 1, 2, 40, 41]
    part = _part(assembly, asked, left_out)
    hidden = torch.zeros(NUM_ITEMS, dtype=torch.bool)
    hidden[[5, 9, 44]] = True
    kept = torch.ones(len(assembly.sampler.interactions.positives()))
    kept[left_out] = 0.0
    whole = model.items(hidden, torch.ones(assembly.sampler.num_edges), kept)
    drawn = model.items(hidden[part.items], part=part)
    for some, everything in zip(drawn, whole, strict=True):
        torch.testing.assert_close(some, everything[asked], rtol=1e-4, atol=1e-5)
    found = _gradients(model, *drawn)
    for name, expected in _gradients(model, *(rows[asked] for rows in whole)).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-4, msg=name)


def test_messages_of_drawn_neighbours_are_on_average_those_of_all() -> None:
    assembly = _assembled(neighbours=2, edge_dropout=0.3)
    tower, asked, left_out = assembly.model.items, [0, 7, 33, 70], [5, 6, 7]
    knowledge, interactions = tower.knowledge, tower.interactions
    assert knowledge is not None
    assert interactions is not None
    items = torch.randn(NUM_ITEMS, 16)
    kept = torch.ones(len(assembly.sampler.interactions.positives()))
    kept[left_out] = 0.0
    told, heard = [], []
    with torch.no_grad():
        for seed in range(1500):
            part = _part(assembly, asked, left_out, seed)
            told.append(knowledge(items[part.items], None, part)[:4])
            heard.append(interactions(items[part.items[: part.num_hearing]], None, part))
        whole = knowledge(items, torch.ones(assembly.sampler.num_edges))[asked]
        for drawn, expected in ((told, whole), (heard, interactions(items, kept)[asked])):
            draws = torch.stack(drawn)
            error = draws.std(dim=0) / len(draws) ** 0.5
            assert ((draws.mean(dim=0) - expected).abs() <= 5 * error + 1e-6).all()
            assert (error > 0).any()


def test_draw_leaves_out_what_it_is_told_and_takes_nothing_twice() -> None:
    rng = np.random.default_rng(0)
    target, source = rng.integers(0, 10, 300), rng.integers(0, 50, 300)
    neighbours = Neighbours.of(target, source, 12)
    left_out = rng.random(300) < 0.5
    nodes = np.array([9, 2, 11, 4])  # 11 has no neighbours
    less = np.bincount(target[left_out], minlength=12)[nodes]
    for key in range(50):
        drawn = neighbours.draw(nodes, 8, 0.0, key, left_out, less)
        edges = neighbours.edge[drawn.place]
        assert not left_out[edges].any()
        assert len(np.unique(edges)) == len(edges)
        assert (target[edges] == nodes[drawn.row]).all()
        assert (neighbours.source[drawn.place] == source[edges]).all()
        assert np.bincount(drawn.row, minlength=4).tolist() == [8, 8, 0, 8]


def test_draw_of_a_node_depends_on_key_and_node_alone() -> None:
    rng = np.random.default_rng(1)
    neighbours = Neighbours.of(rng.integers(0, 10, 400), rng.integers(0, 50, 400), 10)
    alone = neighbours.draw(np.array([6]), 5, 0.3, 3)
    among = neighbours.draw(np.array([1, 6, 8]), 5, 0.3, 3)
    assert alone.place.tolist() == among.place[among.row == 1].tolist()
    other = neighbours.draw(np.array([6]), 5, 0.3, 4)
    assert alone.place.tolist() != other.place.tolist()


def test_every_neighbour_is_drawn_as_often() -> None:
    neighbours = Neighbours.of(np.zeros(20, dtype=np.int64), np.arange(20), 1)
    drawn = [neighbours.draw(np.array([0]), 4, 0.0, key).place for key in range(4000)]
    counts = np.bincount(np.concatenate(drawn), minlength=20)
    assert np.abs(counts - 800).max() < 130  # five deviations


def test_step_leaves_out_the_likes_that_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = _assembled().sampler
    assert sampler.parts is not None
    told: list[np.ndarray] = []
    around = sampler.parts.around

    def recorded(asked: np.ndarray, left_out: np.ndarray, seed: int) -> GraphPart:
        told.append(left_out)
        return around(asked, left_out, seed)

    monkeypatch.setattr(sampler.parts, "around", recorded)
    step, likes = sampler.step(2), sampler.interactions.positives()
    assert step.part is not None
    users = (step.inputs.profile - 1).numpy()
    items = step.part.items[: step.part.num_asked].numpy()
    targets = set(zip(users[step.rows].tolist(), items[step.columns].tolist(), strict=True))
    rows = told[0]
    left_out = set(zip(likes.user_idx[rows].tolist(), likes.item_idx[rows].tolist(), strict=True))
    assert targets == left_out
    assert step.interactions_kept is None


@pytest.mark.parametrize("settings", [{}, {"max_softmax_items": 10, "sampled_items": 20}])
def test_step_over_a_part_is_the_same_whenever_it_is_drawn(settings: dict[str, int]) -> None:
    sampler = _assembled(**settings).sampler
    first, again = sampler.step(5), _assembled(**settings).sampler.step(5)
    assert first.part is not None
    assert again.part is not None
    for name in ("items", "entities", "message_values", "to_users_values", "to_items_values"):
        assert torch.equal(getattr(first.part, name), getattr(again.part, name))
    for name in ("rows", "columns", "hidden", "candidates", "seen_columns"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    other = sampler.step(6).part
    assert other is not None
    assert not torch.equal(first.part.message_values, other.message_values)


def test_ids_of_hidden_items_are_not_used() -> None:
    assembly = _assembled(hidden_items=0.5)
    step, model = assembly.sampler.step(1), assembly.model
    assert step.part is not None
    before = model.loss(step)
    rows = step.part.items[step.hidden]
    with torch.no_grad():
        model.items.ids[rows] += 5.0
        model.items.id_bias[rows] += 5.0
        assert torch.equal(model.loss(step), before)
        model.items.ids[step.part.items[~step.hidden]] += 5.0
        assert not torch.equal(model.loss(step), before)


def test_an_epoch_asks_every_user_once() -> None:
    sampler = _assembled(users_per_step=50).sampler
    assert sampler.steps_per_epoch == 3
    for epoch in range(2):
        numbers = range(3 * epoch, 3 * epoch + 3)
        users = torch.cat([sampler.step(number).inputs.profile for number in numbers])
        assert users.sort().values.tolist() == list(range(1, NUM_USERS + 1))


def test_part_moves_whole_to_a_device() -> None:
    step = _assembled().sampler.step(0)
    moved = step.to(torch.device("meta"))
    assert moved.part is not None
    tensors = [getattr(moved.part, item.name) for item in fields(moved.part)]
    assert {value.device.type for value in tensors if isinstance(value, Tensor)} == {"meta"}


@pytest.mark.parametrize("rule", RULES)
def test_all_items_in_blocks_are_those_of_one_product(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_blocks, "_MESSAGES", 7)
    blocks = _assembled(graph_rule=rule)
    together = _assembled(graph_rule=rule, sampled_above=WHOLE)
    for some, others in zip(blocks.model.all_items(), together.model.all_items(), strict=True):
        torch.testing.assert_close(some, others, rtol=1e-5, atol=1e-6)
    held = [assembly.model.items.knowledge for assembly in (blocks, together)]
    assert [one is not None and one._whole is None for one in held] == [True, False]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"link_weight": 0.2, "link_triples": 64},
        {"graph_layers": 0},
        {"use_interaction_graph": False},
        {"max_softmax_items": 10, "sampled_items": 40},
    ],
)
def test_towers_trained_on_parts_learn(settings: dict[str, object]) -> None:
    train = planted()
    fitted = TowersScorer(SMALL.model_copy(update={"neighbours": 3, **settings})).fit(train)
    losses = [point.loss for point in fitted.curve]
    assert losses[-1] < losses[0] - 0.3
    if settings.get("graph_layers") != 0:
        task = cold_task(train)  # random: .25
        assert recall(fitted.scores(task.histories), task) > 0.8


class _KilledError(Exception):
    pass


def test_killed_fit_over_parts_goes_on_with_the_numbers_of_an_uninterrupted_one(
    tmp_path: Path,
) -> None:
    train = planted()
    config = SMALL.model_copy(update={"eval_every_steps": 15, "steps": 45})
    whole = TowersScorer(config).fit(train)

    def kill(step: int, steps: int, loss: float) -> None:
        if step == 30:
            raise _KilledError

    with pytest.raises(_KilledError):
        TowersScorer(config, checkpoint_dir=tmp_path, progress=kill).fit(train)
    resumed = TowersScorer(config, checkpoint_dir=tmp_path).fit(train)
    np.testing.assert_array_equal(resumed.item_vectors(), whole.item_vectors())
    assert resumed.curve == whole.curve
