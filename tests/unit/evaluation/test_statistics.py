"""Intervals cover what they should, paired tests know known answers, memory is bounded."""

import numpy as np
import pytest
from scipy import stats

from kgrec.errors import DataError
from kgrec.evaluation.statistics import (
    bootstrap_interval,
    bootstrap_intervals,
    mean_over_seeds,
    paired_test,
    set_interval,
)


def test_bootstrap_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        sample = rng.beta(0.5, 2.0, size=150)  # skewed, like recall
        covered += not bootstrap_interval(sample, seed=trial, resamples=500).excludes(0.2)
    assert 0.91 <= covered / 400 <= 0.98


def test_bootstrap_interval_equals_scipys_within_noise() -> None:
    sample = np.random.default_rng(1).random(200)
    ours = bootstrap_interval(sample, resamples=20_000)
    theirs = stats.bootstrap(
        (sample,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=1e-3)
    assert ours.high == pytest.approx(theirs.high, abs=1e-3)


def test_bootstrap_is_seeded_and_the_same_for_columns_as_for_one() -> None:
    table = np.random.default_rng(3).random((50, 3))
    both = bootstrap_intervals(table, seed=4)
    alone, other = (bootstrap_interval(table[:, 1], seed=seed) for seed in (4, 5))
    assert both == bootstrap_intervals(table, seed=4)
    assert both[1].low == pytest.approx(alone.low)
    assert alone.low != other.low


def test_bootstrap_of_one_value_is_that_value() -> None:
    one = bootstrap_interval(np.full(20, 0.25))
    assert (one.value, one.low, one.high) == (0.25, 0.25, 0.25)


def test_paired_test_of_equal_models_finds_nothing() -> None:
    same = np.random.default_rng(0).random(40)
    test = paired_test(same, same)
    assert test.p_bootstrap == 1.0
    assert test.p_wilcoxon == 1.0
    assert test.difference.value == 0


def test_paired_test_of_a_constant_gain_is_certain() -> None:
    base = np.random.default_rng(0).random(60)
    test = paired_test(base + 0.1, base, resamples=999)
    assert test.p_bootstrap == pytest.approx(2 / 1000)
    assert test.p_wilcoxon < 1e-9
    assert test.relative == pytest.approx(0.1 / base.mean())
    assert test.difference.low == pytest.approx(0.1)
    worse = paired_test(base, base + 0.1, resamples=999)
    assert worse.p_bootstrap == pytest.approx(2 / 1000)
    assert worse.relative < 0


def test_paired_test_agrees_with_the_t_test_on_normal_differences() -> None:
    rng = np.random.default_rng(8)
    base = rng.random(300)
    better = base + rng.normal(0.02, 0.2, size=300)
    expected = stats.ttest_rel(better, base).pvalue
    test = paired_test(better, base)
    assert 0.01 < expected < 0.5
    assert test.p_bootstrap == pytest.approx(expected, abs=0.03)
    assert test.p_wilcoxon == pytest.approx(expected, abs=0.12)


def test_paired_p_values_are_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(5)
    found = [
        paired_test(x, np.zeros(60), seed=trial, resamples=400)
        for trial, x in enumerate(rng.normal(size=(300, 60)))
    ]
    for name in ("p_bootstrap", "p_wilcoxon"):
        share = np.mean([getattr(test, name) < 0.05 for test in found])
        assert 0.02 <= share <= 0.09, name


def test_paired_wilcoxon_equals_scipy_on_known_numbers() -> None:
    a = np.array([0.1, 0.5, 0.4, 0.9, 0.7, 0.2, 0.6, 0.8, 0.35, 0.55])
    b = np.array([0.2, 0.4, 0.1, 0.7, 0.2, 0.1, 0.25, 0.2, 0.3, 0.35])
    expected = stats.wilcoxon(a - b, method="asymptotic", zero_method="zsplit").pvalue
    assert paired_test(a, b).p_wilcoxon == pytest.approx(expected, abs=0.02)


def test_set_interval_is_centred_on_the_value_of_the_whole_set() -> None:
    lists = np.random.default_rng(0).integers(0, 300, size=(100, 5))

    def covered(weights: np.ndarray) -> float:
        return len(np.unique(lists[weights > 0])) / 300

    found = set_interval(covered, 100)
    assert found.value == covered(np.ones(100))
    assert found.low < found.value < found.high


def test_statistics_refuse_what_they_cannot_judge() -> None:
    with pytest.raises(DataError, match="at least one user"):
        bootstrap_interval(np.array([]))
    with pytest.raises(DataError, match="finite"):
        bootstrap_interval(np.array([1.0, np.nan]))
    with pytest.raises(DataError, match=r"got \(3,\) and \(2,\)"):
        paired_test(np.zeros(3), np.zeros(2))
    with pytest.raises(DataError, match="same users"):
        mean_over_seeds([np.zeros(3), np.zeros(2)])


def test_mean_over_seeds_averages_user_by_user() -> None:
    assert mean_over_seeds([[0.0, 1.0], [1.0, 1.0]]).tolist() == [0.5, 1.0]
