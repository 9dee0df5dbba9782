"""What every Scorer must hold; a new scorer inherits ScorerContract and says how it is made.

Inherit in a file of tests/contract/:

    from scorer_contract import CheckerboardContract, ScorerContract

    class TestEase(ScorerContract, CheckerboardContract):
        @classmethod
        def make_scorer(cls) -> Scorer:
            return Ease(EaseConfig())

A class that needs data of its own overrides ``make_training``; one whose floats depend on the
batch (BLAS) may loosen ``rtol``. The model is fitted once for each class.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from synthetic_data import COLD_ITEMS, checkerboard, make_training

from kgrec.data.histories import HistoryBatch
from kgrec.errors import NotFittedError
from kgrec.models.scorer import Scorer, TrainingData

USERS = np.array([3, 0, 17, 42, 59, 8], dtype=np.int64)  # 59 has no event


class ScorerContract:
    """The promises of kgrec.models.scorer.Scorer, as tests."""

    rtol: ClassVar[float] = 1e-5
    atol: ClassVar[float] = 1e-6
    suffixes: ClassVar[frozenset[str]] = frozenset({".json", ".safetensors"})

    @classmethod
    def make_scorer(cls) -> Scorer:
        """Return a new scorer, not fitted."""
        raise NotImplementedError

    @classmethod
    def make_training(cls) -> TrainingData:
        """Return the data that the scorer is fitted on."""
        return make_training()

    @classmethod
    def fitted(cls) -> Scorer:
        """Return the scorer fitted on ``make_training()``, the same one at every call."""
        return _fitted(cls)

    @classmethod
    def histories(cls) -> HistoryBatch:
        """Return six train histories, one of them empty."""
        return HistoryBatch.from_interactions(cls.make_training().interactions, USERS)

    # -- scores -----------------------------------------------------------------------------

    def test_scores_are_one_finite_float32_row_for_each_history(self) -> None:
        scores = self.fitted().scores(self.histories())
        assert scores.shape == (len(USERS), self.make_training().num_items)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_scores_differ_between_items(self) -> None:
        scores = self.fitted().scores(self.histories())
        assert (scores.std(axis=1)[:4] > 0).all()

    def test_scores_before_fit_raise(self) -> None:
        with pytest.raises(NotFittedError):
            self.make_scorer().scores(self.histories())

    def test_scores_of_unknown_user_are_defined(self) -> None:
        known = self.histories().take(np.array([0]))
        unknown = _without_profile(known)
        scores = self.fitted().scores(unknown)
        assert np.isfinite(scores).all()
        assert (self.fitted().top(unknown, 5).item_idx >= 0).all()

    def test_scores_of_empty_history_are_defined(self) -> None:
        empty = _without_profile(self.histories().take(np.array([4])))
        assert empty.lengths.tolist() == [0]
        assert np.isfinite(self.fitted().scores(empty)).all()
        assert (self.fitted().top(empty, 5).item_idx >= 0).all()

    def test_scores_of_no_users_is_an_empty_matrix(self) -> None:
        nobody = self.histories().take(np.array([], dtype=np.int64))
        assert self.fitted().scores(nobody).shape == (0, self.make_training().num_items)
        assert self.fitted().top(nobody, 3).item_idx.shape == (0, 3)

    def test_scores_of_history_of_cold_items_are_defined(self) -> None:
        one = self.histories().take(np.array([0]))
        cold = one.take(np.array([0]))
        cold.item_idx[:] = COLD_ITEMS[0]  # take copied the arrays
        assert np.isfinite(self.fitted().scores(cold)).all()

    def test_scores_of_batch_equal_scores_of_single(self) -> None:
        histories = self.histories()
        batch = self.fitted().scores(histories)
        single = [
            self.fitted().scores(histories.take(np.array([row]))) for row in range(len(USERS))
        ]
        np.testing.assert_allclose(batch, np.concatenate(single), rtol=self.rtol, atol=self.atol)

    def test_scores_follow_the_order_of_the_batch(self) -> None:
        histories, order = self.histories(), np.array([5, 2, 0, 4, 1, 3])
        np.testing.assert_allclose(
            self.fitted().scores(histories.take(order)),
            self.fitted().scores(histories)[order],
            rtol=self.rtol,
            atol=self.atol,
        )

    def test_scores_leave_the_histories_as_they_were(self) -> None:
        histories, fresh = self.histories(), self.histories()
        self.fitted().scores(histories)
        self.fitted().top(histories, 5)
        np.testing.assert_array_equal(histories.item_idx, fresh.item_idx)
        np.testing.assert_array_equal(histories.positive, fresh.positive)
        np.testing.assert_array_equal(histories.value, fresh.value)

    def test_same_seed_gives_the_same_scores(self) -> None:
        again = self.make_scorer().fit(self.make_training())
        histories = self.histories()
        np.testing.assert_array_equal(again.scores(histories), self.fitted().scores(histories))

    def test_graph_changes_nothing_where_the_scorer_says_it_is_not_read(self) -> None:
        train = self.make_training()
        off = replace(train, graph=train.graph.ablated("off", seed=0))
        histories = self.histories()
        without = self.make_scorer().fit(off).scores(histories)
        same = np.array_equal(without, self.fitted().scores(histories))
        assert same is not type(self.fitted()).reads_graph

    # -- top --------------------------------------------------------------------------------

    def test_top_agrees_with_scores(self) -> None:
        histories = self.histories()
        scores = self.fitted().scores(histories)
        scores[histories.row_of_event, histories.item_idx] = -np.inf
        top = self.fitted().top(histories, 7)
        expected = -np.sort(-scores, axis=1)[:, :7]
        np.testing.assert_allclose(top.score, expected, rtol=self.rtol, atol=self.atol)
        chosen = np.take_along_axis(scores, top.item_idx, axis=1)
        np.testing.assert_allclose(chosen, top.score, rtol=self.rtol, atol=self.atol)

    def test_top_gives_known_items_once_best_first(self) -> None:
        top = self.fitted().top(self.histories(), 10)
        assert top.item_idx.dtype == np.int64
        assert top.score.dtype == np.float32
        assert ((top.item_idx >= 0) & (top.item_idx < self.make_training().num_items)).all()
        assert all(len(set(row)) == 10 for row in top.item_idx.tolist())
        assert (np.diff(top.score, axis=1) <= 0).all()

    def test_top_with_k_above_catalogue_is_padded(self) -> None:
        histories, num_items = self.histories(), self.make_training().num_items
        top = self.fitted().top(histories, num_items + 5)
        assert top.item_idx.shape == (len(USERS), num_items + 5)
        for row, length in enumerate(histories.lengths):
            found = top.item_idx[row] >= 0
            assert found.sum() == num_items - length
            assert found[: num_items - length].all()
            assert np.isneginf(top.score[row][~found]).all()

    def test_top_leaves_out_the_history_low_ratings_included(self) -> None:
        histories, num_items = self.histories(), self.make_training().num_items
        assert not histories.positive.all()
        top = self.fitted().top(histories, num_items)
        for row in range(len(USERS)):
            seen = histories.item_idx[histories.indptr[row] : histories.indptr[row + 1]]
            assert not np.isin(seen, top.item_idx[row]).any()

    def test_top_keeps_the_history_when_asked(self) -> None:
        num_items = self.make_training().num_items
        top = self.fitted().top(self.histories(), num_items, exclude_history=False)
        assert (np.sort(top.item_idx, axis=1) == np.arange(num_items)).all()

    def test_top_gives_allowed_items_only(self) -> None:
        allowed = np.zeros(self.make_training().num_items, dtype=np.bool_)
        allowed[[1, 5, 6, 20, COLD_ITEMS[0]]] = True
        top = self.fitted().top(self.histories(), 8, exclude_history=False, allowed=allowed)
        assert (np.sort(top.item_idx[:, :5], axis=1) == np.flatnonzero(allowed)).all()
        assert (top.item_idx[:, 5:] == -1).all()

    def test_top_of_nothing_allowed_is_empty(self) -> None:
        allowed = np.zeros(self.make_training().num_items, dtype=np.bool_)
        top = self.fitted().top(self.histories(), 4, allowed=allowed)
        assert (top.item_idx == -1).all()
        assert np.isneginf(top.score).all()

    def test_top_with_the_same_seed_is_the_same(self) -> None:
        first = self.fitted().top(self.histories(), 6, seed=11)
        second = self.fitted().top(self.histories(), 6, seed=11)
        np.testing.assert_array_equal(first.item_idx, second.item_idx)

    # -- score_pairs ------------------------------------------------------------------------

    def test_score_pairs_agrees_with_scores(self) -> None:
        histories = self.histories()
        asked = [[0, 5, 39], [], [7], [1, 2, 3, 4], [0, 1], [39, 38, 12]]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in asked])]).astype(np.int64)
        items = np.array([item for row in asked for item in row], dtype=np.int64)
        pairs = self.fitted().score_pairs(histories, indptr, items)
        rows = np.repeat(np.arange(len(USERS)), np.diff(indptr))
        assert pairs.dtype == np.float32
        np.testing.assert_allclose(
            pairs, self.fitted().scores(histories)[rows, items], rtol=self.rtol, atol=self.atol
        )

    def test_score_pairs_of_nothing_is_empty(self) -> None:
        indptr = np.zeros(len(USERS) + 1, dtype=np.int64)
        pairs = self.fitted().score_pairs(self.histories(), indptr, np.empty(0, dtype=np.int64))
        assert pairs.shape == (0,)

    def test_score_grid_agrees_with_scores(self) -> None:
        histories, items = self.histories(), np.array([39, 0, 5, 5, 12], dtype=np.int64)
        grid = self.fitted().score_grid(histories, items)
        assert grid.dtype == np.float32
        np.testing.assert_allclose(
            grid, self.fitted().scores(histories)[:, items], rtol=self.rtol, atol=self.atol
        )
        assert self.fitted().score_grid(histories, items[:0]).shape == (len(histories), 0)

    def test_summands_add_up_to_the_scores(self) -> None:
        for row in range(len(USERS)):
            history = self.histories().take(np.array([row]))
            held, items = np.unique(history.item_idx), np.array([39, 0, 5, 5, 12], dtype=np.int64)
            found = self.fitted().summands(history, held, items)
            if found is None:
                return
            assert found.shape == (len(held), len(items))
            assert found.dtype == np.float32
            wanted = self.fitted().scores(history)[0, items]
            np.testing.assert_allclose(found.sum(axis=0), wanted, rtol=1e-4, atol=1e-5)
            some = self.fitted().summands(history, held[1::2], items)
            np.testing.assert_array_equal(some, found[1::2])

    # -- save and load ----------------------------------------------------------------------

    def test_save_and_load_keep_scores_exactly(self, tmp_path: Path) -> None:
        scorer = self.fitted()
        scorer.save(tmp_path / "new" / "folder")
        loaded = type(scorer).load(tmp_path / "new" / "folder")
        histories = self.histories()
        np.testing.assert_array_equal(loaded.scores(histories), scorer.scores(histories))
        np.testing.assert_array_equal(
            loaded.top(histories, 9).item_idx, scorer.top(histories, 9).item_idx
        )
        assert loaded.describe() == scorer.describe()

    def test_save_writes_safetensors_and_json_only(self, tmp_path: Path) -> None:
        self.fitted().save(tmp_path)
        written = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
        assert written
        assert written <= self.suffixes


class CheckerboardContract:
    """A scorer that learns who likes what must find the withheld item of a checkerboard."""

    @classmethod
    def make_scorer(cls) -> Scorer:
        """Return a new scorer, not fitted."""
        raise NotImplementedError

    def test_top_item_of_checkerboard_is_the_withheld_one(self) -> None:
        training, histories = checkerboard()
        top = self.make_scorer().fit(training).top(histories, 1)
        assert top.item_idx[:, 0].tolist() == list(range(len(histories)))


@functools.cache
def _fitted(contract: type[ScorerContract]) -> Scorer:
    return contract.make_scorer().fit(contract.make_training())


def _without_profile(histories: HistoryBatch) -> HistoryBatch:
    return HistoryBatch(
        np.full(len(histories), -1, dtype=np.int64),
        histories.indptr,
        histories.item_idx,
        histories.value,
        histories.timestamp,
        histories.positive,
        histories.now,
    )
