"""Vectors from outside in the whole pipeline: learned from, kept, and given with new items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_data import NUM_ITEMS, make_training_data

from kgrec import Recommender, RequestError
from kgrec.artifact import load_artifact, publish, save_artifact
from kgrec.data.interactions import FloatArray
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.retrieval.candidates import CandidateConfig
from kgrec.retrieval.sources import ContentKernel

TOPICS, DIM = 4, 6


def vectors() -> FloatArray:
    """Near their topic's, fifteen items each; the last item has none."""
    rng = np.random.default_rng(1)
    topic = np.arange(NUM_ITEMS) // 15
    rows = 10 + 5 * np.eye(TOPICS, DIM)[topic] + 0.3 * rng.standard_normal((NUM_ITEMS, DIM))
    rows[-1] = 0.0
    return rows.astype(np.float32)


def training_data() -> TrainingData:
    """Vectors are all that is known of the items: no triples, texts or numbers."""
    train = make_training_data()
    items = replace(train.dataset.items, numeric={}, vectors=vectors())
    graph = train.graph.ablated("off", 0)
    return replace(train, graph=graph, dataset=replace(train.dataset, items=items))


def make_sources() -> dict[str, Scorer]:
    return {
        "ease": make_baseline("ease", {"ridge": 20.0}),
        "content_kernel": ContentKernel(),
        "towers": TowersScorer(TowersConfig(embedding_dim=16, steps=40)),
    }


@pytest.fixture(scope="module")
def pointer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train = training_data()
    candidates = CandidateConfig(depth=20, cold_depth=5, cold_sources=("towers", "content_kernel"))
    config = PipelineConfig(candidates=candidates, rankers=("linear",))
    root = tmp_path_factory.mktemp("pipeline")
    publish(save_artifact(root, fit_pipeline(train, make_sources, config), train), root / "current")
    return root / "current"


def test_an_artifact_keeps_the_vectors_as_they_came(pointer: Path) -> None:
    found = load_artifact(pointer).items.vectors
    assert found is not None
    np.testing.assert_array_equal(found, vectors())


def test_a_new_item_is_found_by_its_vector_alone(pointer: Path, tmp_path: Path) -> None:
    with Recommender.load(pointer, state=tmp_path / "state", event_log=tmp_path / "log") as rec:
        for topic in (0, 2):
            rec.add_item(f"new-{topic}", f"New {topic}", vector=vectors()[15 * topic] * 1.01)
        for topic, other in ((0, 2), (2, 0)):
            history = [f"item-{15 * topic + place}" for place in range(4)]
            found = {item.item_id: item for item in rec.recommend(history=history, k=NUM_ITEMS)}
            new = found[f"new-{topic}"]
            assert {"towers", "content_kernel"} & set(new.sources)
            beaten = found.get(f"new-{other}")
            assert beaten is None or new.score > beaten.score
            near = [item.item_id for item in rec.similar(f"new-{topic}", k=10)]
            own = {f"item-{15 * topic + place}" for place in range(15)}
            assert len(own & set(near)) >= 8
        rec.add_item("blind", "Blind")  # an item without one is taken too
    with Recommender.load(pointer, state=tmp_path / "state", event_log=tmp_path / "log") as rec:
        assert rec.metrics().gauges["items"] == NUM_ITEMS + 3
        with pytest.raises(RequestError, match="Expected a vector of 6 numbers, got one of 2"):
            rec.add_item("odd", "Odd", vector=[1.0, 2.0])
        with pytest.raises(RequestError, match=r"under 'vector\.1'"):
            rec.add_item("odd", "Odd", vector=[1.0, float("nan")] * 3)


def test_a_vector_is_refused_where_the_catalogue_has_none(tmp_path: Path) -> None:
    train = make_training_data()
    ease = make_baseline("ease", {"ridge": 20.0}).fit(train)
    folder = save_artifact(tmp_path, ease, train)
    assert load_artifact(folder).items.vectors is None
    with (
        Recommender.load(folder, state=tmp_path / "state") as rec,
        pytest.raises(RequestError, match="Expected no vector, as the catalogue has none"),
    ):
        rec.add_item("new", "New", vector=[1.0])
