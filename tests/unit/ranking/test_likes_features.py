"""What the model of likes says, as features of the rankers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranking_data import make_sources, make_train, small_config

from kgrec.data.histories import HistoryBatch
from kgrec.models.scorer import TrainingData
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline, window_rows
from kgrec.ranking.feature_state import FeatureConfig, fit_feature_state
from kgrec.ranking.features import FeatureBuilder, FeatureMatrix
from kgrec.ranking.likes import TERMS, LikeConfig, LikeModel, fit_likes
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.row_cache import cache_key
from kgrec.ranking.taste_draws import TasteConfig
from kgrec.ranking.windows import WindowConfig, make_windows
from kgrec.retrieval.candidates import CandidateGenerator, Candidates

TRAIN = make_train()
NAMES = tuple(f"likes.{name}" for name in ("log_odds", *TERMS))
FEATURES = FeatureConfig(use_likes=True)
LIKES = LikeConfig(
    tastes=TasteConfig(factors=4, sweeps=12, forgotten=6, kept_every=3),
    company_factors=4,
    content_factors=4,
)
HISTORIES = HistoryBatch.from_interactions(TRAIN.interactions, np.arange(5))


def config() -> PipelineConfig:
    windows = WindowConfig(count=2, label_share=0.25, cold_folds=4)
    return small_config(features=FEATURES, likes=LIKES, windows=windows)


@pytest.fixture(scope="module")
def model() -> LikeModel:
    fitted = fit_likes(TRAIN, LIKES)
    assert fitted is not None
    return fitted


@pytest.fixture(scope="module")
def candidates() -> Candidates:
    sources = {name: source.fit(TRAIN) for name, source in make_sources().items()}
    cold = fit_feature_state(TRAIN, FEATURES).cold
    return CandidateGenerator(sources, config().candidates, cold).generate(HISTORIES)


def of_likes(matrix: FeatureMatrix) -> np.ndarray:
    return matrix.values[:, [matrix.names.index(name) for name in NAMES]]


def test_features_are_the_log_odds_and_their_terms(
    model: LikeModel, candidates: Candidates
) -> None:
    builder = FeatureBuilder(fit_feature_state(TRAIN, FEATURES), model)
    found = of_likes(builder.build(HISTORIES, candidates))
    pairs = HISTORIES, candidates.indptr, candidates.item_idx
    np.testing.assert_allclose(found[:, 0], model.log_odds(*pairs), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1:], model.terms(*pairs), rtol=1e-5)
    assert found.std(axis=0).min() > 0


def test_without_known_dislikes_they_are_zeros(candidates: Candidates) -> None:
    builder = FeatureBuilder(fit_feature_state(TRAIN, FEATURES))
    assert not of_likes(builder.build(HISTORIES, candidates)).any()


def test_unless_asked_for_they_are_not_there(model: LikeModel, candidates: Candidates) -> None:
    builder = FeatureBuilder(fit_feature_state(TRAIN, FeatureConfig()), model)
    assert not set(NAMES) & set(builder.build(HISTORIES, candidates).names)


def test_a_window_knows_no_verdict_of_its_labels() -> None:
    window = make_windows(TRAIN, config().windows)[1]
    sources = {"ease": make_sources()["ease"].fit(window.train)}
    rows = window_rows(window, sources, config(), None, whole=True).warm
    assert rows.behaviour is not None
    asked = window.histories.take(np.flatnonzero(window.positives_among(~window.cold) > 0))
    pairs = asked, rows.indptr, rows.behaviour.item_idx
    found = rows.values[:, rows.names.index("likes.log_odds")]
    before, later = fit_likes(window.train, LIKES), fit_likes(TRAIN, LIKES)
    assert before is not None
    assert later is not None
    np.testing.assert_allclose(found, before.log_odds(*pairs), rtol=1e-5)
    assert not np.allclose(found, later.log_odds(*pairs), rtol=1e-2)


def test_pipeline_ranks_by_them_and_comes_back_from_disk(tmp_path: Path) -> None:
    pipeline = fit_pipeline(TRAIN, make_sources, config(), cache_folder=tmp_path / "rows")
    assert set(NAMES) <= set(pipeline.warm.names)
    assert pipeline.cold is not None
    assert not set(NAMES) & set(pipeline.cold.names)
    pipeline.save(tmp_path / "saved")
    loaded = Pipeline.load(tmp_path / "saved")
    np.testing.assert_array_equal(pipeline.scores(HISTORIES), loaded.scores(HISTORIES))
    kept = fit_pipeline(TRAIN, make_sources, config(), cache_folder=tmp_path / "rows")
    np.testing.assert_array_equal(pipeline.scores(HISTORIES), kept.scores(HISTORIES))


def test_data_without_dislikes_trains_with_them() -> None:
    events = TRAIN.interactions
    liked: TrainingData = replace(
        TRAIN, interactions=replace(events, positive=np.ones(len(events), dtype=bool))
    )
    pipeline = fit_pipeline(liked, make_sources, config())
    assert pipeline.likes is None
    top = pipeline.top(HISTORIES, 3)
    assert (top.item_idx >= 0).all()


def test_rows_of_other_settings_of_likes_are_not_taken() -> None:
    window = make_windows(TRAIN, config().windows)[0]
    wider = LIKES.model_copy(update={"company_factors": 5})
    other = config().model_copy(update={"likes": wider})
    assert cache_key(window, {}, config(), None) != cache_key(window, {}, other, None)
