"""What stands beside the towers' softmax: known answers, and planted data on which it must help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from towers_data import COLD, NUM_ITEMS, NUM_USERS, make_tiny_bert, planted, taste_of

from kgrec.data.histories import HistoryBatch
from kgrec.models.hybrid import MetHead, TwoTowers
from kgrec.models.losses import Targets, contrastive_loss, dislike_loss, softmax_loss
from kgrec.models.sampling import StepSampler, TrainingStep
from kgrec.models.scorer import TrainingData
from kgrec.models.tower_inputs import assemble
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.models.user_tower import UserInputs

SMALL = TowersConfig(
    embedding_dim=16, steps=60, users_per_step=120, hidden_items=0.3, threads=1, device="cpu"
)


def _targets(rows: list[int], columns: list[int], weights: list[float]) -> Targets:
    return Targets(torch.tensor(rows), torch.tensor(columns), torch.tensor(weights))


def test_dislike_loss_compares_with_the_mean_like_of_the_row() -> None:
    logits = torch.tensor([[1.0, 3.0, 0.5, 0.0], [9.0, 9.0, 9.0, 9.0]])
    likes = (torch.tensor([0, 0]), torch.tensor([0, 1]))  # mean 2, row 1 has none
    dislikes = _targets([0, 0, 1], [2, 3, 3], [1.0, 3.0, 50.0])
    expected = (1.0 * np.log1p(np.exp(0.5 - 2.0)) + 3.0 * np.log1p(np.exp(0.0 - 2.0))) / 4.0
    assert float(dislike_loss(logits, likes, dislikes)) == pytest.approx(expected, rel=1e-6)


def test_dislike_loss_without_dislikes_is_zero() -> None:
    likes = (torch.tensor([0]), torch.tensor([1]))
    none = Targets(*(torch.empty(0, dtype=torch.int64),) * 2, torch.empty(0))
    assert float(dislike_loss(torch.randn(2, 4), likes, none)) == 0.0


def test_contrastive_loss_is_cross_entropy_both_ways() -> None:
    left, right = torch.randn(5, 8), torch.randn(5, 8)
    cosines = nn.functional.cosine_similarity(left[:, None], right[None], dim=2) / 0.1
    own = torch.arange(5)
    there, back = (nn.functional.cross_entropy(logits, own) for logits in (cosines, cosines.T))
    torch.testing.assert_close(contrastive_loss(left, right, 0.1), (there + back) / 2)


def test_contrastive_loss_knows_twins_from_strangers() -> None:
    twins = torch.eye(6)
    assert float(contrastive_loss(twins, 3.0 * twins, 0.1)) < 1e-3  # length does not matter
    strangers = float(contrastive_loss(torch.ones(6, 4), torch.ones(6, 4), 0.1))
    assert strangers == pytest.approx(np.log(6), rel=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_contrastive_loss_of_less_than_two_rows_is_zero(rows: int) -> None:
    assert float(contrastive_loss(torch.randn(rows, 4), torch.randn(rows, 4), 0.1)) == 0.0


def _sampler(train: TrainingData, **settings: object) -> StepSampler:
    config = SMALL.model_copy(update={"users_per_step": 50, **settings})
    return StepSampler(train.interactions, train.num_items, 40, config, seed=5)


def _pairs(step: TrainingStep, targets: Targets) -> set[tuple[int, int]]:
    users = (step.inputs.profile - 1)[targets.rows]
    items = targets.columns
    if len(step.candidates):
        items = step.candidates[items]
    return set(zip(users.tolist(), items.tolist(), strict=True))


@pytest.mark.parametrize("settings", [{}, {"max_softmax_items": 10, "sampled_items": 20}])
def test_met_and_disliked_are_what_is_not_known(settings: dict[str, object]) -> None:
    train = planted()
    step = _sampler(train, met_weight=0.5, dislike_weight=0.5, **settings).step(3)
    assert step.met is not None
    assert step.disliked is not None
    likes = Targets(step.rows, step.columns, step.weights)
    met, disliked, liked = (_pairs(step, t) for t in (step.met, step.disliked, likes))
    assert met == disliked | liked
    assert not disliked & liked
    assert disliked
    events = train.interactions
    low = events.take(~events.positive)
    assert disliked <= set(zip(low.user_idx.tolist(), low.item_idx.tolist(), strict=True))
    counts = torch.bincount(step.met.rows)[step.met.rows]
    torch.testing.assert_close(step.met.weights, counts.float().rsqrt())


def test_what_stands_in_the_history_is_not_met_anew() -> None:
    train = planted()
    events = train.interactions
    first = np.searchsorted(events.user_idx, events.user_idx)
    items = np.where(events.positive, events.item_idx, events.item_idx[first])  # rated low again
    train = replace(train, interactions=replace(events, item_idx=items))
    rated = train.interactions.take(~events.positive)
    low = set(zip(rated.user_idx.tolist(), rated.item_idx.tolist(), strict=True))
    sampler = _sampler(train, met_weight=0.5, dislike_weight=0.5)
    repeats = 0
    for number in range(4):
        step = sampler.step(number)
        assert step.met is not None
        assert step.disliked is not None
        seen = _pairs(step, Targets(step.seen_rows, step.seen_columns, step.weights))
        assert not seen & (_pairs(step, step.met) | _pairs(step, step.disliked))
        repeats += len(seen & low)
    assert repeats > 0


@pytest.mark.parametrize(
    "settings", [{"met_weight": 0.5, "dislike_weight": 0.5}, {"alignment_weight": 0.5}]
)
def test_further_losses_draw_nothing(settings: dict[str, object]) -> None:
    plain, further = _sampler(planted()).step(4), _sampler(planted(), **settings).step(4)
    for name in ("rows", "columns", "weights", "interactions_kept", "triples_kept", "hidden"):
        assert torch.equal(getattr(plain, name), getattr(further, name))
    assert plain.seed == further.seed
    assert plain.met is None
    assert plain.disliked is None
    assert plain.lessons is None


def test_met_head_begins_as_the_softmax_of_the_users_themselves() -> None:
    config = SMALL.model_copy(update={"met_weight": 1.0, "sampled_above": 0, "neighbours": 3})
    for changes in ({}, {"max_softmax_items": 10, "sampled_items": 30}):
        assembly = assemble(planted(), config.model_copy(update=changes))
        step = assembly.sampler.step(2)
        assert step.met is not None
        count = len(step.candidates) or NUM_ITEMS
        users = nn.functional.normalize(torch.randn(len(step.inputs.profile), 16), dim=1)
        scaled = torch.randn(count, 16)
        logits = users @ scaled.T
        if len(step.candidates):
            logits = logits - step.log_q
        logits[step.seen_rows, step.seen_columns] = -1e9
        expected = softmax_loss(logits, step.met.rows, step.met.columns, step.met.weights)
        head = assembly.model.met
        assert isinstance(head, MetHead)
        torch.testing.assert_close(head.loss(users, scaled, step, step.met), expected)


def test_loss_is_the_sum_of_its_weighted_parts() -> None:
    """Each further loss stands in the whole with its weight; all weights differ."""
    weights = {"met_weight": 0.7, "dislike_weight": 0.3, "link_weight": 0.2}
    values = {}
    for names in ((), *((name,) for name in weights), tuple(weights)):
        chosen = {name: weights[name] for name in names}
        assembly = assemble(planted(), SMALL.model_copy(update={**chosen, "dropout": 0.0}))
        assembly.model.eval()
        torch.manual_seed(3)
        values[names] = float(assembly.model.loss(assembly.sampler.step(1)).detach())
    alone = values[()]
    further = [values[(name,)] - alone for name in weights]
    assert min(further) > 0.01
    assert values[tuple(weights)] == pytest.approx(alone + sum(further), rel=1e-5)


def _taste_share(scorer: TowersScorer, train: TrainingData, k: int = 4) -> float:
    """Return the share of a user's k best unseen warm items that are of the user's taste."""
    users = np.arange(NUM_USERS)
    histories = HistoryBatch.from_interactions(train.interactions, users)
    top = scorer.top(histories, k, allowed=np.arange(NUM_ITEMS) < 64).item_idx
    return float((taste_of(top) == taste_of(users)[:, None]).mean())


def _trained(train: TrainingData, config: TowersConfig, steps: int) -> TwoTowers:
    assembly = assemble(train, config)
    optimizer = torch.optim.Adam(assembly.model.parameters(), lr=1e-2)
    for number in range(steps):
        step = assembly.sampler.step(number)
        torch.manual_seed(step.seed)
        optimizer.zero_grad()
        assembly.model.loss(step).backward()
        optimizer.step()
    return assembly.model.eval()


def test_met_head_foretells_what_is_met_and_never_liked() -> None:
    """All low ratings go to the taste after the user's own: met, and not to be recommended."""
    train = planted(triples=False)
    events, low = train.interactions, np.flatnonzero(~train.interactions.positive)
    place = (low + events.user_idx[low]) % 16
    items = events.item_idx.copy()
    items[low] = 4 * place + taste_of(events.user_idx[low] + 1)
    train = replace(train, interactions=replace(events, item_idx=items))
    model = _trained(train, SMALL.model_copy(update={"met_weight": 1.0}), 60)
    users = np.arange(NUM_USERS)
    histories = HistoryBatch.from_interactions(train.interactions, users)
    distance = torch.from_numpy((taste_of(np.arange(64))[None] - taste_of(users)[:, None]) % 4)
    with torch.no_grad():
        vectors = model.all_items()[0]
        read = model.users(UserInputs.of(histories, NUM_ITEMS, model.config), vectors)
        assert model.met is not None
        turned = nn.functional.normalize(read @ model.met.map.T, dim=1)
        liked, met = (one @ vectors[:64].T for one in (read, turned))
    of = [[float(cosines[distance == far].mean()) for far in range(4)] for cosines in (liked, met)]
    assert of[0][0] > max(of[0][1:]) + 0.5  # only the own taste is recommended
    assert of[1][1] > max(of[1][2:]) + 0.2  # the next one is met, the others are not
    assert of[1][1] - of[1][2] > of[0][1] - of[0][2] + 0.1


