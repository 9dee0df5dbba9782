"""The model of likes: what users like of what they meet, calibrated, one order for all users."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_data import make_training_data

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.errors import ArtifactError
from kgrec.evaluation.ctr_metrics import auc
from kgrec.models.scorer import TrainingData
from kgrec.ranking.likes import LikeConfig, LikeModel, fit_likes
from kgrec.ranking.near_means import near_means
from kgrec.ranking.taste_draws import TasteConfig

USERS, ITEMS = 160, 60
TASTES = TasteConfig(factors=6, sweeps=40, forgotten=15, kept_every=3)
CONFIG = LikeConfig(tastes=TASTES, company_factors=6)


def events_of_tastes(seed: int = 0) -> Interactions:
    """Two kinds of users and of items: kind likes kind; some users and items please more."""
    rng = np.random.default_rng(seed)
    user, item = np.divmod(np.flatnonzero(rng.random(USERS * ITEMS) < 0.4), ITEMS)
    mild, good = rng.normal(0, 0.7, USERS), rng.normal(0, 0.7, ITEMS)
    odds = mild[user] + good[item] + np.where(user % 2 == item % 2, 1.5, -1.5)
    liked = rng.random(len(user)) < 1 / (1 + np.exp(-odds))
    nothing = np.full(len(user), np.nan, dtype=np.float32)
    zeros = np.zeros(len(user), dtype=np.int64)
    return Interactions(user, item, nothing, zeros, liked).sorted(seed)


def training(events: Interactions) -> TrainingData:
    return replace(make_training_data(), interactions=events)


@pytest.fixture(scope="module")
def asked() -> tuple[TrainingData, Interactions]:
    events = events_of_tastes()
    held = np.random.default_rng(1).random(len(events)) < 0.2
    return training(events.take(~held)), events.take(held)


@pytest.fixture(scope="module")
def model(asked: tuple[TrainingData, Interactions]) -> LikeModel:
    fitted = fit_likes(asked[0], CONFIG)
    assert fitted is not None
    return fitted


def pairs_of(
    train: TrainingData, held: Interactions
) -> tuple[HistoryBatch, np.ndarray, np.ndarray]:
    users = np.arange(USERS)
    indptr = np.searchsorted(held.user_idx, np.arange(USERS + 1)).astype(np.int64)
    return HistoryBatch.from_interactions(train.interactions, users), indptr, held.item_idx


def test_held_out_likes_of_all_users_are_put_in_order_and_calibrated(
    model: LikeModel, asked: tuple[TrainingData, Interactions]
) -> None:
    train, held = asked
    found = model.probabilities(*pairs_of(train, held))
    label = held.positive
    rate = np.bincount(train.interactions.item_idx, weights=train.interactions.positive)
    count = np.bincount(train.interactions.item_idx)
    by_item = ((rate + 2) / (count + 4))[held.item_idx]
    assert auc(label, found) > auc(label, by_item) + 0.1
    assert 0.75 < auc(label, found) < 0.85
    assert abs(found.mean() - label.mean()) < 0.04
    assert model.describe()["log_loss"] < 0.9 * model.describe()["log_loss_of_the_mean"]


def test_who_and_what_is_not_known_counts_as_average(
    model: LikeModel, asked: tuple[TrainingData, Interactions]
) -> None:
    nobody = HistoryBatch.of_nobody()
    items = np.arange(-1, ITEMS + 1)
    odds = model.log_odds(nobody, np.array([0, len(items)]), items)
    assert odds[0] == odds[-1]
    assert abs(1 / (1 + np.exp(-odds[0])) - asked[0].interactions.positive.mean()) < 0.05
    good = model.arrays["item_bias"]
    assert np.corrcoef(odds[1:-1], good)[0, 1] > 0.9


def test_an_item_added_later_in_a_history_says_nothing(
    model: LikeModel, asked: tuple[TrainingData, Interactions]
) -> None:
    histories = HistoryBatch.from_interactions(asked[0].interactions, np.array([3]))
    longer = replace(
        histories,
        indptr=histories.indptr + np.array([0, 1]),
        item_idx=np.append(histories.item_idx, ITEMS),
        value=np.append(histories.value, np.float32(np.nan)),
        timestamp=np.append(histories.timestamp, 0),
        positive=np.append(histories.positive, True),
    )
    pair = (np.array([0, 2]), np.array([4, 7]))
    np.testing.assert_array_equal(model.log_odds(longer, *pair), model.log_odds(histories, *pair))


def test_batch_equals_single_and_save_keeps_scores(
    model: LikeModel, asked: tuple[TrainingData, Interactions], tmp_path: Path
) -> None:
    histories, indptr, items = pairs_of(*asked)
    together = model.log_odds(histories, indptr, items)
    for user in (0, 7, 31):
        own = slice(indptr[user], indptr[user + 1])
        count = np.array([0, indptr[user + 1] - indptr[user]])
        alone = model.log_odds(histories.take(np.array([user])), count, items[own])
        np.testing.assert_allclose(alone, together[own], rtol=1e-9)
    model.save(tmp_path / "likes")
    loaded = LikeModel.load(tmp_path / "likes")
    np.testing.assert_array_equal(loaded.log_odds(histories, indptr, items), together)
    (tmp_path / "likes" / "likes.json").unlink()
    with pytest.raises(ArtifactError, match=r"likes\.json of the model of likes, found none"):
        LikeModel.load(tmp_path / "likes")


def test_ratings_count_where_every_event_has_one(asked: tuple[TrainingData, Interactions]) -> None:
    train, held = asked
    events = train.interactions
    rng = np.random.default_rng(2)
    value = np.where(events.positive, 4, 2) + rng.integers(0, 2, len(events))
    rated = training(replace(events, value=value.astype(np.float32)))
    fitted = fit_likes(rated, CONFIG)
    assert fitted is not None
    assert fitted.arrays["scale"][1] > 0
    found = fitted.probabilities(*pairs_of(rated, held))
    assert auc(held.positive, found) > 0.75


def test_none_is_made_without_dislikes(asked: tuple[TrainingData, Interactions]) -> None:
    likes = asked[0].interactions.positives()
    assert fit_likes(training(likes), CONFIG) is None


def test_near_means_equal_the_loop_that_says_them() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index, target, indptr = rng.integers(0, 9, 6), rng.normal(size=6), np.array([0, 4, 4, 6])
    rows, items = np.array([0, 0, 1, 2]), np.array([2, 8, 5, 0])
    found = near_means(indptr, index, target, vectors, rows, items, 2.0, 0.7)
    for pair, (row, item) in enumerate(zip(rows, items, strict=True)):
        part = slice(indptr[row], indptr[row + 1])
        weight = np.exp(2.0 * vectors[index[part]] @ vectors[item])
        expected = weight @ target[part] / (weight.sum() + 0.7)
        assert found[pair] == pytest.approx(expected)
    assert found[2] == 0.0
