"""Ranges, monotonicity and permutations of the metrics, on any lists."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.evaluation.ctr_metrics import auc, expected_calibration_error
from kgrec.evaluation.metrics import ranking_metrics
from kgrec.evaluation.statistics import bootstrap_interval, paired_test

KS = (1, 3, 8)


@st.composite
def lists_and_targets(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    users, items = draw(st.integers(1, 6)), draw(st.integers(8, 15))
    top = np.array([rng.permutation(items)[:8] for _ in range(users)])
    for row in range(users):
        top[row, draw(st.integers(0, 8)) :] = -1
    targets = [rng.permutation(items)[: draw(st.integers(1, items))] for _ in range(users)]
    indptr = np.concatenate([[0], np.cumsum([len(t) for t in targets])])
    return top, indptr, np.concatenate(targets)


@settings(max_examples=150, deadline=None)
@given(case=lists_and_targets())
def test_metrics_lie_in_range_and_grow_with_k(case: tuple[Any, Any, Any]) -> None:
    found = ranking_metrics(*case, KS)
    for values in found.values():
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    for name in ("recall", "hit_rate", "mrr", "map"):
        for small, large in ((1, 3), (3, 8)):
            assert (found[f"{name}@{large}"] >= found[f"{name}@{small}"] - 1e-12).all()
    assert (found["hit_rate@8"] >= found["recall@8"]).all()
    assert (found["hit_rate@8"] >= found["mrr@8"]).all()


@settings(max_examples=80, deadline=None)
@given(case=lists_and_targets(), seed=st.integers(0, 99))
def test_metrics_do_not_depend_on_item_ids_nor_on_the_order_of_users(
    case: tuple[Any, Any, Any], seed: int
) -> None:
    top, indptr, items = case
    rng = np.random.default_rng(seed)
    renamed = np.append(rng.permutation(50), -1)  # -1 stays -1
    found = ranking_metrics(top, indptr, items, KS)
    other = ranking_metrics(renamed[top], indptr, renamed[items], KS)
    rows = rng.permutation(len(top))
    parts = [items[indptr[row] : indptr[row + 1]] for row in rows]
    moved_indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    moved = ranking_metrics(top[rows], moved_indptr, np.concatenate(parts), KS)
    for name, values in found.items():
        np.testing.assert_array_equal(other[name], values)
        np.testing.assert_array_equal(moved[name], values[rows])


@settings(max_examples=80, deadline=None)
@given(case=lists_and_targets())
def test_a_hit_moved_up_never_lowers_a_metric(case: tuple[Any, Any, Any]) -> None:
    top, indptr, items = case
    before = ranking_metrics(top, indptr, items, KS)
    better = top.copy()
    for row in range(len(top)):
        targets = set(items[indptr[row] : indptr[row + 1]].tolist())
        better[row] = sorted(top[row], key=lambda i: (i == -1, i not in targets))
    after = ranking_metrics(better, indptr, items, KS)
    for name, values in before.items():
        assert (after[name] >= values - 1e-12).all(), name


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda x: len(set(x)) == 2),
    seed=st.integers(0, 999),
)
def test_auc_turns_with_the_scores_and_ignores_their_scale(labels: list[bool], seed: int) -> None:
    y = np.array(labels)
    scores = np.round(np.random.default_rng(seed).random(len(y)), 1)
    assert auc(y, scores) + auc(y, -scores) == 1 or np.isclose(auc(y, scores) + auc(y, -scores), 1)
    assert np.isclose(auc(y, np.exp(3 * scores)), auc(y, scores))
    assert 0 <= expected_calibration_error(y, scores) <= 1


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_intervals_hold_their_value_and_pairs_are_antisymmetric(
    values: list[float], seed: int
) -> None:
    column = np.array(values)
    one = bootstrap_interval(column, seed=seed, resamples=200)
    assert min(values) - 1e-9 <= one.low <= one.high <= max(values) + 1e-9
    zeros = np.zeros(len(values))
    ab = paired_test(column, zeros, seed=seed, resamples=200)
    ba = paired_test(zeros, column, seed=seed, resamples=200)
    assert np.isclose(ab.difference.value, -ba.difference.value)
    assert np.isclose(ab.p_bootstrap, ba.p_bootstrap)
    assert np.isclose(ab.p_wilcoxon, ba.p_wilcoxon)
    assert 0 < ab.p_bootstrap <= 1
