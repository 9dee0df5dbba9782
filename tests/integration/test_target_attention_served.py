"""Target attention as ONNX from an artifact: answers, and items that came after training."""

from pathlib import Path

import numpy as np
import pytest
from serving_data import make_training_data

from kgrec import Recommender
from kgrec.artifact import publish, save_artifact
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.target_attention import TargetAttentionConfig
from kgrec.retrieval.candidates import CandidateConfig
from kgrec.retrieval.sources import ContentRidge, TextSimilarity

HISTORY = ["item-0", "item-1", "item-2"]


def make_sources() -> dict[str, Scorer]:
    return {
        "ease": make_baseline("ease", {"ridge": 20.0}),
        "content_ridge": ContentRidge(),
        "text_similarity": TextSimilarity(),
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, Path]:
    train = make_training_data()
    config = PipelineConfig(
        candidates=CandidateConfig(depth=20, cold_depth=5),
        rankers=("target_attention",),
        target_attention=TargetAttentionConfig(max_epochs=3, use_ids=True),
        ranker_runtime="onnx",
    )
    pipeline = fit_pipeline(train, make_sources, config)
    root = tmp_path_factory.mktemp("artifact")
    publish(save_artifact(root, pipeline, train), root / "current")
    return pipeline, root / "current"


def test_artifact_carries_the_onnx_model_and_answers_as_what_was_trained(
    served: tuple[Pipeline, Path], tmp_path: Path
) -> None:
    pipeline, pointer = served
    assert list(pointer.parent.rglob("ranker_warm/target_attention/ranker.onnx"))
    with Recommender.load(pointer, state=tmp_path) as rec:
        users = rec.artifact.users.ids[:20]
        loaded = rec.artifact.scorer
        assert isinstance(loaded, Pipeline)
        for user in users:
            history = rec.history_of(user)
            np.testing.assert_allclose(
                loaded.scores(history), pipeline.scores(history), rtol=1e-5, atol=1e-5
            )
        assert len(rec.recommend(users[0], k=5, explain=True)) == 5
        assert len(rec.recommend(history=[], k=5)) == 5


def test_an_item_added_after_training_is_ranked_by_its_text(
    served: tuple[Pipeline, Path], tmp_path: Path
) -> None:
    _, pointer = served
    with Recommender.load(pointer, state=tmp_path) as rec:
        text = str(rec.artifact.items.texts[0])
        rec.add_item("newcomer", "Newcomer", text, numeric={"year": 2024.0})
        found = rec.recommend(history=HISTORY, filters={"year": (2024, None)})
        assert [item.item_id for item in found] == ["newcomer"]
        after = rec.recommend(history=[*HISTORY, "newcomer"], k=5)
        assert len(after) == 5
        assert all(np.isfinite(item.score) for item in after)
