"""The weight of items without events: as large as the stated loss allows, and no larger."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.data.interactions import BoolArray, FloatArray
from kgrec.ranking.cold_weight import UNWEIGHED, largest_weight
from kgrec.retrieval.candidates import Candidates

USERS, EACH = 50, 60


def _planted(cold_share: float, seed: int = 0) -> tuple[FloatArray, Candidates, BoolArray]:
    rng = np.random.default_rng(seed)
    count = USERS * EACH
    odds = rng.normal(-3.0, 1.0, count)
    indptr = np.arange(USERS + 1) * EACH
    items = np.tile(np.arange(EACH), USERS)
    columns = np.zeros((count, 1), dtype=np.float32)
    candidates = Candidates(indptr, items, ("a",), columns, columns.astype(np.int32))
    return odds, candidates, rng.random(count) < cold_share


def _lost(odds: FloatArray, cold: BoolArray, weight: float) -> float:
    """Return the mean share of the expected likes of other items lost, user by user."""
    shares = []
    for user in range(USERS):
        own = slice(user * EACH, (user + 1) * EACH)
        p, new = 1.0 / (1.0 + np.exp(-odds[own])), cold[own]
        best = np.sort(p[~new])[::-1][:20].sum()
        first = np.argsort(-np.where(new, weight * p, p))[:20]
        shares.append(1.0 - p[first][~new[first]].sum() / best)
    return float(np.mean(shares))


@pytest.mark.parametrize("loss", [0.01, 0.02, 0.1])
def test_the_weight_costs_what_was_stated_and_a_larger_one_more(loss: float) -> None:
    odds, candidates, cold = _planted(0.3)
    weight = largest_weight(odds, candidates, cold, loss)
    assert 0.8 * loss < _lost(odds, cold, weight) <= loss
    assert _lost(odds, cold, 1.05 * weight) > loss


def test_without_a_loss_no_place_among_the_first_is_given_away() -> None:
    odds, candidates, cold = _planted(0.3)
    assert _lost(odds, cold, largest_weight(odds, candidates, cold, 0.0)) == 0.0


def test_new_items_never_count_for_more_than_their_own_probability() -> None:
    odds, candidates, cold = _planted(0.3)
    assert largest_weight(np.where(cold, -20.0, odds), candidates, cold, 0.02) == 1.0


def test_where_training_had_no_new_item_those_to_come_have_a_stated_weight() -> None:
    odds, candidates, cold = _planted(0.0)
    assert largest_weight(odds, candidates, cold, 0.02) == UNWEIGHED


def test_users_to_whom_only_new_items_are_offered_cost_nothing() -> None:
    odds, candidates, cold = _planted(0.3)
    cold[: EACH * USERS // 2] = True
    weight = largest_weight(odds, candidates, cold, 0.02)
    assert 0.0 < weight < 1.0
    assert largest_weight(odds, candidates, np.ones_like(cold), 0.02) == 1.0
