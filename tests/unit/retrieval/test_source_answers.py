"""Answers by rows or by an index equal those out of a dense row of all scores."""

import numpy as np
import pytest
from ranking_data import histories_of, make_sources, make_train

from kgrec.data.histories import HistoryBatch
from kgrec.models.answers import Answers, AskedAnswers, DenseAnswers
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer
from kgrec.retrieval import indexed_source
from kgrec.retrieval.candidates import CandidateConfig, CandidateGenerator
from kgrec.retrieval.index import IndexConfig, VectorIndex
from kgrec.retrieval.indexed_source import IndexedAnswers
from kgrec.retrieval.vector_source import TextSimilarity

TRAIN = make_train(num_items=300, num_users=90)
COLD = np.bincount(TRAIN.interactions.item_idx, minlength=TRAIN.num_items) == 0
USERS = histories_of(TRAIN, [4, 0, 31, 77])
NOBODY = HistoryBatch.from_interactions(TRAIN.interactions.take(np.arange(0)), np.array([-1, 3]))
ROWS = {
    "itemknn": {"neighbours_per_item": 9},
    "transitions": {"neighbours_per_item": 20},
    "slim_kg": {"negative_weight": -0.5},  # scores below 0: what no row holds stands above them
    "rp3_kg": {"negative_weight": -2.0, "history_half_life_events": 4.0},
}


@pytest.fixture(scope="module", params=list(ROWS))
def rows(request: pytest.FixtureRequest) -> Scorer:
    return make_baseline(request.param, ROWS[request.param]).fit(TRAIN)


def masks() -> list[np.ndarray | None]:
    every = np.arange(TRAIN.num_items)
    return [None, every % 3 == 1, COLD, every < 5, every < 0]


def check(found: Answers, dense: DenseAnswers, histories: HistoryBatch, atol: float) -> None:
    for allowed in masks():
        for k in (1, 20, 250, 400):
            ours, theirs = found.top(k, allowed, 7), dense.top(k, allowed, 7)
            np.testing.assert_allclose(ours.score, theirs.score, rtol=0, atol=atol)
            if atol == 0:
                np.testing.assert_array_equal(ours.item_idx, theirs.item_idx)
    every = np.tile(np.arange(TRAIN.num_items), len(histories))
    indptr = np.arange(len(histories) + 1) * TRAIN.num_items
    ours, theirs = found.pairs(indptr, every), dense.pairs(indptr, every)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)
    # an item has one score, whichever way it is asked for
    top = found.top(20, None, 0)
    for row, (items, scores) in enumerate(zip(top.item_idx, top.score, strict=True)):
        own = ours[row * TRAIN.num_items + items[items >= 0]]
        np.testing.assert_array_equal(own, scores[items >= 0])


@pytest.mark.parametrize("histories", [USERS, NOBODY], ids=["users", "nobody"])
def test_rows_answer_as_the_dense_scores_do(rows: Scorer, histories: HistoryBatch) -> None:
    found = rows.answers(histories)
    assert found is not None
    check(found, DenseAnswers(rows, histories), histories, 0.0)


@pytest.mark.parametrize("few", [0, 10_000], ids=["found", "scored"])
@pytest.mark.parametrize("kind", ["flat", "ivf", "ivf_4bit"])
def test_index_answers_as_the_dense_scores_do(
    kind: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_source, "_FEW", few)
    vectors = np.random.default_rng(0).normal(size=(TRAIN.num_items, 16)).astype(np.float32)
    source = TextSimilarity(text_vectors=vectors).fit(TRAIN)
    index = VectorIndex(IndexConfig.model_validate({"kind": kind})).build(source.item_vectors())
    while index.search_harder():  # until all is searched: what is missing then is an error
        pass
    cold = np.flatnonzero(COLD)
    found = IndexedAnswers(source, index, USERS, COLD, cold, source.item_vectors()[cold])
    check(found, DenseAnswers(source, USERS), USERS, 1e-6)


def test_what_an_index_with_codes_finds_does_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    index = VectorIndex(IndexConfig(kind="ivf_4bit")).build(rng.normal(size=(3000, 16)))
    index.set_effort(4)
    queries, wanted = rng.normal(size=(6, 16)).astype(np.float32), np.arange(1, 7) * 20
    together = index.found_for(queries, wanted)
    assert together.shape == (6, 120 * index.description["refine"])
    for row in range(6):
        alone = index.found_for(queries[row : row + 1], wanted[row : row + 1])[0]
        np.testing.assert_array_equal(together[row, : len(alone)], alone)
        assert (together[row, len(alone) :] == -1).all()


def test_asking_anew_answers_as_the_dense_scores_do(rows: Scorer) -> None:
    check(AskedAnswers(rows, USERS), DenseAnswers(rows, USERS), USERS, 0.0)


def test_candidates_equal_those_of_dense_sources() -> None:
    sources: dict[str, Scorer] = {name: one.fit(TRAIN) for name, one in make_sources().items()}
    config = CandidateConfig(depth=15, cold_depth=3)
    generator = CandidateGenerator(sources, config, COLD)

    class Densely(CandidateGenerator):
        """Asks every source for the scores of all items."""

        def _answers(self, histories: HistoryBatch) -> list[Answers]:
            return [DenseAnswers(source, histories) for source in self.sources.values()]

    oracle = Densely(sources, config, COLD)
    for allowed in (None, np.arange(TRAIN.num_items) % 2 == 0):
        ours, theirs = (one.generate(USERS, allowed=allowed) for one in (generator, oracle))
        np.testing.assert_array_equal(ours.indptr, theirs.indptr)
        np.testing.assert_array_equal(ours.item_idx, theirs.item_idx)
        np.testing.assert_array_equal(ours.rank, theirs.rank)
        np.testing.assert_array_equal(ours.z, theirs.z)
