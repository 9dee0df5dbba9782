"""Unlisted items teach sources and rankers, and stand in no list of the pipeline."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranking_data import histories_of, make_sources, make_train, small_config

from kgrec.models.scorer import TrainingData
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.windows import make_cold_windows, make_windows
from kgrec.retrieval.candidates import CandidateConfig, CandidateGenerator

WHOLE = make_train()
LISTED = np.arange(WHOLE.num_items) % 6 > 1  # of both tastes, with the most popular unlisted


def with_unlisted(train: TrainingData) -> TrainingData:
    items = replace(train.dataset.items, listed=LISTED)
    return replace(train, dataset=replace(train.dataset, items=items))


TRAIN = with_unlisted(WHOLE)
CONFIG = small_config()
PIPELINE = fit_pipeline(TRAIN, make_sources, CONFIG)
USERS = histories_of(TRAIN, list(range(40)))


@pytest.mark.parametrize("has_time", [True, False])
def test_windows_ask_for_listed_items_alone(has_time: bool) -> None:
    train = with_unlisted(make_train(has_time=has_time))
    for window in make_windows(train, CONFIG.windows):
        assert LISTED[window.label_items].all()
        assert not LISTED[window.train.interactions.item_idx].all()
        if not has_time:  # nothing of them is cut away
            unlisted = ~LISTED[train.interactions.item_idx]
            assert (~LISTED[window.train.interactions.item_idx]).sum() == unlisted.sum()


def test_unlisted_items_are_never_hidden_as_cold() -> None:
    folds = CONFIG.windows.model_copy(update={"cold_folds": 4})
    for window in make_cold_windows(TRAIN, folds):
        assert LISTED[window.cold].all()


def test_sources_are_compared_by_their_best_listed_items() -> None:
    sources = {"ease": make_sources()["ease"].fit(TRAIN)}
    config = CandidateConfig(depth=8, cold_depth=0)
    cold = np.zeros(TRAIN.num_items, dtype=bool)
    found = CandidateGenerator(sources, config, cold, listed=LISTED).generate(USERS)
    best = sources["ease"].top(USERS, 8, allowed=LISTED)
    assert LISTED[found.item_idx].all()
    for row in range(len(USERS)):
        own = slice(found.indptr[row], found.indptr[row + 1])
        by_rank = found.item_idx[own][np.argsort(found.rank[own, 0], kind="stable")]
        assert len(by_rank) > 2  # those that tie with the next one are left out
        assert by_rank.tolist() == best.item_idx[row, : len(by_rank)].tolist()


def test_no_list_holds_an_unlisted_item() -> None:
    everything = np.ones(TRAIN.num_items, dtype=bool)
    for allowed in (None, everything, np.arange(TRAIN.num_items) < 30):
        for k in (5, TRAIN.num_items):  # the longer one is filled from outside the union
            top = PIPELINE.top(USERS, k, allowed=allowed)
            assert LISTED[top.item_idx[top.item_idx >= 0]].all()
        ranked = PIPELINE.rank_candidates(USERS, 5, allowed=allowed)
        assert LISTED[ranked.item_idx[ranked.item_idx >= 0]].all()
    assert (PIPELINE.top(USERS, 5).item_idx >= 0).all()


def test_a_history_of_unlisted_items_alone_tells_the_taste() -> None:
    own = ~LISTED[TRAIN.interactions.item_idx]
    unlisted = replace(TRAIN, interactions=TRAIN.interactions.take(own))
    top = PIPELINE.top(histories_of(unlisted, list(range(40))), 5).item_idx
    assert (top % 2 == np.arange(40)[:, None] % 2).mean() > 0.8


def test_what_is_listed_is_saved_with_the_pipeline(tmp_path: Path) -> None:
    PIPELINE.save(tmp_path)
    loaded = Pipeline.load(tmp_path)
    np.testing.assert_array_equal(loaded.top(USERS, 9).item_idx, PIPELINE.top(USERS, 9).item_idx)
    assert loaded.generator.listed is not None
    assert loaded.generator.listed.tolist() == LISTED.tolist()


def test_where_all_is_listed_nothing_changes() -> None:
    plain = fit_pipeline(WHOLE, make_sources, CONFIG)
    items = replace(WHOLE.dataset.items, listed=np.ones(WHOLE.num_items, dtype=bool))
    told = fit_pipeline(
        replace(WHOLE, dataset=replace(WHOLE.dataset, items=items)), make_sources, CONFIG
    )
    np.testing.assert_array_equal(plain.top(USERS, 9).item_idx, told.top(USERS, 9).item_idx)
