"""The preselection keeps what the ranker would put first, and each user's list on its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray
from kgrec.ranking.preselection import Preselection, fit_preselection
from kgrec.retrieval.candidates import Candidates

USERS, EACH, ITEMS = 30, 60, 400


def _planted(seed: int = 0) -> tuple[Candidates, FloatArray, BoolArray]:
    """Return candidates whose score is linear in two sources, with noise, cold ones lower."""
    rng = np.random.default_rng(seed)
    items = np.concatenate([np.sort(rng.choice(ITEMS, EACH, replace=False)) for _ in range(USERS)])
    z = rng.normal(size=(len(items), 3)).astype(np.float32)
    rank = rng.integers(1, 100, size=z.shape).astype(np.int32)
    cold = rng.random(ITEMS) < 0.2
    score = 2.0 * z[:, 0] - z[:, 1] + 3.0 / np.sqrt(rank[:, 2]) - 2.0 * cold[items]
    score = (score + rng.normal(scale=0.2, size=len(items))).astype(np.float32)
    indptr = np.arange(USERS + 1) * EACH
    return Candidates(indptr, items, ("a", "b", "c"), z, rank), score, cold


def test_preselection_keeps_the_best_of_the_ranker() -> None:
    candidates, score, cold = _planted()
    made = fit_preselection(candidates, score, cold, 25)
    kept = made.best(candidates, cold, 25)
    assert np.diff(kept.indptr).tolist() == [25] * USERS
    assert made.kept["25"] > 0.98
    for user in range(USERS):
        own = slice(*candidates.indptr[user : user + 2])
        best = candidates.item_idx[own][np.argsort(-score[own])[:15]]
        found = kept.item_idx[kept.indptr[user] : kept.indptr[user + 1]]
        assert (np.diff(found) > 0).all()
        assert np.isin(best, found).mean() > 0.9
    # sources that the ranker does not heed say nothing
    deaf = Preselection(made.source_names, np.zeros_like(made.weights), {})
    lucky = deaf.best(candidates, cold, 25)
    assert score[_places(candidates, lucky)].mean() < score[_places(candidates, kept)].mean() - 1


def test_preselection_of_a_user_does_not_depend_on_the_others() -> None:
    candidates, score, cold = _planted()
    made = fit_preselection(candidates, score, cold, 25)
    whole = made.best(candidates, cold, 25)
    for user in (0, 7, USERS - 1):
        alone = made.best(candidates.of_users(user, user + 1), cold, 25)
        together = whole.of_users(user, user + 1)
        assert np.array_equal(alone.item_idx, together.item_idx)
        assert np.array_equal(alone.z, together.z)
        assert np.array_equal(alone.rank, together.rank)


def test_preselection_leaves_short_lists_alone() -> None:
    candidates, score, cold = _planted()
    made = fit_preselection(candidates, score, cold, 25)
    assert made.best(candidates, cold, EACH) is candidates
    ragged = Candidates(
        np.array([0, 3, 3, EACH], dtype=np.int64),
        candidates.item_idx[:EACH],
        candidates.source_names,
        candidates.z[:EACH],
        candidates.rank[:EACH],
    )
    kept = made.best(ragged, cold, 10)
    assert kept.indptr.tolist() == [0, 3, 3, 13]
    assert np.array_equal(kept.item_idx[:3], ragged.item_idx[:3])


def test_preselection_of_equal_guesses_keeps_as_many_as_asked() -> None:
    candidates, _, cold = _planted()
    flat = Preselection(candidates.source_names, np.zeros((2, 9), dtype=np.float32), {})
    kept = flat.best(candidates, cold, 25)
    assert np.diff(kept.indptr).tolist() == [25] * USERS
    own = candidates.item_idx[: candidates.indptr[1]]
    assert np.array_equal(kept.item_idx[:25], own[:25])


def test_preselection_without_cold_items_judges_them_as_others() -> None:
    candidates, score, _ = _planted()
    nothing = np.zeros(ITEMS, dtype=np.bool_)
    made = fit_preselection(candidates, score, nothing, 25)
    assert np.array_equal(made.weights[0], made.weights[1])


def test_preselection_comes_back_from_a_file(tmp_path: Path) -> None:
    candidates, score, cold = _planted()
    made = fit_preselection(candidates, score, cold, 25)
    made.save(tmp_path)
    back = Preselection.load(tmp_path)
    assert np.array_equal(back.weights, made.weights)
    assert (back.source_names, back.kept) == (made.source_names, made.kept)
    assert np.array_equal(back.guesses(candidates, cold), made.guesses(candidates, cold))


def _places(candidates: Candidates, kept: Candidates) -> np.ndarray:
    keys = candidates.row_of_pair * ITEMS + candidates.item_idx
    return np.flatnonzero(np.isin(keys, kept.row_of_pair * ITEMS + kept.item_idx))
