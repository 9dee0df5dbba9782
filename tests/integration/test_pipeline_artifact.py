"""The real pipeline in an artifact: saved, damaged, loaded, asked and explained."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from serving_data import NUM_ITEMS, make_training_data

from kgrec import Recommender
from kgrec.artifact import load_artifact, publish, save_artifact
from kgrec.artifact.manifest import files_below
from kgrec.errors import ArtifactError
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.retrieval.candidates import CandidateConfig
from kgrec.retrieval.sources import ContentRidge, KgNeighbours
from kgrec.serving.deletion_test import deletion_test


def make_sources() -> dict[str, Scorer]:
    return {
        "ease": make_baseline("ease", {"ridge": 20.0}),
        "kg_neighbours": KgNeighbours(),
        "content_ridge": ContentRidge(),
    }


@pytest.fixture(scope="module")
def pointer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train = make_training_data()
    config = PipelineConfig(
        candidates=CandidateConfig(depth=20, cold_depth=2),
        rankers=("linear",),
    )
    pipeline = fit_pipeline(train, make_sources, config)
    root = tmp_path_factory.mktemp("pipeline")
    publish(save_artifact(root, pipeline, train), root / "current")
    return root / "current"


@pytest.fixture(scope="module")
def rec(pointer: Path) -> Recommender:
    return Recommender.load(pointer, check_probes=True)


def test_one_flipped_byte_in_any_file_is_refused(pointer: Path) -> None:
    folder = load_artifact(pointer).path
    names = [*files_below(folder), "manifest.json"]
    assert len(names) > 10
    for name in names:
        file = folder / name
        content = file.read_bytes()
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 0x01
        file.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=re.escape(file.name)):
            load_artifact(pointer)
        file.write_bytes(content)
    load_artifact(pointer)


def test_answers_carry_probabilities_and_sources(rec: Recommender) -> None:
    answer = rec.recommend("user-0", k=5, explain=True)
    assert answer.personalised
    for item in answer:
        assert item.probability is not None
        assert 0.0 <= item.probability <= 1.0
        assert item.sources
        assert set(item.sources) <= {"ease", "kg_neighbours", "content_ridge"}
        assert item.explanation is not None
        assert set(item.explanation.contributions) == set(item.sources)


def test_long_lists_go_on_beyond_the_candidates(rec: Recommender) -> None:
    history = rec.history_of("user-0")
    answer = rec.recommend("user-0", k=1000)
    seen = {f"item-{row}" for row in history.item_idx}
    assert {item.item_id for item in answer} == {f"item-{i}" for i in range(NUM_ITEMS)} - seen
    scores = [item.score for item in answer]
    assert scores == sorted(scores, reverse=True)


def test_batch_equals_single(rec: Recommender) -> None:
    users = ["user-0", "nobody", "user-9"]
    for user, answer in zip(users, rec.recommend_many(users, k=8), strict=True):
        single = rec.recommend(user, k=8)
        assert [item.item_id for item in answer] == [item.item_id for item in single]
        np.testing.assert_allclose(
            [item.score for item in answer], [item.score for item in single], rtol=1e-4
        )


def test_filters_reach_the_sources(rec: Recommender) -> None:
    answer = rec.recommend("user-0", k=4, filters={"about": "Topic 3"})
    assert [int(item.item_id.removeprefix("item-")) >= 45 for item in answer] == [True] * 4


def test_explained_alone_equals_explained_in_a_list(rec: Recommender) -> None:
    for item in rec.recommend("user-4", k=3, explain=True):
        alone = rec.explain("user-4", item.item_id)
        assert item.explanation is not None
        assert alone.text == item.explanation.text
        assert alone.contributions == pytest.approx(item.explanation.contributions, abs=1e-4)


def test_similar_and_vectors(rec: Recommender) -> None:
    assert rec.item_vector("item-0").shape == rec.user_vector("user-0").shape
    assert {item.item_id for item in rec.similar("item-0", k=4)} >= {"item-1", "item-2"}


def test_named_items_stand_the_deletion_test(rec: Recommender) -> None:
    assert deletion_test(rec, num_explanations=200, k=5).share >= 0.8


def test_serving_the_pipeline_loads_no_training_code(pointer: Path) -> None:
    script = """
import sys
import kgrec
rec = kgrec.Recommender.load(sys.argv[1])
rec.recommend("user-0", explain=True)
training = ("lightning", "pytorch_lightning", "graph_etl.pipeline", "kgrec.jobs", "neo4j",
            "kgrec.ranking.crossfit", "kgrec.models.training")
print([name for name in training if name in sys.modules])
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, str(pointer)],
        env={"PYTHONPATH": root, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
