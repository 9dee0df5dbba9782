"""The ranker contract on lists with a planted answer, calibration, choice and files."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from ranking_data import small_config

from kgrec.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    MissingDependencyError,
    NotFittedError,
)
from kgrec.ranking import lightgbm_ranker
from kgrec.ranking.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
)
from kgrec.ranking.cross_network import CrossNetworkConfig, CrossNetworkRanker
from kgrec.ranking.lightgbm_ranker import LightGBMConfig, LightGBMRanker
from kgrec.ranking.linear import LinearConfig, LinearRanker
from kgrec.ranking.ranker import Ranker, RankingRows, ndcg_of_lists, stack_rows
from kgrec.ranking.selection import ChosenRanker, _chosen, choose_ranker, usable_rankers


def lists(count: int, seed: int, crossed: float = 1.0, size: int = 30) -> RankingRows:
    """Return lists whose positives follow x0 + crossed * x1 * x2; x3 and x4 are noise."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count * size, 5)).astype(np.float32)
    values[:, 4] = 7.0  # a constant feature
    utility = 1.5 * values[:, 0] + 1.5 * crossed * values[:, 1] * values[:, 2]
    odds = utility - 2.5
    label = (rng.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(np.float32)
    indptr = np.arange(0, count * size + 1, size)
    positives = label.reshape(count, size).sum(axis=1).astype(np.int64)
    return RankingRows(("a", "b", "c", "d", "e"), values, indptr, label, positives)


TRAIN, VAL, TEST = lists(150, 0), lists(60, 1), lists(200, 2)
MAKERS = {
    "cross_network": lambda: CrossNetworkRanker(
        CrossNetworkConfig(max_epochs=25, learning_rate=1e-2, lists_per_batch=16)
    ),
    "linear": lambda: LinearRanker(
        LinearConfig(max_epochs=12, lists_per_batch=8, learning_rate=2e-2)
    ),
    "lightgbm": lambda: LightGBMRanker(LightGBMConfig(rounds=80, threads=1, min_rows=20)),
    "lightgbm, other objectives": lambda: LightGBMRanker(
        LightGBMConfig(objectives=("rank_xendcg", "binary"), rounds=80, threads=1, min_rows=20)
    ),
}
# NDCG@20 on TEST: the planted utility gives 0.835, chance 0.417; a linear ranker cannot see x1 * x2
BANDS = {"cross_network": (0.80, 0.835), "linear": (0.68, 0.73), "lightgbm": (0.77, 0.83)}
BANDS["lightgbm, other objectives"] = BANDS["lightgbm"]


def quality(scores: np.ndarray, rows: RankingRows = TEST) -> float:
    return float(ndcg_of_lists(rows, scores).mean())


def test_bands_hold_the_planted_utility_and_exclude_chance() -> None:
    best = TEST.values[:, 0] + TEST.values[:, 1] * TEST.values[:, 2]
    assert 0.83 < quality(best) < 0.84
    assert 0.40 < quality(np.zeros(len(TEST), dtype=np.float32)) < 0.43


@pytest.mark.parametrize("name", MAKERS)
def test_trained_ranker_lies_in_its_band(name: str) -> None:
    low, high = BANDS[name]
    assert low < quality(MAKERS[name]().fit(TRAIN, VAL).scores(TEST.values)) < high


def test_untrained_network_lies_outside_the_band() -> None:
    frozen = CrossNetworkRanker(CrossNetworkConfig(max_epochs=1, learning_rate=1e-9))
    assert quality(frozen.fit(TRAIN).scores(TEST.values)) < 0.55


@pytest.mark.parametrize("name", MAKERS)
def test_same_seed_gives_the_same_scores(name: str) -> None:
    first, second = (MAKERS[name]().fit(TRAIN, VAL).scores(TEST.values) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", MAKERS)
def test_save_and_load_keep_scores(name: str, tmp_path: Path) -> None:
    ranker = MAKERS[name]().fit(TRAIN, VAL)
    ranker.save(tmp_path / "new")
    loaded = type(ranker).load(tmp_path / "new")
    np.testing.assert_array_equal(loaded.scores(TEST.values), ranker.scores(TEST.values))
    assert loaded.describe() == ranker.describe()
    written = {path.suffix for path in (tmp_path / "new").iterdir()}
    assert written <= {".json", ".safetensors", ".txt"}


@pytest.mark.parametrize("name", MAKERS)
def test_scores_row_by_row_equal_scores_of_all(name: str) -> None:
    ranker = MAKERS[name]().fit(TRAIN, VAL)
    every = ranker.scores(TEST.values[:20])
    alone = np.concatenate([ranker.scores(TEST.values[row : row + 1]) for row in range(20)])
    np.testing.assert_allclose(alone, every, rtol=1e-4, atol=1e-5)
    assert ranker.scores(TEST.values[:0]).shape == (0,)


@pytest.mark.parametrize("name", MAKERS)
def test_scores_before_fit_raise(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="call fit"):
        MAKERS[name]().scores(TEST.values)
    with pytest.raises(NotFittedError, match="call fit"):
        MAKERS[name]().save(tmp_path)


@pytest.mark.parametrize("name", MAKERS)
def test_load_of_empty_folder_names_the_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"ranker\.json.*train and save"):
        type(MAKERS[name]()).load(tmp_path)


@pytest.mark.parametrize("name", MAKERS)
def test_refit_without_validation_uses_the_best_length(name: str) -> None:
    ranker = MAKERS[name]().fit(TRAIN, VAL)
    again = ranker.fit(stack_rows([TRAIN, VAL]))
    assert quality(again.scores(TEST.values)) > BANDS[name][0]


def test_ndcg_of_lists_equals_a_naive_loop() -> None:
    scores = np.random.default_rng(3).normal(size=len(VAL)).astype(np.float32)
    found = ndcg_of_lists(VAL, scores, k=5)
    naive = []
    for row in range(len(VAL.positives)):
        if VAL.positives[row] == 0:
            continue
        here = slice(VAL.indptr[row], VAL.indptr[row + 1])
        best = np.argsort(-scores[here])[:5]
        gain = sum(VAL.label[here][item] / np.log2(place + 2) for place, item in enumerate(best))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(5, VAL.positives[row])))
        naive.append(gain / ideal)
    np.testing.assert_allclose(found, naive, rtol=1e-6)


