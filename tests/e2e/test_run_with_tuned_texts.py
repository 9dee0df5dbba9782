"""A run whose text encoder learns: it goes with the artifact, and reads the texts of new items."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from own_tables import SHORT_RUN, write_tables
from text_data import make_wordy_bert
from typer.testing import CliRunner

from kgrec import Recommender
from kgrec.artifact import load_artifact
from kgrec.cli import app
from kgrec.jobs.index_build import build_index, index_config
from kgrec.models.text.finetuning import RECORD

pytestmark = pytest.mark.slow
TUNED = {
    "encoder": "bert",
    "text_tuning": {
        "mode": "full", "steps": 4, "texts_per_step": 16, "factors": 4, "device": "cpu",
        "learning_rate": 0.001,
    },
    "sources": ["ease", "text_similarity", "content_ridge", "towers"],
    "ablations": {"without_towers": False, "without_text": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    write_tables(folder, run=SHORT_RUN | TUNED)
    make_wordy_bert(folder / "bert")
    command = ["run", str(folder / "run.yaml"), "--out", str(folder / "out")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return folder


def test_artifact_holds_the_encoder_and_needs_no_other(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished / "out", out)
    shutil.rmtree(out / "text")
    artifact = load_artifact(out / "current")
    assert artifact.encoder is not None
    assert "encoder/model.safetensors" in artifact.manifest["files"]
    recommender = Recommender.load(out / "current", state=tmp_path / "state")
    known = str(artifact.items.ids[7])
    text = str(artifact.items.texts[7])
    recommender.add_item("twin", "A twin", text)
    vectors = recommender.artifact.scorer.state.arrays["text"]  # type: ignore[attr-defined]
    np.testing.assert_allclose(vectors[-1], vectors[7], atol=0.05)
    found = [item.item_id for item in recommender.similar("twin", k=5).items]
    assert known in found


def test_artifact_with_another_index_holds_the_encoder_too(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "out", tmp_path / "out")
    build_index(tmp_path / "out" / "current", index_config(kind="flat"))
    assert load_artifact(tmp_path / "out" / "current").encoder is not None


def test_records_say_how_the_encoder_learned(finished: Path) -> None:
    told = json.loads((finished / "out" / "run.json").read_text())
    assert told["config"]["text_tuning"]["mode"] == "full"
    for folder in (finished / "out" / "text" / "encoders").iterdir():
        assert json.loads((folder / RECORD).read_text())["config"]["steps"] == 4
    models = {row["model"] for row in told["tables"][0]["models"]}
    assert {"pipeline", "pipeline, text off", "towers"} <= models


def test_windows_and_published_model_have_encoders_of_their_own(finished: Path) -> None:
    records = [
        json.loads((folder / RECORD).read_text())
        for folder in (finished / "out" / "text" / "encoders").iterdir()
    ]
    events = sorted(record["num_events"] for record in records)
    one, other, windows, every = events  # two of hidden items, windows in time, all of train
    assert windows < every
    assert one + other == every  # of the two, each has learned from what the other has not
