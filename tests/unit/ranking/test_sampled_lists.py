"""Lists cut down for learning: every positive, some of the others, no list without a positive."""

from __future__ import annotations

import numpy as np

from kgrec.ranking.ranker import RankingRows, sampled_lists


def lists(seed: int = 0) -> RankingRows:
    rng = np.random.default_rng(seed)
    sizes = np.array([30, 3, 20, 50])
    label = (rng.random(sizes.sum()) < 0.2).astype(np.float32)
    label[33:53] = 0  # the third list holds no positive
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    values = np.arange(sizes.sum(), dtype=np.float32)[:, None]
    label[30] = 1
    return RankingRows(("row",), values, indptr, label, np.array([9, 2, 4, 12]))


def test_positives_stay_and_others_are_few() -> None:
    rows = lists()
    kept = sampled_lists(rows, 4, np.random.default_rng(1))
    assert kept.label.sum() == rows.label.sum()
    assert kept.positives.tolist() == [9, 2, 12]
    others = np.add.reduceat(1 - kept.label, kept.indptr[:-1])
    available = np.add.reduceat(1 - rows.label, rows.indptr[:-1])[[0, 1, 3]]
    assert others.tolist() == np.minimum(available, 4).tolist()
    assert available[1] < 4


def test_every_other_row_is_drawn_as_often() -> None:
    rows = lists()
    count = np.zeros(len(rows))
    for seed in range(2000):
        kept = sampled_lists(rows, 4, np.random.default_rng(seed))
        count[kept.values[:, 0].astype(int)] += 1
    inside = (rows.label == 0) & (rows.group_of_row == 3)
    expected = 2000 * 4 / inside.sum()
    assert abs(count[inside] - expected).max() < 5 * np.sqrt(expected)
