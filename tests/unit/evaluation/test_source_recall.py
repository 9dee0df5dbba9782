"""Recall of a union, of each source alone, and what is lost without it, against plain sets."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.evaluation.source_recall import Lists, union_recall


def ragged(lists: list[list[int]]) -> Lists:
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    return indptr, np.array([item for one in lists for item in one], dtype=np.int64)


def test_parts_are_those_of_sets() -> None:
    rng = np.random.default_rng(0)
    targets = [rng.choice(30, rng.integers(1, 6), replace=False).tolist() for _ in range(40)]
    brought = {
        name: [rng.choice(30, size, replace=False).tolist() for _ in range(40)]
        for name, size in (("few", 2), ("many", 12), ("none", 0), ("some", 6))
    }

    def recall(names: list[str]) -> float:
        found = [
            len(set(wanted) & {item for name in names for item in brought[name][user]})
            / len(wanted)
            for user, wanted in enumerate(targets)
        ]
        return float(np.mean(found))

    result = union_recall(
        "split/val/all", ragged(targets), {name: ragged(one) for name, one in brought.items()}, 30
    )
    names = list(brought)
    assert result.recall == pytest.approx(recall(names))
    assert (result.num_users, result.num_targets) == (40, sum(map(len, targets)))
    for one in result.sources:
        assert one.alone == pytest.approx(recall([one.source]))
        others = [name for name in names if name != one.source]
        assert one.lost_without == pytest.approx(recall(names) - recall(others))
    unions = [len({item for name in names for item in brought[name][user]}) for user in range(40)]
    assert result.candidates == pytest.approx(np.mean(unions))
    assert [one.candidates for one in result.sources] == [2.0, 12.0, 0.0, 6.0]


def test_a_source_that_another_repeats_loses_nothing() -> None:
    same = ragged([[1, 2], [3]])
    found = union_recall("t", ragged([[1], [3, 4]]), {"one": same, "other": same}, 5)
    assert found.recall == pytest.approx(0.75)
    assert [one.lost_without for one in found.sources] == [0.0, 0.0]
    assert found.to_dict()["sources"][0] == {
        "source": "one", "candidates": 1.5, "alone": 0.75, "lost_without": 0.0
    }  # fmt: skip
