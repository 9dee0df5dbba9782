"""The pipeline: what its scores mean, filters, cold items, provenance and files."""

from pathlib import Path

import numpy as np
import pytest
from ranking_data import COLD, histories_of, make_sources, make_train, small_config

from kgrec.errors import ArtifactError, NotFittedError
from kgrec.models.top_items import TopItems
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.pipeline import OUTSIDE, Pipeline
from kgrec.ranking.source_registry import load_source

TRAIN = make_train()
PIPELINE = fit_pipeline(TRAIN, make_sources, small_config(indexed_sources=("content_ridge",)))
USERS = histories_of(TRAIN, [3, 10, 21, 44])


def test_items_outside_the_union_score_below_those_inside() -> None:
    scores, candidates = PIPELINE.scores(USERS), PIPELINE.candidates(USERS)
    inside = np.zeros(scores.shape, dtype=bool)
    inside[candidates.row_of_pair, candidates.item_idx] = True
    assert (scores[inside] > OUTSIDE).all()
    assert (scores[~inside] < OUTSIDE).all()
    assert (~inside).any()


def test_lists_without_candidates_are_filled_in_an_order_of_each_user_and_seed() -> None:
    outside = PIPELINE._outside()
    values, counts = np.unique(outside, return_counts=True)
    allowed = outside == values[counts.argmax()]  # nothing tells these items apart
    assert allowed.sum() > 1
    users = histories_of(TRAIN, list(range(40)))
    nothing = TopItems(np.full((40, 1), -1), np.full((40, 1), -np.inf, dtype=np.float32))
    firsts = PIPELINE._filled(users, nothing, allowed, 0).item_idx[:, 0]
    found = firsts[firsts >= 0]  # who knows all of them gets none
    assert allowed[found].all()
    assert len(np.unique(found)) > 1
    assert (PIPELINE._filled(users, nothing, allowed, 1).item_idx[:, 0] != firsts).any()


def test_learned_ranking_prefers_the_taste_of_the_user() -> None:
    top = PIPELINE.top(histories_of(TRAIN, list(range(40))), 5).item_idx
    assert (top % 2 == np.arange(40)[:, None] % 2).mean() > 0.9


def test_rank_candidates_agrees_with_scores_and_tells_where_items_come_from() -> None:
    pipeline = PIPELINE.with_cold_weight(0.0)  # what cold_depth brings stands deeper in its source
    ranked = pipeline.rank_candidates(USERS, 6)
    scores = np.take_along_axis(pipeline.scores(USERS), ranked.item_idx, axis=1)
    np.testing.assert_allclose(ranked.score, scores, rtol=1e-5)
    assert (np.diff(ranked.score, axis=1) <= 0).all()
    assert ((ranked.probability > 0) & (ranked.probability < 1)).all()
    assert (ranked.source_rank > 0).any(axis=2).all()
    for column, name in enumerate(ranked.source_names):
        best = PIPELINE.sources[name].top(USERS, 12)
        for row, place in zip(*np.nonzero(ranked.source_rank[:, :, column]), strict=True):
            score = best.score[row, ranked.source_rank[row, place, column] - 1]
            where = np.flatnonzero(best.item_idx[row] == ranked.item_idx[row, place])
            if len(where):
                assert best.score[row, where[0]] == pytest.approx(score, rel=1e-5)


def test_sources_that_bring_nothing_are_named_by_no_item() -> None:
    names = list(PIPELINE.sources)
    quotas = {names[0]: 0, names[1]: 3}
    candidates = PIPELINE.config.candidates.model_copy(update={"quotas": quotas})
    config = PIPELINE.config.model_copy(update={"candidates": candidates})
    pipeline = Pipeline(
        config,
        PIPELINE.sources,
        PIPELINE.state,
        PIPELINE.warm,
        PIPELINE.cold,
        PIPELINE.indexes,
        PIPELINE.likes,
    )
    found = pipeline.rank_candidates(USERS, 20)
    assert (found.source_rank[:, :, 0] == 0).all()
    assert found.source_rank[:, :, 1].max() == 3
    assert found.source_rank[:, :, 2].max() > 3


def test_items_that_come_for_want_of_events_or_by_a_filter_name_who_brought_them() -> None:
    cold = PIPELINE.state.cold
    candidates = PIPELINE.config.candidates.model_copy(update={"depth": 3, "cold_depth": 2})
    config = PIPELINE.config.model_copy(update={"candidates": candidates})
    parts = (PIPELINE.sources, PIPELINE.state, PIPELINE.warm, PIPELINE.cold, PIPELINE.indexes)
    pipeline = Pipeline(config, *parts)
    for allowed in (None, np.arange(TRAIN.num_items) % 3 == 1):
        found = pipeline.rank_candidates(USERS, 30, allowed=allowed)
        there = found.item_idx >= 0
        assert (there & cold[found.item_idx]).any()
        np.testing.assert_array_equal((found.source_rank > 0).any(axis=2), there)
        named = found.source_rank[there & cold[found.item_idx]] > 0
        for column, name in enumerate(found.source_names):
            assert named[:, column].any() <= (
                name in candidates.cold_sources or allowed is not None
            )
        beyond = found.source_rank == 4
        assert beyond[there & cold[found.item_idx]].any()
        assert allowed is not None or not beyond[there & ~cold[found.item_idx]].any()


