"""The user tower reads order, time, kind of event and profile, and needs none of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from towers_data import NUM_USERS, planted

from kgrec.data.histories import HistoryBatch
from kgrec.models.tower_inputs import profiles_of
from kgrec.models.towers_config import TowersConfig
from kgrec.models.user_reading import UserReading
from kgrec.models.user_tower import UserInputs, UserTower
from kgrec.serving.request_histories import stack

NUM_ITEMS, DIM = 80, 8


def _tower(**settings: object) -> UserTower:
    """Return a tower whose parts that start at zero were given random weights."""
    torch.manual_seed(0)
    config = TowersConfig(embedding_dim=DIM, max_sequence=4, **settings)
    tower = UserTower(config, profiles_of(planted().dataset.users, None))
    with torch.no_grad():
        for weight in tower.parameters():
            weight.normal_(std=0.5)
    return tower.eval()


def _history(
    items: list[int], *, ages_s: list[int] | None = None, liked: list[bool] | None = None,
    user: int = -1,
) -> HistoryBatch:  # fmt: skip
    count = len(items)
    ages = np.array(ages_s if ages_s is not None else [60 * (count - n) for n in range(count)])
    return HistoryBatch(
        user_idx=np.array([user], dtype=np.int64),
        indptr=np.array([0, count], dtype=np.int64),
        item_idx=np.array(items, dtype=np.int64),
        value=np.ones(count, dtype=np.float32),
        timestamp=(10_000_000 - ages).astype(np.int64),
        positive=np.array(liked if liked is not None else [True] * count, dtype=np.bool_),
        now=np.zeros(1, dtype=np.int64),
    )


def _vector(tower: UserTower, history: HistoryBatch) -> torch.Tensor:
    items = torch.nn.functional.normalize(
        torch.randn(NUM_ITEMS, DIM, generator=torch.Generator().manual_seed(1)), dim=1
    )
    with torch.no_grad():
        return tower(UserInputs.of(history, NUM_ITEMS, tower.config), items)[0]


def _differ(first: torch.Tensor, second: torch.Tensor) -> bool:
    return float((first - second).abs().max()) > 1e-3


@pytest.mark.parametrize("sequence", ["attention", "gru", "off"])
def test_user_tower_reads_the_order_of_events(sequence: str) -> None:
    tower = _tower(sequence=sequence)
    assert _differ(_vector(tower, _history([1, 2, 3])), _vector(tower, _history([3, 2, 1])))


def test_user_tower_reads_the_time_between_events() -> None:
    tower = _tower()
    now, apart = [120, 60, 0], [9_000_000, 5_000_000, 0]
    assert _differ(
        _vector(tower, _history([1, 2, 3], ages_s=now)),
        _vector(tower, _history([1, 2, 3], ages_s=apart)),
    )


def test_user_tower_tells_liked_from_low_rated() -> None:
    tower = _tower()
    liked = _vector(tower, _history([1, 2, 3]))
    assert _differ(liked, _vector(tower, _history([1, 2, 3], liked=[True, False, True])))


def test_user_tower_reads_the_profile_of_known_users_only() -> None:
    tower = _tower()
    first, second = (_vector(tower, _history([1, 2], user=user)) for user in (0, 1))
    unknown, beyond = (_vector(tower, _history([1, 2], user=user)) for user in (-1, NUM_USERS + 7))
    assert _differ(first, second)
    torch.testing.assert_close(unknown, beyond)


def test_user_tower_without_profile_ignores_who_asks() -> None:
    tower = _tower(use_profile=False)
    torch.testing.assert_close(
        _vector(tower, _history([1, 2], user=0)), _vector(tower, _history([1, 2], user=1))
    )


def test_empty_history_gives_a_unit_vector() -> None:
    vector = _vector(_tower(), _history([]))
    torch.testing.assert_close(vector.norm(), torch.tensor(1.0))


def test_untrained_user_tower_is_the_mean_of_likes() -> None:
    tower = UserTower(TowersConfig(embedding_dim=DIM), profiles_of(planted().dataset.users, None))
    with torch.no_grad():
        tower.means.bias.zero_()
    tower.eval()
    items = torch.nn.functional.normalize(torch.randn(NUM_ITEMS, DIM), dim=1)
    history = _history([4, 9, 11], liked=[True, False, True], user=3)
    with torch.no_grad():
        vector = tower(UserInputs.of(history, NUM_ITEMS, tower.config), items)[0]
    expected = torch.nn.functional.normalize((items[4] + items[11]) / 2, dim=0)
    torch.testing.assert_close(vector, expected)


def test_only_the_last_events_stand_in_the_sequence() -> None:
    inputs = UserInputs.of(_history([5, 6, 7, 8, 9, 10]), NUM_ITEMS, TowersConfig(max_sequence=4))
    assert inputs.recent.tolist() == [[7, 8, 9, 10]]
    short = UserInputs.of(_history([5, 6]), NUM_ITEMS, TowersConfig(max_sequence=4))
    assert short.recent.tolist() == [[-1, -1, 5, 6]]


def test_channels_are_means_and_weigh_recent_likes_more() -> None:
    config = TowersConfig(decay_positions=(2.0,), decay_seconds=(60.0,))
    inputs = UserInputs.of(
        _history([1, 2, 3], ages_s=[120, 60, 0], liked=[True, False, True]), NUM_ITEMS, config
    )
    flat, rest, by_place, by_time = inputs.channels
    np.testing.assert_allclose(flat, [0.5, 0, 0.5])
    np.testing.assert_allclose(rest, [0, 1, 0])
    weights = np.array([np.exp(-2 / 2), 0, 1])
    np.testing.assert_allclose(by_place, weights / weights.sum(), rtol=1e-6)
    weights = np.array([np.exp(-120 / 60), 0, 1])
    np.testing.assert_allclose(by_time, weights / weights.sum(), rtol=1e-6)


def test_profile_table_has_an_empty_first_row() -> None:
    users = planted().dataset.users
    profiles = profiles_of(replace(users, numeric={"age": np.array(
        [np.nan] + [30.0] * (NUM_USERS - 1), dtype=np.float32)}), None)  # fmt: skip
    assert (profiles.numeric[0] == 0).all()
    assert profiles.numeric[1].tolist() == [0.0, 0.0]  # unknown
    assert profiles.numeric[2].tolist() == [0.0, 1.0]  # known, and at the mean
    assert profiles.codes[0].tolist() == [0]
    assert profiles.vocabulary["job"] == ["job0", "job1", "job2", "job3"]
    assert profiles.codes[1:5, 0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("settings", [{}, {"sequence": "off"}, {"use_profile": False}])
def test_compiled_reading_gives_the_vectors_of_the_tower(settings: dict[str, object]) -> None:
    tower = _tower(**settings)
    reading = UserReading.of(tower)
    assert reading is not None
    histories = [
        _history([], user=2),
        _history([7]),
        _history([5, 6, 7, 8, 9, 10, 5], liked=[True, False] * 3 + [True], user=0),
        _history([3, 2, 1], ages_s=[9_000_000, 5_000_000, 0], user=NUM_USERS + 7),
        _history([4, 9], liked=[False, False], user=NUM_USERS - 1),
    ]
    items = torch.nn.functional.normalize(torch.randn(NUM_ITEMS, DIM), dim=1)
    batch = stack(histories)
    with torch.no_grad():
        expected = tower(UserInputs.of(batch, NUM_ITEMS, tower.config), items).numpy()
    found = reading.vectors(batch, items.numpy())
    np.testing.assert_allclose(found, expected, atol=2e-6)
    alone = [reading.vectors(history, items.numpy())[0] for history in histories]
    np.testing.assert_allclose(found, np.array(alone), atol=2e-6)  # BLAS sums profiles otherwise
    assert (found[:2] != found[2:4]).any()


def test_compiled_reading_leaves_other_readers_to_torch() -> None:
    assert UserReading.of(_tower(sequence="gru")) is None
