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