def test_pipeline_ranks_the_candidates_that_the_preselection_puts_first(tmp_path: Path) -> None:
    config = PIPELINE.config.model_copy(update={"reranked": 12})
    parts = (PIPELINE.sources, PIPELINE.state, PIPELINE.warm, PIPELINE.cold, PIPELINE.indexes)
    few = Pipeline(config, *parts, preselection=PIPELINE.preselection)
    every = Pipeline(config, *parts)  # without one, all are ranked
    assert np.diff(few.candidates(USERS).indptr).tolist() == [12] * len(USERS)
    assert (np.diff(every.candidates(USERS).indptr) > 18).all()
    found, best = few.rank_candidates(USERS, 5), every.rank_candidates(USERS, 5)
    same = [np.isin(a, b).mean() for a, b in zip(found.item_idx, best.item_idx, strict=True)]
    assert np.mean(same) > 0.7  # sources that a toy ranker hardly heeds cost a few
    longer = few.rank_candidates(USERS, 18)
    assert (longer.item_idx >= 0).all()  # a longer list has more candidates ranked
    few.save(tmp_path)
    again = Pipeline.load(tmp_path).rank_candidates(USERS, 5)
    np.testing.assert_array_equal(again.item_idx, found.item_idx)
    assert few.describe()["preselection"]["best_20_kept"]


def test_rank_candidates_pads_where_the_union_is_short() -> None:
    ranked = PIPELINE.rank_candidates(USERS, 60)
    short = ranked.item_idx < 0
    assert short.any()
    assert np.isneginf(ranked.score[short]).all()
    assert (ranked.probability[short] == 0).all()


def test_top_under_a_filter_brings_the_best_allowed_of_every_source() -> None:
    allowed = np.zeros(TRAIN.num_items, dtype=bool)
    allowed[-COLD:] = True
    top = PIPELINE.top(USERS, COLD, allowed=allowed)
    assert (
        np.sort(top.item_idx, axis=1) == np.arange(TRAIN.num_items - COLD, TRAIN.num_items)
    ).all()
    assert (top.score[:, 0] > OUTSIDE).all()


def test_score_candidates_equals_scores_inside_and_is_no_outside_value() -> None:
    candidates = PIPELINE.candidates(USERS)
    score, probability = PIPELINE.score_candidates(USERS, candidates.indptr, candidates.item_idx)
    expected = PIPELINE.scores(USERS)[candidates.row_of_pair, candidates.item_idx]
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-4)
    every = np.tile(np.arange(TRAIN.num_items)[::-1], len(USERS))
    indptr = np.arange(len(USERS) + 1) * TRAIN.num_items
    score, probability = PIPELINE.score_candidates(USERS, indptr, every)
    assert (score > OUTSIDE).all()
    assert ((probability >= 0) & (probability <= 1)).all()


def test_cold_weight_lowers_items_without_events_only() -> None:
    low = PIPELINE.with_cold_weight(0.01)
    candidates = PIPELINE.candidates(USERS)
    cold = PIPELINE.state.cold[candidates.item_idx]
    assert cold.any()
    assert PIPELINE.cold is not None
    before, same = PIPELINE.candidate_scores(USERS, candidates)
    after, probability = low.candidate_scores(USERS, candidates)
    np.testing.assert_array_equal(after[~cold], before[~cold])
    expected = np.log(0.01 / PIPELINE.cold_weight)
    np.testing.assert_allclose(after[cold] - before[cold], expected, rtol=1e-4)
    np.testing.assert_array_equal(probability, same)


def test_a_given_cold_weight_stands_and_a_larger_loss_gives_a_larger_one() -> None:
    given = fit_pipeline(TRAIN, make_sources, small_config(cold_weight=0.3))
    assert given.cold_weight == 0.3
    little, much = (
        fit_pipeline(TRAIN, make_sources, small_config(cold_loss=loss)).cold_weight
        for loss in (0.001, 0.3)
    )
    assert 0.0 < little < much <= 1.0


def test_same_seed_gives_the_same_pipeline() -> None:
    again = fit_pipeline(TRAIN, make_sources, PIPELINE.config)
    np.testing.assert_array_equal(again.scores(USERS), PIPELINE.scores(USERS))


def test_save_and_load_keep_scores_indexes_and_description(tmp_path: Path) -> None:
    PIPELINE.save(tmp_path / "new")
    loaded = Pipeline.load(tmp_path / "new")
    assert loaded.cold_weight == PIPELINE.cold_weight
    np.testing.assert_array_equal(loaded.scores(USERS), PIPELINE.scores(USERS))
    assert loaded.describe() == PIPELINE.describe()
    assert loaded.indexes["content_ridge"].description["recall"] == 1.0


def test_saving_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    PIPELINE.save(tmp_path / "a")
    Pipeline.load(tmp_path / "a").save(tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_load_of_empty_folder_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"pipeline\.json.*train and save"):
        Pipeline.load(tmp_path)


def test_unknown_source_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nonsense"):
        load_source("nonsense", tmp_path)


def test_fit_says_who_fits_a_pipeline() -> None:
    with pytest.raises(NotFittedError, match="fit_pipeline"):
        PIPELINE.fit(TRAIN)