def test_dislikes_are_pushed_below_likes() -> None:
    train = planted(triples=False)
    off = {"use_interaction_graph": False, "use_profile": False, "steps": 20}
    gaps = []
    for weight in (0.0, 2.0):
        scorer = TowersScorer(SMALL.model_copy(update={**off, "dislike_weight": weight})).fit(train)
        events = train.interactions
        histories = HistoryBatch.from_interactions(events, np.arange(NUM_USERS))
        scores = scorer.scores(histories)[events.user_idx, events.item_idx]
        gaps.append(scores[events.positive].mean() - scores[~events.positive].mean())
    assert gaps[1] > gaps[0] + 0.1


def _text_and_graph(folder: Path, weight: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return text parts of items without triples, and graph parts of the others, after training."""
    train = planted(texts=True)
    graph = train.graph
    kept = ~np.isin(graph.head, COLD)
    bare = replace(
        graph, head=graph.head[kept], relation=graph.relation[kept], tail=graph.tail[kept]
    )
    train = replace(train, graph=bare)
    config = SMALL.model_copy(
        update={
            "text_model": str(folder),
            "alignment_weight": weight,
            "alignment_items": 40,
            "graph_layers": 1,  # makers alone: with two, the graph would bring the texts along
            "use_interaction_graph": False,
        }
    )
    model = _trained(train, config, 40)
    with torch.no_grad():
        parts = model.items.parts(torch.zeros(NUM_ITEMS, dtype=torch.bool))
    assert float(parts["graph"][1][COLD].sum()) == 0.0  # they hear of no triple
    text = nn.functional.normalize(parts["text"][0][COLD], dim=1)
    return text, parts["graph"][0][: COLD[0]]


def test_alignment_brings_a_text_near_the_graph_of_its_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "cache"))
    bert = make_tiny_bert(tmp_path / "bert")
    same = torch.from_numpy(taste_of(COLD)[:, None] == taste_of(np.arange(COLD[0]))[None])
    apart = []
    for weight in (0.0, 1.0):
        text, graph = _text_and_graph(bert, weight)
        cosines = text @ graph.T
        apart.append(float(cosines[same].mean() - cosines[~same].mean()))
    assert apart[1] > apart[0] + 0.1


def test_alignment_without_texts_changes_nothing() -> None:
    found = [
        TowersScorer(SMALL.model_copy(update={"steps": 20, "alignment_weight": weight}))
        .fit(planted())
        .item_vectors()
        for weight in (0.0, 1.0)
    ]
    np.testing.assert_array_equal(*found)


class _KilledError(Exception):
    pass


@pytest.mark.parametrize(
    "settings",
    [
        {"met_weight": 0.5, "dislike_weight": 0.2},
        {"met_weight": 0.5, "teacher": "ease", "sampled_above": 0},
        {
            "max_softmax_items": 10,
            "sampled_items": 20,
            "hard_negatives": 3,
            "teacher": "rp3_kg",
            "teacher_folds": 2,
            "teacher_items": 10,
        },
        {
            "max_softmax_items": 10,
            "sampled_items": 20,
            "sampled_above": 0,
            "hard_negatives": 3,
            "met_weight": 0.3,
            "dislike_weight": 0.2,
        },
    ],
)
def test_towers_learn_and_a_killed_fit_goes_on_with_the_same_numbers(
    settings: dict[str, object], tmp_path: Path
) -> None:
    train = planted()
    changes = {"eval_every_steps": 15, "steps": 45, "learning_rate": 0.01, **settings}
    config = SMALL.model_copy(update=changes)
    whole = TowersScorer(config).fit(train)

    def kill(step: int, steps: int, loss: float) -> None:
        if step == 30:
            raise _KilledError

    with pytest.raises(_KilledError):
        TowersScorer(config, checkpoint_dir=tmp_path, progress=kill).fit(train)
    resumed = TowersScorer(config, checkpoint_dir=tmp_path).fit(train)
    np.testing.assert_array_equal(resumed.item_vectors(), whole.item_vectors())
    assert resumed.curve == whole.curve
    assert _taste_share(whole, train) > 0.9  # random: a fourth


def test_towers_with_a_met_head_come_back_and_start_a_new_fit(tmp_path: Path) -> None:
    train = planted()
    config = SMALL.model_copy(update={"met_weight": 0.5, "steps": 20, "warm_start_steps": 2})
    fitted = TowersScorer(config).fit(train)
    fitted.save(tmp_path)
    loaded = TowersScorer.load(tmp_path)
    histories = HistoryBatch.from_interactions(train.interactions, np.arange(9))
    np.testing.assert_array_equal(loaded.scores(histories), fitted.scores(histories))
    items = train.dataset.items
    order = np.arange(NUM_ITEMS)[::-1]  # biases follow the ids, not the places
    renamed = replace(train.dataset, items=replace(items, ids=items.ids[order]))
    still = config.model_copy(update={"warm_start_steps": 1, "learning_rate": 1e-9})
    warm = TowersScorer(still).fit(replace(train, dataset=renamed), warm_start=loaded)
    before, after = (one._state.weights["met.bias"] for one in (loaded, warm))
    assert before.abs().max() > 0
    torch.testing.assert_close(after, before.flip(0), rtol=0, atol=1e-6)
