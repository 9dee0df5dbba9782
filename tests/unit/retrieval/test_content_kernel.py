"""Regressions on content: of a history in closed form, and profiles of behaviour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ranking_data import make_train

from kgrec.data.histories import HistoryBatch
from kgrec.models.baselines.event_weights import history_matrix
from kgrec.retrieval.content_kernel import ContentKernel, ContentKernelConfig
from kgrec.retrieval.content_ridge import ContentRidge, ContentRidgeConfig, content_matrix
from kgrec.retrieval.content_vectors import number_vectors

TRAIN = make_train()
HISTORIES = HistoryBatch.from_interactions(TRAIN.interactions, np.arange(9))


def test_scores_are_the_ridge_regression_of_each_history_on_content() -> None:
    config = ContentKernelConfig(ridge=3.0, negative_weight=0.2)
    content = content_matrix(TRAIN, None).astype(np.float64)
    touched = np.bincount(TRAIN.interactions.item_idx, minlength=TRAIN.num_items) > 0
    events = history_matrix(HISTORIES, TRAIN.num_items, 0.2).toarray().astype(np.float64)
    target = (events - events[:, touched].mean(axis=1, keepdims=True))[:, touched]
    known = content[touched]
    solved = np.linalg.solve(known.T @ known + 3.0 * np.eye(known.shape[1]), known.T @ target.T)
    scores = ContentKernel(config).fit(TRAIN).scores(HISTORIES)
    np.testing.assert_allclose(scores, (content @ solved).T, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("source", "config"),
    [(ContentKernel, ContentKernelConfig), (ContentRidge, ContentRidgeConfig)],
)
def test_graph_dim_says_how_much_of_the_graph_is_read(
    source: type[ContentRidge], config: type[ContentRidgeConfig]
) -> None:
    scores = [
        source(config(factors=4, graph_dim=dim)).fit(TRAIN).scores(HISTORIES) for dim in (2, 128)
    ]
    default = source(config(factors=4)).fit(TRAIN).scores(HISTORIES)
    assert not np.allclose(scores[0], scores[1])
    np.testing.assert_array_equal(scores[1], default)
    narrow = content_matrix(TRAIN, None, 2).shape[1]
    assert content_matrix(TRAIN, None).shape[1] > narrow


def test_number_vectors_of_known_numbers() -> None:
    catalogue = np.array([0.0, 1.0, 2.0, 3.0, 4.0, np.nan], dtype=np.float32)
    plain = number_vectors(catalogue)
    spread = np.sqrt(2.0)
    scaled = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / spread
    np.testing.assert_allclose(plain[:5, 0], scaled / 2, rtol=1e-6)
    np.testing.assert_allclose(plain[:5, 1], (scaled**2 - 1) / 2, rtol=1e-5, atol=1e-6)
    told = np.array([1.0, 2.5, 40.0, np.nan])
    found = number_vectors(told, 5, catalogue)
    places = [[0, 1, 0, 0, 0], [0, 0, 0.5, 0.5, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    np.testing.assert_allclose(found[:, 2:], np.array(places) / 2, atol=1e-6)
    np.testing.assert_array_equal(found[3], 0.0)
    np.testing.assert_array_equal(number_vectors(catalogue, 5)[:, :2], plain)


@pytest.mark.parametrize("values", [[2.0, 2.0, np.nan], [np.nan, np.nan]])
def test_a_number_that_tells_nothing_apart_has_no_vectors(values: list[float]) -> None:
    assert number_vectors(np.array(values), 20).shape == (len(values), 0)


def test_knots_tell_years_apart() -> None:
    config = ContentKernelConfig(number_knots=20)
    content = content_matrix(TRAIN, None, number_knots=20)
    assert content.shape[1] > content_matrix(TRAIN, None).shape[1]
    scores = ContentKernel(config).fit(TRAIN).scores(HISTORIES)
    assert not np.allclose(scores, ContentKernel().fit(TRAIN).scores(HISTORIES))


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ContentKernel().fit(TRAIN).scores(HISTORIES)
    monkeypatch.setattr("kgrec.retrieval.content_kernel._BLOCK", 7)
    parts = ContentKernel().fit(TRAIN).scores(HISTORIES)
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)


def test_save_and_load_keep_scores(tmp_path: Path) -> None:
    behaviour = ContentRidge(ContentRidgeConfig(factors=4, profile_of_behaviour=True))
    for source in (ContentKernel(), behaviour):
        fitted = source.fit(TRAIN)
        fitted.save(tmp_path / source.name)
        loaded = type(source).load(tmp_path / source.name)
        assert loaded.config == source.config
        np.testing.assert_array_equal(loaded.scores(HISTORIES), fitted.scores(HISTORIES))


def test_profile_of_behaviour_forgets_content_of_the_history() -> None:
    config = ContentRidgeConfig(factors=4, profile_of_behaviour=True)
    source = ContentRidge(config).fit(TRAIN)
    plain = ContentRidge(config.model_copy(update={"profile_of_behaviour": False})).fit(TRAIN)
    np.testing.assert_array_equal(source.item_vectors(), plain.item_vectors())
    assert not np.allclose(source.user_vectors(HISTORIES), plain.user_vectors(HISTORIES))


def test_further_items_are_scored_and_tell_nothing_as_history() -> None:
    new = np.ones((2, 4), dtype=np.float32)
    config = ContentRidgeConfig(factors=4, profile_of_behaviour=True)
    for source in (ContentRidge(config).fit(TRAIN), ContentKernel().fit(TRAIN)):
        wider = source.with_rows(
            new
            if source.name == "content_ridge"
            else new.repeat(source.item_vectors().shape[1] // 4 + 1, axis=1)[
                :, : source.item_vectors().shape[1]
            ]
        )
        scores = wider.scores(HISTORIES)
        assert scores.shape == (9, TRAIN.num_items + 2)
        np.testing.assert_allclose(scores[:, :-2], source.scores(HISTORIES), rtol=1e-4, atol=1e-5)
