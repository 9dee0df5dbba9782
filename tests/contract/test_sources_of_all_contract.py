"""Sources that look at no taste: what is liked now, and what hardly anybody has met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scorer_contract import ScorerContract
from synthetic_data import COLD_ITEMS

from kgrec.data.histories import HistoryBatch
from kgrec.models.scorer import Scorer
from kgrec.ranking.source_registry import load_source
from kgrec.retrieval.sources import NewItems, NewItemsConfig, Trending, TrendingConfig


class TestTrending(ScorerContract):
    @classmethod
    def make_scorer(cls) -> Scorer:
        return Trending(TrendingConfig(half_life_days=0.01))

    def test_newer_likes_count_more(self) -> None:
        train = self.make_training()
        events = train.interactions
        old = replace(events, timestamp=np.zeros_like(events.timestamp))
        newest = int(np.flatnonzero(events.positive)[-1])
        stamps = old.timestamp.copy()
        stamps[newest] = 365 * 86_400
        source = Trending().fit(replace(train, interactions=replace(old, timestamp=stamps)))
        [scores] = source.scores(self.histories().take(np.array([0])))
        assert scores.argmax() == events.item_idx[newest]
        assert scores.max() > 0.99 > np.delete(scores, scores.argmax()).max() * 1000


class TestNewItems(ScorerContract):
    @classmethod
    def make_scorer(cls) -> Scorer:
        return NewItems(NewItemsConfig(most_events=3))

    def test_only_new_items_are_drawn(self) -> None:
        train = self.make_training()
        events = np.bincount(train.interactions.item_idx, minlength=train.num_items)
        scores = self.fitted().scores(self.histories())
        assert ((scores > 0) == (events <= 3)).all()
        assert (scores[:, COLD_ITEMS] > 0).all()
        assert scores.max() <= 1

    def test_every_new_item_comes_as_often_as_any_other(self) -> None:
        train = self.make_training()
        rng = np.random.default_rng(0)
        lengths = rng.integers(1, 60, 4000)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        items = rng.integers(0, train.num_items, indptr[-1])
        nobody, like = np.full(4000, -1), np.ones(len(items))
        users = HistoryBatch(
            nobody, indptr, items, like.astype(np.float32), items * 0, like > 0, nobody * 0
        )
        scores = self.fitted().scores(users)
        new = np.flatnonzero(scores[0] > 0)
        firsts = np.bincount(scores.argmax(axis=1), minlength=train.num_items)[new]
        expected = 4000 / len(new)
        assert np.abs(firsts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("source", [Trending(), NewItems()])
def test_both_are_loaded_by_name(source: Scorer, tmp_path) -> None:
    train = TestTrending.make_training()
    source.fit(train).save(tmp_path)
    again = load_source(source.name, tmp_path)
    users = TestTrending.histories()
    np.testing.assert_array_equal(again.scores(users), source.scores(users))


def test_further_new_items_enter_the_lot_and_the_others_keep_theirs() -> None:
    source = NewItems(NewItemsConfig(most_events=3)).fit(TestNewItems.make_training())
    histories = TestNewItems.histories()
    before, after = source.scores(histories), source.with_new(2).scores(histories)
    np.testing.assert_array_equal(after[:, :-2], before)
    assert (after[:, -2:] > 0).all()
