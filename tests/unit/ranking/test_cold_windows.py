"""Cold items learned from items hidden in turn from whole histories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from ranking_data import make_sources, make_train, small_config

from kgrec.data.histories import HistoryBatch
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.windows import WindowConfig, make_cold_windows, make_windows

TRAIN = make_train()
WINDOWS = WindowConfig(count=2, hidden_folds=0, cold_folds=4)


def config_with_cold_windows() -> PipelineConfig:
    config = small_config()
    return config.model_copy(
        update={"windows": config.windows.model_copy(update={"hidden_folds": 0, "cold_folds": 4})}
    )


def test_each_touched_item_is_hidden_once_and_from_everyone() -> None:
    windows = make_cold_windows(TRAIN, WINDOWS)
    hidden = np.sum([window.cold for window in windows], axis=0)
    touched = np.bincount(TRAIN.interactions.item_idx, minlength=TRAIN.num_items) > 0
    np.testing.assert_array_equal(hidden, touched)
    for window in windows:
        assert not window.cold[window.train.interactions.item_idx].any()
        assert not window.cold[window.histories.item_idx].any()
        assert window.cold[window.label_items].all()


def test_histories_are_whole_but_for_the_hidden_items() -> None:
    events = TRAIN.interactions
    for window in make_cold_windows(TRAIN, WINDOWS):
        for row, user in enumerate(window.histories.user_idx[:5]):
            own = events.item_idx[events.user_idx == user]
            start, stop = window.histories.indptr[row : row + 2]
            expected = own[~window.cold[own]]
            np.testing.assert_array_equal(window.histories.item_idx[start:stop], expected)


def test_labels_are_all_hidden_likes_of_the_user() -> None:
    events = TRAIN.interactions
    window = make_cold_windows(TRAIN, WINDOWS)[0]
    for row, user in enumerate(window.histories.user_idx):
        mine = (events.user_idx == user) & events.positive & window.cold[events.item_idx]
        start, stop = window.label_indptr[row : row + 2]
        np.testing.assert_array_equal(
            window.label_items[start:stop], np.unique(events.item_idx[mine])
        )


def test_as_many_users_are_asked_as_in_the_windows_in_time() -> None:
    few = WINDOWS.model_copy(update={"max_users": 10})
    assert [len(window.histories) for window in make_windows(TRAIN, few)] == [10, 10]
    assert [len(window.histories) for window in make_cold_windows(TRAIN, few)] == [5, 5, 5, 5]


def test_ranker_of_cold_items_reads_the_sources_of_content_alone(tmp_path: Path) -> None:
    config = config_with_cold_windows()
    pipeline = fit_pipeline(TRAIN, make_sources, config, cache_folder=tmp_path / "rows")
    assert pipeline.cold is not None
    asked = {name.split(".")[1] for name in pipeline.cold.names if name.startswith("source.")}
    assert asked == set(config.candidates.cold_sources) & set(pipeline.sources)
    assert set(pipeline.cold.names) < set(pipeline.warm.names)
    histories = HistoryBatch.from_interactions(TRAIN.interactions, np.arange(6))
    again = fit_pipeline(TRAIN, make_sources, config, cache_folder=tmp_path / "rows")
    np.testing.assert_array_equal(pipeline.scores(histories), again.scores(histories))
    pipeline.save(tmp_path / "saved")
    loaded = Pipeline.load(tmp_path / "saved")
    np.testing.assert_array_equal(pipeline.scores(histories), loaded.scores(histories))
    top = pipeline.top(histories, 3, allowed=pipeline.state.cold)
    assert pipeline.state.cold[top.item_idx].all()


def test_items_that_nobody_likes_make_no_window_and_stop_no_training() -> None:
    events = TRAIN.interactions
    liked = np.unique(events.item_idx[events.positive])
    chosen = events.positive & np.isin(events.item_idx, liked[:3])
    few = replace(TRAIN, interactions=replace(events, positive=chosen))
    alone = WINDOWS.model_copy(update={"cold_folds": TRAIN.num_items + 5})  # one item each
    windows = make_cold_windows(few, alone)
    assert sorted(int(np.flatnonzero(window.cold)[0]) for window in windows) == liked[:3].tolist()


def test_too_few_windows_of_hidden_items_leave_the_ranker_out() -> None:
    config = config_with_cold_windows()
    one = config.windows.model_copy(update={"cold_folds": 1})  # hides everything: no history left
    pipeline = fit_pipeline(TRAIN, make_sources, config.model_copy(update={"windows": one}))
    assert pipeline.cold is None


def test_without_a_source_of_content_new_items_have_no_ranker_of_their_own() -> None:
    told: list[str] = []
    pipeline = fit_pipeline(
        TRAIN,
        lambda: {"ease": make_sources()["ease"]},
        config_with_cold_windows(),
        progress=lambda step, share: told.append(step),
    )
    assert pipeline.cold is None
    assert any(step.startswith("new items have no ranker") for step in told)
    histories = HistoryBatch.from_interactions(TRAIN.interactions, np.arange(6))
    assert (pipeline.top(histories, 3).item_idx >= 0).all()
