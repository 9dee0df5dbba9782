"""Each metric equals a naive loop and a second library."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kgrec.evaluation.metrics import METRICS, hits_of, ranking_metrics

KS = (1, 5, 10, 20)


def random_lists(seed: int, users: int = 30, items: int = 50, k: int = 20):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    top = np.array([rng.permutation(items)[:k] for _ in range(users)])
    for row in range(0, users, 4):
        top[row, rng.integers(0, k) :] = -1  # short and empty lists
    targets = [np.sort(rng.permutation(items)[: rng.integers(1, 30)]) for _ in range(users)]
    indptr = np.concatenate([[0], np.cumsum([len(t) for t in targets])])
    return top, indptr, np.concatenate(targets), targets


def naive(name: str, ranked: list[int], targets: set[int], k: int) -> float:
    """Return one metric by its definition in words, a loop over the list."""
    found, precisions, gain, first = 0, 0.0, 0.0, 0
    for rank, item in enumerate(ranked[:k], start=1):
        if item in targets and item >= 0:
            found += 1
            precisions += found / rank
            gain += 1 / math.log2(rank + 1)
            first = first or rank
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(targets)) + 1))
    return {
        "recall": found / len(targets),
        "precision": found / k,
        "hit_rate": float(found > 0),
        "mrr": 1 / first if first else 0.0,
        "map": precisions / len(targets),
        "ndcg": gain / ideal,
    }[name]


@pytest.mark.parametrize("seed", range(3))
def test_ranking_metrics_equal_a_naive_loop(seed: int) -> None:
    top, indptr, items, targets = random_lists(seed)
    found = ranking_metrics(top, indptr, items, KS)
    assert len(found) == len(METRICS) * len(KS)
    for name in METRICS:
        for k in KS:
            expected = [
                naive(name, row.tolist(), set(t.tolist()), k)
                for row, t in zip(top, targets, strict=True)
            ]
            np.testing.assert_allclose(found[f"{name}@{k}"], expected, atol=1e-12)


def test_ranking_metrics_equal_ranx() -> None:
    top, indptr, items, targets = random_lists(7)
    top[top[:, 0] < 0, 0] = 99  # ranx takes no empty list; 99 is nobody's target
    found = ranking_metrics(top, indptr, items, KS)
    asked = {
        "lists": [[f"i{i}" for i in row if i >= 0] for row in top],
        "targets": [[f"i{i}" for i in t] for t in targets],
        "metrics": [f"{name}@{k}" for name in METRICS for k in KS],
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("ranx_reference.py"))],
        input=json.dumps(asked),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout)
    assert set(theirs) == set(found)
    for name, values in theirs.items():
        np.testing.assert_allclose(found[name], values, atol=1e-9, err_msg=name)


def test_ndcg_has_the_ideal_of_the_users_own_targets() -> None:
    found = ranking_metrics(np.array([[4, 9, 8]]), np.array([0, 1]), np.array([4]), [3])
    assert found["ndcg@3"][0] == 1.0
    assert found["precision@3"][0] == pytest.approx(1 / 3)


def test_hits_of_never_counts_padding() -> None:
    hits = hits_of(np.array([[-1, -1], [0, -1]]), np.array([0, 1, 2]), np.array([5, 0]))
    assert hits.tolist() == [[False, False], [True, False]]


def test_padding_of_one_user_is_no_hit_for_the_user_before() -> None:
    # -1 in row 1 has the key of the last item of row 0
    hits = hits_of(np.array([[3, 4], [-1, -1]]), np.array([0, 1, 2]), np.array([4, 2]))
    assert hits.tolist() == [[False, True], [False, False]]
