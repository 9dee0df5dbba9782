"""Sources of a run's pipelines are fitted once for what they read."""

from dataclasses import replace

import numpy as np
from ranking_data import make_train

from kgrec.jobs.source_pool import SourcePool
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer
from kgrec.retrieval.sources import TextSimilarity

TRAIN = make_train()
VECTORS = np.random.default_rng(0).normal(size=(TRAIN.num_items, 6)).astype(np.float32)


def pool_of() -> SourcePool:
    def similarity(texts: bool) -> Scorer:
        return TextSimilarity(text_vectors=VECTORS if texts else None)

    return SourcePool({"ease": lambda texts: make_baseline("ease", {}), "similarity": similarity})


def test_only_sources_that_read_texts_are_fitted_anew_without_them() -> None:
    pool = pool_of()
    blank = replace(TRAIN, dataset=TRAIN.dataset.without_texts())
    assert pool.fitted("ease", TRAIN) is pool.fitted("ease", blank, texts=False)
    read = pool.fitted("similarity", TRAIN)
    unread = pool.fitted("similarity", blank, texts=False)
    assert read is not unread
    assert isinstance(read, TextSimilarity)
    assert isinstance(unread, TextSimilarity)
    assert np.abs(read.item_vectors()).max() > 0
    assert np.abs(unread.item_vectors()).max() == 0


def test_sources_that_do_not_read_the_graph_are_shared_between_graphs() -> None:
    pool = pool_of()
    other = replace(TRAIN, graph=TRAIN.graph.ablated("off", 0))
    assert pool.fitted("ease", TRAIN) is pool.fitted("ease", other)
    assert set(pool.sources(["ease"])) == {"similarity"}
