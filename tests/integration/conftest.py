"""A small published artifact with a vector index, for tests of the commands on it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from serving_data import make_training_data

from kgrec.artifact import publish, save_artifact
from kgrec.models.baselines import make_baseline
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.retrieval.sources import ContentRidge


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train = make_training_data()
    config = PipelineConfig(rankers=("linear",), indexed_sources=("content_ridge",))
    pipeline = fit_pipeline(
        train,
        lambda: {"ease": make_baseline("ease"), "content_ridge": ContentRidge()},
        config,
    )
    root = tmp_path_factory.mktemp("run")
    publish(save_artifact(root / "artifacts", pipeline, train), root / "current")
    return root


@pytest.fixture
def pointer(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run" / "current"
