"""Windows, leaks, the equality of training and serving features, and resuming."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from ranking_data import make_sources, make_train, small_config

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.errors import ConfigError, DataError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.ranking.crossfit import fit_pipeline, window_rows
from kgrec.ranking.feature_state import fit_feature_state
from kgrec.ranking.features import FeatureBuilder
from kgrec.ranking.row_cache import read_rows, write_rows
from kgrec.ranking.windows import Window, WindowConfig, make_windows
from kgrec.retrieval.candidates import CandidateGenerator

TRAIN = make_train()
CONFIG = small_config()
WINDOWS = make_windows(TRAIN, CONFIG.windows)


class Memoriser(Scorer):
    """Scores 1 what it was shown of a user, though it is no part of the request: a canary."""

    name: ClassVar[str] = "memoriser"

    def fit(self, train: TrainingData) -> Self:
        liked = train.interactions.positives()
        self._seen = liked.matrix(train.num_users, train.num_items).toarray()
        return self

    def scores(self, histories: HistoryBatch) -> FloatArray:
        return self._seen[histories.user_idx].astype(np.float32)

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


def fitted(window: Window) -> dict[str, Scorer]:
    return {name: source.fit(window.train) for name, source in make_sources().items()}


def pair_keys(users: np.ndarray, items: np.ndarray) -> set[int]:
    return set((users * TRAIN.num_items + items).tolist())


def label_users(window: Window) -> np.ndarray:
    return np.repeat(window.histories.user_idx, np.diff(window.label_indptr))


@pytest.mark.parametrize("has_time", [True, False])
def test_labels_are_never_among_the_events_of_the_window(has_time: bool) -> None:
    for window in make_windows(make_train(has_time=has_time), CONFIG.windows):
        known = window.train.interactions
        labels = pair_keys(label_users(window), window.label_items)
        assert labels
        assert not labels & pair_keys(known.user_idx, known.item_idx)


def test_labels_reach_further_without_another_cut() -> None:
    plain = WindowConfig(count=2, label_share=0.2, hidden_folds=0)
    near, far = (
        make_windows(TRAIN, plain.model_copy(update={"reach_share": share}))
        for share in (None, 0.3)
    )
    for short, long in zip(near, far, strict=True):
        known = [
            pair_keys(w.train.interactions.user_idx, w.train.interactions.item_idx)
            for w in (short, long)
        ]
        assert known[0] == known[1]
        labels = [pair_keys(label_users(w), w.label_items) for w in (short, long)]
        assert labels[0] <= labels[1]
        assert not labels[1] & known[1]
    assert len(far[0].label_items) > len(near[0].label_items)  # half of the next slice as well
    np.testing.assert_array_equal(far[1].label_items, near[1].label_items)  # there is no more


def test_labels_of_seen_items_come_after_the_history() -> None:
    for window in WINDOWS:
        warm = ~window.cold[window.label_items]
        last = window.histories.now[
            np.repeat(np.arange(len(window.histories)), np.diff(window.label_indptr))
        ]
        events = TRAIN.interactions
        time_of = dict(
            zip(
                (events.user_idx * TRAIN.num_items + events.item_idx).tolist(),
                events.timestamp.tolist(),
                strict=True,
            )
        )
        keys = label_users(window) * TRAIN.num_items + window.label_items
        times = np.array([time_of[key] for key in keys.tolist()])
        assert (times[warm] >= last[warm] - 1).all()


def test_hidden_items_lose_every_event_and_become_labels() -> None:
    for window in WINDOWS:
        touched = np.unique(TRAIN.interactions.item_idx)
        hidden = touched[window.cold[touched]]
        assert len(hidden) >= len(touched) // 8
        assert np.isin(window.label_items, hidden).any()
        assert not np.isin(window.train.interactions.item_idx, hidden).any()


def test_windows_hide_different_items_and_move_on_in_time() -> None:
    first, second = WINDOWS
    touched = np.unique(TRAIN.interactions.item_idx)
    assert not (first.cold & second.cold)[touched].any()
    assert len(second.train.interactions) > len(first.train.interactions)


def test_windows_are_the_same_for_the_same_seed() -> None:
    again = make_windows(TRAIN, CONFIG.windows)
    for one, other in zip(WINDOWS, again, strict=True):
        np.testing.assert_array_equal(one.label_items, other.label_items)
        np.testing.assert_array_equal(one.cold, other.cold)


def test_windows_without_anyone_to_ask_are_refused() -> None:
    few = replace(TRAIN, interactions=TRAIN.interactions.take(np.arange(2)))
    with pytest.raises(DataError, match=r"window 0 of 3.*fewer windows"):
        make_windows(few, WindowConfig())


def test_features_that_train_are_the_features_that_serve() -> None:
    window = WINDOWS[-1]
    sources = fitted(window)
    trained = window_rows(window, sources, CONFIG, None, whole=True)
    # serving: one user at a time, only the request known
    builder = FeatureBuilder(fit_feature_state(window.train, CONFIG.features))
    generator = CandidateGenerator(sources, CONFIG.candidates, window.cold)
    for rows, allowed in ((trained.warm, ~window.cold), (trained.cold, window.cold)):
        asked = np.flatnonzero(window.positives_among(allowed) > 0)
        assert len(asked) == len(rows.indptr) - 1
        for place, user in enumerate(asked.tolist()):
            request = window.histories.take(np.array([user]))
            candidates = generator.generate(request, allowed=allowed)
            served = builder.build(request, candidates)
            assert served.names == rows.names
            here = slice(rows.indptr[place], rows.indptr[place + 1])
            np.testing.assert_allclose(served.values, rows.values[here], rtol=1e-4, atol=1e-4)
            own = window.label_items[window.label_indptr[user] : window.label_indptr[user + 1]]
            expected = np.isin(candidates.item_idx, own)
            np.testing.assert_array_equal(rows.label[here] > 0, expected)


def test_sampled_rows_keep_every_positive_and_are_rows_of_the_whole() -> None:
    window = WINDOWS[0]
    sources = fitted(window)
    whole = window_rows(window, sources, CONFIG, None, whole=True).warm
    sample = window_rows(window, sources, CONFIG, None, whole=False).warm
    assert sample.label.sum() == whole.label.sum()
    assert (sample.label == 0).sum() < (whole.label == 0).sum()
    rows = {row.tobytes() for row in whole.values}
    assert all(row.tobytes() in rows for row in sample.values)


def auc(score: np.ndarray, label: np.ndarray) -> float:
    rank = np.argsort(np.argsort(score + 1e-9 * np.random.default_rng(0).random(len(score))))
    positive = label > 0
    count = positive.sum()
    return float((rank[positive].mean() - (count - 1) / 2) / (len(label) - count))


def test_memorising_source_tells_nothing_when_cross_fitted_and_all_when_not() -> None:
    window = WINDOWS[-1]
    honest = {**fitted(window), "memoriser": Memoriser().fit(window.train)}
    leaky = {**fitted(window), "memoriser": Memoriser().fit(TRAIN)}
    quality = {}
    for kind, sources in (("honest", honest), ("leaky", leaky)):
        rows = window_rows(window, sources, CONFIG, None, whole=True).warm
        quality[kind] = auc(rows.values[:, rows.names.index("source.memoriser.z")], rows.label)
    assert 0.4 < quality["honest"] < 0.6
    assert quality["leaky"] > 0.95  # the test can see a leak


def test_fit_pipeline_gives_sources_the_past_of_each_window_only() -> None:
    shown: list[TrainingData] = []

    class Watcher(Memoriser):
        name: ClassVar[str] = "watcher"

        def fit(self, train: TrainingData) -> Self:
            shown.append(train)
            return super().fit(train)

    fit_pipeline(TRAIN, lambda: {**make_sources(), "watcher": Watcher()}, CONFIG)
    assert len(shown) == len(WINDOWS) + 1
    for train, window in zip(shown[:-1], WINDOWS, strict=True):
        events = train.interactions
        assert not pair_keys(label_users(window), window.label_items) & pair_keys(
            events.user_idx, events.item_idx
        )
    assert len(shown[-1].interactions) == len(TRAIN.interactions)


def test_killed_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    fits: list[int] = []

    class Counted(Memoriser):
        def fit(self, train: TrainingData) -> Self:
            fits.append(len(train.interactions))
            if len(fits) == 2:
                raise KeyboardInterrupt
            return super().fit(train)

    def sources() -> Mapping[str, Scorer]:
        return {**make_sources(), "memoriser": Counted()}

    with pytest.raises(KeyboardInterrupt):
        fit_pipeline(TRAIN, sources, CONFIG, cache_folder=tmp_path)
    resumed = fit_pipeline(TRAIN, sources, CONFIG, cache_folder=tmp_path)
    assert len(fits) == 4  # window 1; window 2 killed; window 2 again; all of train
    plain = fit_pipeline(TRAIN, sources, CONFIG)
    users = WINDOWS[0].histories
    np.testing.assert_array_equal(resumed.scores(users), plain.scores(users))


def test_cached_rows_are_not_used_for_other_settings(tmp_path: Path) -> None:
    fit_pipeline(TRAIN, make_sources, CONFIG, cache_folder=tmp_path)
    assert len(list(tmp_path.glob("window-*.safetensors"))) == 2
    fit_pipeline(TRAIN, make_sources, small_config(negatives=5), cache_folder=tmp_path)
    assert len(list(tmp_path.glob("window-*.safetensors"))) == 4


def test_rows_survive_the_cache_file(tmp_path: Path) -> None:
    rows = window_rows(WINDOWS[0], fitted(WINDOWS[0]), CONFIG, None, whole=False)
    write_rows(rows, tmp_path / "new" / "rows.safetensors")
    assert rows.warm.behaviour is not None
    content = rows.warm.behaviour.content
    again = read_rows(tmp_path / "new" / "rows.safetensors", content)
    for one, other in ((rows.warm, again.warm), (rows.cold, again.cold)):
        assert one.names == other.names
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.positives, other.positives)
        assert one.behaviour is not None
        assert other.behaviour is not None
        for name, array in vars(one.behaviour).items():
            np.testing.assert_array_equal(array, getattr(other.behaviour, name))


def test_no_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one candidate source"):
        fit_pipeline(TRAIN, dict, CONFIG)


def test_progress_is_told_from_start_to_end() -> None:
    told: list[tuple[str, float]] = []
    fit_pipeline(
        TRAIN, make_sources, CONFIG, progress=lambda step, share: told.append((step, share))
    )
    assert told[0] == ("window 1 of 2", 0.0)
    assert told[-1] == ("done", 1.0)
    assert [share for _, share in told] == sorted(share for _, share in told)
