"""The choice among rankers under a latency budget: slow ones and slow sums are left out."""

import time

import numpy as np
import pytest
from ranking_data import small_config

from kgrec.data.interactions import FloatArray
from kgrec.errors import ConfigError
from kgrec.ranking import selection
from kgrec.ranking.behaviour import Behaviour
from kgrec.ranking.cross_network import CrossNetworkConfig, CrossNetworkRanker
from kgrec.ranking.linear import LinearConfig, LinearRanker
from kgrec.ranking.ranker import RankingRows
from kgrec.ranking.selection import RANKERS, choose_ranker, cpu_ms

BUSY_MS = 5.0


class SlowRanker(CrossNetworkRanker):
    """The cross network, at work for a while before each answer."""

    def scores(self, values: FloatArray, behaviour: Behaviour | None = None) -> FloatArray:
        """Return the scores, late."""
        start = time.process_time()
        while time.process_time() - start < BUSY_MS / 1e3:
            pass
        return super().scores(values, behaviour)


def lists(count: int, seed: int) -> RankingRows:
    """Return lists whose positives follow x0 * x1, which no linear ranker sees, and a little x2."""
    rng = np.random.default_rng(seed)
    size = 30
    values = rng.normal(size=(count * size, 3)).astype(np.float32)
    odds = 2.5 * values[:, 0] * values[:, 1] + 0.7 * values[:, 2] - 2.0
    label = (rng.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(np.float32)
    indptr = np.arange(0, count * size + 1, size)
    positives = label.reshape(count, size).sum(axis=1).astype(np.int64)
    return RankingRows(("a", "b", "c"), values, indptr, label, positives)


TRAIN, LAST = lists(80, 0), lists(40, 1)
SETTINGS = {
    "rankers": ("cross_network", "linear"),
    "cross_network": CrossNetworkConfig(max_epochs=8, learning_rate=2e-2, lists_per_batch=8),
    "linear": LinearConfig(max_epochs=4, lists_per_batch=8),
    "stopping_lists": 10,
}


@pytest.fixture
def slow_crosses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RANKERS, "cross_network", SlowRanker)


@pytest.mark.usefixtures("slow_crosses")
def test_best_ranker_within_the_budget_is_chosen() -> None:
    free = choose_ranker(TRAIN, LAST, small_config(**SETTINGS, blend=False))
    assert list(free.rankers) == ["cross_network"]
    tight = small_config(**SETTINGS, blend=False, latency_budget_ms=BUSY_MS / 2)
    chosen = choose_ranker(TRAIN, LAST, tight)
    assert list(chosen.rankers) == ["linear"]
    assert "cross_network" not in chosen.quality
    wide = small_config(**SETTINGS, blend=False, latency_budget_ms=BUSY_MS * 50)
    assert list(choose_ranker(TRAIN, LAST, wide).rankers) == ["cross_network"]


@pytest.mark.usefixtures("slow_crosses")
def test_sum_that_is_slower_than_the_budget_is_left_out() -> None:
    taken = {"cross_network": 20.0, "linear": 5.0}

    def told(ranker: object, rows: RankingRows) -> float:
        return taken[getattr(ranker, "name", "")]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "cpu_ms", told)
        found = choose_ranker(TRAIN, LAST, small_config(**SETTINGS, latency_budget_ms=22.0))
        both = choose_ranker(TRAIN, LAST, small_config(**SETTINGS, latency_budget_ms=26.0))
    assert "cross_network+linear" not in found.quality
    assert "cross_network+linear" in both.quality


def test_no_ranker_within_the_budget_is_refused_with_the_times() -> None:
    with pytest.raises(ConfigError, match=r"budget_ms 1e-06, got \{'cross_network': .*raise"):
        choose_ranker(TRAIN, LAST, small_config(**SETTINGS, latency_budget_ms=1e-6))


def test_time_of_a_ranker_is_that_of_200_rows() -> None:
    asked: list[int] = []

    class Counted(LinearRanker):
        def scores(self, values: FloatArray, behaviour: Behaviour | None = None) -> FloatArray:
            asked.append(len(values))
            return super().scores(values, behaviour)

    ranker = Counted(LinearConfig(max_epochs=1)).fit(TRAIN)
    assert cpu_ms(ranker, LAST, repeats=3) >= 0.0
    assert asked == [200] * 3


def test_every_sum_of_three_rankers_is_tried() -> None:
    names = ("a", "b", "c")
    assert list(selection._combinations(names, blend=False)) == ["a", "b", "c"]
    tried = selection._combinations(names, blend=True)
    assert list(tried) == ["a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"]
    assert tried["a+c"] == ("a", "c")
