"""The teacher of the towers: soft targets by hand, what it must not know, and that it teaches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from towers_data import NUM_ITEMS, NUM_USERS, planted, taste_of

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.errors import ConfigError
from kgrec.models.baselines import make_baseline
from kgrec.models.sampling import StepSampler
from kgrec.models.scorer import TrainingData
from kgrec.models.teacher import Teacher, soft_targets
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig

SMALL = TowersConfig(
    embedding_dim=16, steps=60, users_per_step=120, hidden_items=0.3, threads=1, device="cpu"
)


def test_soft_targets_are_the_softmax_of_standardised_scores() -> None:
    scores = np.array([[5.0, 3.0, 1.0]], dtype=np.float32)
    logits = np.array([5.0, 3.0, 1.0]) / (np.sqrt(8 / 3) * 0.5)
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(soft_targets(scores, 0.5)[0], expected, rtol=1e-5)


def test_soft_targets_do_not_depend_on_the_scale_of_a_scorer() -> None:
    scores = np.abs(np.random.default_rng(0).standard_normal((4, 6))).astype(np.float32) + 0.1
    np.testing.assert_allclose(
        soft_targets(scores, 1.0), soft_targets(scores * 1e-4, 1.0), rtol=1e-3
    )


def test_soft_targets_leave_out_what_is_absent_or_unsaid() -> None:
    nothing = -np.inf
    scores = np.array([[2.0, 2.0, 0.0], [1.0, nothing, nothing], [0.0, 0.0, nothing]])
    expected = [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(soft_targets(scores.astype(np.float32), 1.0), expected)


def _teacher(train: TrainingData, **settings: object) -> Teacher:
    return Teacher.of(train, SMALL.model_copy(update=settings))


def test_lessons_are_the_scorers_own_best_items_without_the_history() -> None:
    train = planted()
    histories = HistoryBatch.from_interactions(train.interactions, np.array([3, 8, 40]))
    lessons = _teacher(train, teacher="ease", teacher_items=7).lessons(histories)
    own = make_baseline("ease").fit(train).top(histories, 7, seed=train.seed)
    for row in range(3):
        mine = lessons.row == row
        assert set(lessons.item_idx[mine]) == set(own.item_idx[row][own.score[row] != 0])
        assert not np.isin(lessons.item_idx[mine], histories.take(np.array([row])).item_idx).any()
        assert lessons.share[mine].sum() == pytest.approx(1.0, rel=1e-5)


def test_empty_history_is_taught_nothing() -> None:
    train = planted()
    lessons = _teacher(train, teacher="ease").lessons(
        replace(HistoryBatch.of_nobody(), user_idx=np.array([0]))
    )
    assert len(lessons.row) == len(lessons.item_idx) == len(lessons.share) == 0


def _pair_of_one_user() -> TrainingData:
    """Return planted events, and items 0 and 1 liked together by user 0 alone, and nothing else."""
    train = planted()
    events = train.interactions
    others = events.take((events.user_idx != 0) & ~np.isin(events.item_idx, [0, 1]))
    pair = Interactions(
        np.zeros(2, dtype=np.int64),
        np.arange(2),
        np.full(2, 5.0, dtype=np.float32),
        np.arange(2) + 1_000_000,
        np.ones(2, dtype=np.bool_),
    )
    names = ("user_idx", "item_idx", "value", "timestamp", "positive")
    joined = [np.concatenate([getattr(pair, n), getattr(others, n)]) for n in names]
    return replace(train, interactions=Interactions(*joined))


def test_teacher_of_other_folds_tells_nothing_of_the_very_user() -> None:
    train = _pair_of_one_user()
    histories = HistoryBatch.from_interactions(
        train.interactions.take(np.array([0])), np.array([0])
    )
    told = _teacher(train, teacher="ease").lessons(histories)
    assert told.item_idx[told.share.argmax()] == 1  # it has seen that user 0 likes both
    apart = _teacher(train, teacher="ease", teacher_folds=4)
    assert 1 not in apart.lessons(histories).item_idx
    assert np.bincount(apart.fold_of_user).tolist() == [NUM_USERS // 4] * 4


def test_each_user_is_taught_by_a_scorer_without_their_events() -> None:
    train = planted()
    teacher = _teacher(train, teacher="ease", teacher_folds=3)
    histories = HistoryBatch.from_interactions(train.interactions, np.arange(NUM_USERS))
    lessons = teacher.lessons(histories)
    for fold in range(3):
        seen = teacher.fold_of_user[train.interactions.user_idx] != fold
        other = make_baseline("ease").fit(
            replace(train, interactions=train.interactions.take(seen))
        )
        row = int(np.flatnonzero(teacher.fold_of_user == fold)[0])
        own = other.top(histories.take(np.array([row])), SMALL.teacher_items, seed=train.seed)
        best = lessons.item_idx[lessons.row == row][0]
        assert best == own.item_idx[0, 0]


@pytest.mark.parametrize("settings", [{}, {"max_softmax_items": 10, "sampled_items": 8}])
def test_step_holds_the_lessons_of_its_input_histories(settings: dict[str, object]) -> None:
    train = planted()
    config = SMALL.model_copy(
        update={"users_per_step": 30, "teacher": "ease", "teacher_items": 6, **settings}
    )
    sampler = StepSampler(train.interactions, train.num_items, 40, config, seed=5)
    plain = sampler.step(3)
    sampler.teacher = Teacher.of(train, config)
    step = sampler.step(3)
    assert step.lessons is not None
    items = step.lessons.columns
    if len(step.candidates):
        items = step.candidates[items]
        sure = torch.isin(step.candidates, items)
        assert (step.log_q[sure] == 0).all()  # taught items are there whatever is drawn
        others = torch.isin(plain.candidates, step.candidates[~sure])
        assert torch.equal(plain.log_q[others], step.log_q[~sure])
    places = step.seen_columns if not len(step.candidates) else step.candidates[step.seen_columns]
    seen = set(zip(step.seen_rows.tolist(), places.tolist(), strict=True))
    taught = set(zip(step.lessons.rows.tolist(), items.tolist(), strict=True))
    assert taught
    assert not taught & seen
    assert torch.equal(plain.rows, step.rows)
    assert plain.seed == step.seed  # the teacher draws nothing
    sums = torch.zeros(30).index_add(0, step.lessons.rows, step.lessons.weights)
    assert ((sums - 1).abs() < 1e-5).equal(sums > 0)


def _islands() -> TrainingData:
    """Return users who like one pair of items each; only triples join the pairs of a taste."""
    train = planted()
    users = np.arange(NUM_USERS)
    first = taste_of(users) + 8 * (users // 4 % 8)
    count = 2 * NUM_USERS
    events = Interactions(
        np.repeat(users, 2),
        np.stack([first, first + 4], axis=1).ravel(),
        np.full(count, 5.0, dtype=np.float32),
        1_000_000 + 600 * np.arange(count),
        np.ones(count, dtype=np.bool_),
    )
    return replace(train, interactions=events)


def test_teacher_that_knows_the_graph_teaches_towers_without_one() -> None:
    train = _islands()
    histories = HistoryBatch.from_interactions(train.interactions, np.arange(NUM_USERS))
    blind = {"graph_layers": 0, "use_profile": False, "learning_rate": 0.02}
    shares = []
    for changes in ({}, {"teacher": "rp3_kg", "teacher_weight": 5.0}):
        scorer = TowersScorer(SMALL.model_copy(update={**blind, **changes})).fit(train)
        top = scorer.top(histories, 4, allowed=np.arange(NUM_ITEMS) < 64).item_idx
        shares.append(float((taste_of(top) == taste_of(np.arange(NUM_USERS))[:, None]).mean()))
    assert shares[0] < 0.35  # random: a fourth
    assert shares[1] > 0.55


def test_teacher_that_is_no_baseline_is_refused() -> None:
    with pytest.raises(ConfigError, match="Expected a baseline of"):
        TowersScorer(SMALL.model_copy(update={"teacher": "eaze"})).fit(planted())
    wrong = SMALL.model_copy(update={"teacher": "ease", "teacher_settings": {"rigde": 3}})
    with pytest.raises(ConfigError, match="Expected settings of 'ease'"):
        TowersScorer(wrong).fit(planted())
    with pytest.raises(ConfigError, match="to name a baseline"):
        Teacher.of(planted(), SMALL)