def test_ndcg_of_equal_scores_does_not_follow_the_order_of_rows() -> None:
    rows = lists(400, 5)
    label = np.tile([1.0] * 3 + [0.0] * 27, 400).astype(np.float32)
    first = RankingRows(rows.names, rows.values, rows.indptr, label, np.full(400, 3))
    assert quality(np.zeros(len(label), dtype=np.float32), first) < 0.6


def test_positives_outside_the_list_lower_the_ndcg() -> None:
    missed = RankingRows(VAL.names, VAL.values, VAL.indptr, VAL.label, VAL.positives + 4)
    scores = VAL.values[:, 0]
    assert quality(scores, missed) < quality(scores, VAL)


def test_calibration_lowers_the_error_and_keeps_the_order() -> None:
    ranker = MAKERS["cross_network"]().fit(TRAIN, VAL)
    scores = 3.0 * ranker.scores(VAL.values) + 4.0
    calibration = fit_calibration(scores, VAL.label)
    test = 3.0 * ranker.scores(TEST.values) + 4.0
    before = expected_calibration_error(Calibration().probabilities(test), TEST.label)
    after = expected_calibration_error(calibration.probabilities(test), TEST.label)
    assert after < 0.03 < 0.2 < before
    order = np.argsort(test)
    assert (np.diff(calibration.log_odds(test[order])) >= 0).all()


