"""The standing of items under histories that lack one item, beside asking every source anew."""

from __future__ import annotations

import numpy as np
from ranking_data import histories_of, make_sources, make_train

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.scorer import Scorer
from kgrec.retrieval.candidates import CandidateConfig, CandidateGenerator, Candidates
from kgrec.retrieval.changed import HistoryChanges
from kgrec.serving.request_histories import without_each

TRAIN = make_train()
SOURCES: dict[str, Scorer] = {name: s.fit(TRAIN) for name, s in make_sources().items()}
COLD_ITEMS = np.bincount(TRAIN.interactions.item_idx, minlength=TRAIN.num_items) == 0
ONE = histories_of(TRAIN, [0])
HELD = np.unique(ONE.item_idx)
REMOVED = np.unique(ONE.item_idx[ONE.positive])[:4]
VARIANTS = without_each(ONE, REMOVED)


class Nothing:
    """A source as it is, but for what it tells of its sums."""

    def __init__(self, source: Scorer) -> None:
        self._source = source

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)

    def summands(self, *_: object) -> None:
        return None


def asked(sources: dict[str, Scorer]) -> tuple[Candidates, Candidates, HistoryChanges]:
    """The first items of the union under all variants: quickly, anew; and what knew it."""
    generator = CandidateGenerator(sources, CandidateConfig(depth=12, cold_depth=0), COLD_ITEMS)
    items = generator.generate(ONE).item_idx[:6]
    told = generator.describe_pairs(ONE, np.array([0, 6]), items)
    assert told.best is not None
    changes = HistoryChanges(sources, ONE, told, told.best)
    indptr, pairs = np.arange(len(VARIANTS) + 1) * 6, np.tile(items, len(VARIANTS))
    quick = changes.candidates(VARIANTS, REMOVED, indptr, pairs)
    return quick, generator.describe_pairs(VARIANTS, indptr, pairs), changes


def summing(sources: dict[str, Scorer]) -> dict[str, Scorer]:
    items = np.array([0], dtype=np.int64)
    told = {name: source.summands(ONE, HELD, items) for name, source in sources.items()}
    return {name: source for name, source in sources.items() if told[name] is not None}


def test_sources_that_add_up_are_measured_much_as_if_asked_anew() -> None:
    chosen = summing(SOURCES)
    assert chosen
    quick, anew, _ = asked(chosen)
    np.testing.assert_allclose(quick.z[:6], anew.z[:6], atol=1e-5)  # the whole history
    np.testing.assert_array_equal(quick.rank[:6], anew.rank[:6])
    for column in range(len(chosen)):
        felt = anew.z[6:, column] - np.tile(anew.z[:6, column], len(REMOVED))
        found = quick.z[6:, column] - np.tile(quick.z[:6, column], len(REMOVED))
        assert np.abs(felt).max() > 0.05
        assert np.corrcoef(felt, found)[0, 1] > 0.75
    assert np.abs(quick.rank - anew.rank).mean() < 1.5


def test_other_sources_keep_their_standing_beside_those_that_add_up() -> None:
    others = [n for n, name in enumerate(SOURCES) if name not in summing(SOURCES)]
    assert others
    quick, _, _ = asked(SOURCES)
    for variant in range(1, len(VARIANTS)):
        rows = slice(6 * variant, 6 * variant + 6)
        np.testing.assert_array_equal(quick.z[rows][:, others], quick.z[:6][:, others])
        np.testing.assert_array_equal(quick.rank[rows][:, others], quick.rank[:6][:, others])
    assert (quick.z[6:] != np.tile(quick.z[:6], (len(REMOVED), 1))).any()


def test_where_none_adds_up_all_are_asked() -> None:
    quick, anew, changes = asked({name: Nothing(source) for name, source in SOURCES.items()})  # type: ignore[misc]
    assert changes.weights() is None
    np.testing.assert_allclose(quick.z[:6], anew.z[:6], atol=2e-3)
    assert np.corrcoef(quick.z.ravel(), anew.z.ravel())[0, 1] > 0.98
    assert (quick.z[:6] != quick.z[-6:]).any()


def test_weights_are_the_summands_in_deviations_of_the_best() -> None:
    _, _, changes = asked(SOURCES)
    weights = changes.weights()
    assert weights is not None
    assert weights.shape == (len(HELD), 6)
    generator = CandidateGenerator(SOURCES, CandidateConfig(depth=12, cold_depth=0), COLD_ITEMS)
    items = generator.generate(ONE).item_idx[:6]
    wanted = sum(scaled(source, ONE, items) for source in summing(SOURCES).values())
    np.testing.assert_allclose(weights, wanted, rtol=1e-3, atol=1e-4)


def scaled(source: Scorer, history: HistoryBatch, items: IntArray) -> FloatArray:
    summands = source.summands(history, HELD, items)
    assert summands is not None
    return summands / source.top(history, 12).score.std()
