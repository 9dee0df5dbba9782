"""Draws of tastes: a row's posterior, planted tastes found again, priors that hear features."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.ranking.taste_draws import (
    TasteConfig,
    Verdicts,
    draw_tastes,
    posterior_rows,
    products,
    with_ones,
)

USERS, ITEMS = 120, 50
CONFIG = TasteConfig(factors=3, sweeps=40, forgotten=20, kept_every=2)
Planted = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def planted() -> Planted:
    """Two hidden directions of taste, which one feature of the users half tells; little noise."""
    rng = np.random.default_rng(0)
    tastes = rng.normal(size=(USERS, 2))
    features = tastes[:, :1] + 0.3 * rng.normal(size=(USERS, 1))
    truth = tastes @ rng.normal(size=(2, ITEMS)) + rng.normal(size=ITEMS)
    user, item = np.divmod(np.flatnonzero(rng.random(USERS * ITEMS) < 0.5), ITEMS)
    target = truth[user, item] + 0.3 * rng.normal(size=len(user))
    return truth, features, np.stack([user, item]), target


def drawn(planted: Planted, features: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    _, _, (user, item), target = planted
    verdicts = Verdicts(user, item, target, USERS, ITEMS)
    return draw_tastes(verdicts, features, np.zeros((ITEMS, 0)), CONFIG, seed)


def expected_scores(
    planted: Planted, draws: dict[str, np.ndarray], features: np.ndarray, known: bool
) -> np.ndarray:
    """Mean over draws of every user's scores, with their verdicts or by their features alone."""
    _, _, (user, item), target = planted
    indptr, index, told = Verdicts(user, item, target, USERS, ITEMS).of_users
    if not known:
        indptr = np.zeros_like(indptr)
    rows, columns = np.divmod(np.arange(USERS * ITEMS), ITEMS)
    total = np.zeros(USERS * ITEMS)
    for items, prior, precision, alpha in zip(*draws.values(), strict=True):
        expected = with_ones(features) @ prior
        noise = np.zeros_like(expected)
        tastes = posterior_rows(
            indptr, index, told, items, expected, precision, float(alpha), noise
        )
        total += products(rows, columns, tastes, items)
    return (total / len(draws["noise"])).reshape(USERS, ITEMS)


def test_planted_tastes_are_found_where_nothing_was_told(planted: Planted) -> None:
    truth, features, (user, item), _ = planted
    draws = drawn(planted, features)
    found = expected_scores(planted, draws, features, known=True)
    hidden = np.ones((USERS, ITEMS), dtype=bool)
    hidden[user, item] = False
    assert np.corrcoef(found[hidden], truth[hidden])[0, 1] > 0.97
    assert 1 / 0.3**2 * 0.7 < np.mean(draws["noise"]) < 1 / 0.3**2 * 1.3


def test_a_user_without_verdicts_has_the_taste_that_features_tell(planted: Planted) -> None:
    truth, features, _, _ = planted
    found = expected_scores(planted, drawn(planted, features), features, known=False)
    moved = truth - truth.mean(axis=0)
    with_features = np.corrcoef((found - found.mean(axis=0)).ravel(), moved.ravel())[0, 1]
    assert with_features > 0.5
    none = np.zeros((USERS, 0))
    same = expected_scores(planted, drawn(planted, none), none, known=False)
    np.testing.assert_allclose(same, np.broadcast_to(same[0], same.shape))


def test_same_seed_same_draws_and_kept_as_asked(planted: Planted) -> None:
    features = planted[1]
    draws = drawn(planted, features)
    again, other = drawn(planted, features), drawn(planted, features, seed=5)
    assert draws["items"].shape == (10, ITEMS + 1, 4)
    assert draws["prior"].shape == (10, 2, 4)
    for name, array in draws.items():
        np.testing.assert_array_equal(array, again[name])
    assert not np.array_equal(draws["items"], other["items"])


def test_a_chain_too_short_to_forget_keeps_its_last_sweep(planted: Planted) -> None:
    _, features, (user, item), target = planted
    config = TasteConfig(factors=2, chains=2, sweeps=3, forgotten=30)
    verdicts = Verdicts(user, item, target, USERS, ITEMS)
    draws = draw_tastes(verdicts, features, np.zeros((ITEMS, 0)), config, 0)
    assert len(draws["noise"]) == 2


def test_posterior_rows_equal_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    others, target, prior = rng.normal(size=(9, 4)), rng.normal(size=6), rng.normal(size=(3, 4))
    index, indptr = rng.integers(0, 9, 6), np.array([0, 4, 4, 6])
    root = rng.normal(size=(4, 4))
    precision = root @ root.T + np.eye(4)
    nothing = np.zeros((3, 4))
    found = posterior_rows(indptr, index, target, others, prior, precision, 2.5, nothing)
    for row in range(3):
        part = slice(indptr[row], indptr[row + 1])
        x = np.concatenate([others[index[part], :3], np.ones((len(index[part]), 1))], axis=1)
        rest = target[part] - others[index[part], 3]
        expected = np.linalg.solve(
            precision + 2.5 * x.T @ x, precision @ prior[row] + 2.5 * x.T @ rest
        )
        np.testing.assert_allclose(found[row], expected, rtol=1e-9)
    noisy = np.stack(
        [
            posterior_rows(
                indptr, index, target, others, prior, precision, 2.5, rng.normal(size=(3, 4))
            )[1]
            for _ in range(4000)
        ]
    )
    np.testing.assert_allclose(np.cov(noisy.T), np.linalg.inv(precision), atol=0.08)