def test_calibration_recovers_the_planted_curve() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=40_000).astype(np.float32)
    label = rng.random(40_000) < 1 / (1 + np.exp(-(1.7 * scores - 2.0)))
    calibration = fit_calibration(scores, label.astype(np.float32))
    assert calibration.slope == pytest.approx(1.7, abs=0.06)
    assert calibration.intercept == pytest.approx(-2.0, abs=0.06)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_calibration_of_one_kind_of_label_stays_finite(label: float) -> None:
    scores = np.linspace(-1, 1, 50).astype(np.float32)
    calibration = fit_calibration(scores, np.full(50, label, dtype=np.float32))
    assert calibration.slope > 0
    assert np.isfinite(calibration.probabilities(scores)).all()


def test_choice_takes_the_best_on_the_last_window() -> None:
    config = small_config(
        rankers=("linear", "cross_network"),
        blend=False,
        cross_network=CrossNetworkConfig(max_epochs=25, learning_rate=1e-2, lists_per_batch=16),
    )
    chosen = choose_ranker(TRAIN, VAL, config)
    assert list(chosen.rankers) == ["cross_network"]
    assert chosen.quality["cross_network"] > chosen.quality["linear"]
    assert chosen.quality["calibration_error"] < chosen.quality["calibration_error_before"]
    assert 0.75 < chosen.quality["gauc"] < 0.95
    assert 0.75 < chosen.quality["auc"] < 0.95
    share = VAL.label.mean()
    base = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert 0.2 < chosen.quality["log_loss"] < base


def test_sum_stands_unless_one_alone_beats_it_by_a_standard_error() -> None:
    tried = {"a": ("a",), "b": ("b",), "a+b": ("a", "b")}
    whole = np.tile([0.0, 1.0], 50)
    noisy = whole + np.tile([0.5, 0.5, -0.4, -0.4], 25)  # mean +.05, standard error .045
    assert _chosen({"a": noisy, "b": whole - 0.1, "a+b": whole}, tried) == "a"
    assert _chosen({"a": noisy - 0.01, "b": whole - 0.1, "a+b": whole}, tried) == "a+b"
    assert _chosen({"a": noisy, "b": whole + 0.2}, {"a": ("a",), "b": ("b",)}) == "b"


def test_sum_of_rankers_is_saved_and_loaded(tmp_path: Path) -> None:
    parts: dict[str, Ranker] = {
        name: MAKERS[name]().fit(TRAIN, VAL) for name in ("linear", "lightgbm")
    }
    spread = {"linear": 2.0, "lightgbm": 0.5}
    chosen = ChosenRanker(TRAIN.names, parts, spread, Calibration(1.2, -0.3), {"both": 0.5})
    chosen.save(tmp_path / "new")
    loaded = ChosenRanker.load(tmp_path / "new")
    np.testing.assert_array_equal(loaded.scores(TEST.values), chosen.scores(TEST.values))
    total = sum(part.scores(TEST.values) / spread[name] for name, part in parts.items())
    np.testing.assert_allclose(chosen.scores(TEST.values), 1.2 * total - 0.3, rtol=1e-4, atol=1e-4)


def test_missing_lightgbm_leaves_the_other_rankers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    lightgbm_ranker.import_lightgbm.cache_clear()
    monkeypatch.setattr(importlib, "import_module", fail)
    assert usable_rankers(small_config(rankers=("lightgbm", "linear"))) == ("linear",)
    with pytest.raises(MissingDependencyError, match="pip install lightgbm"):
        usable_rankers(small_config(rankers=("lightgbm",)))
    lightgbm_ranker.import_lightgbm.cache_clear()


def test_unknown_ranker_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'rankers' among .*nonsense"):
        usable_rankers(small_config(rankers=("nonsense",)))


def test_rows_with_other_features_do_not_stack() -> None:
    other = RankingRows(("a", "b", "c", "d", "z"), *list(vars(VAL).values())[1:])
    with pytest.raises(DataError, match=r"differing \['e', 'z'\]"):
        stack_rows([TRAIN, other])
