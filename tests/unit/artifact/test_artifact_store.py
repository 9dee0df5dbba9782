"""Saving and loading an artifact: what comes back, what its id depends on, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from serving_data import SCORERS, SmallEase, make_artifact, make_training_data

from kgrec.artifact import ArtifactDetails, load_artifact, save_artifact
from kgrec.artifact.manifest import files_below
from kgrec.errors import ArtifactError, ConfigError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("artifacts"))


def test_everything_saved_comes_back(saved: Path) -> None:
    train, artifact = make_training_data(), load_artifact(saved, scorers=SCORERS)
    for name in ("user_idx", "item_idx", "value", "timestamp", "positive"):
        expected = getattr(train.interactions, name)
        np.testing.assert_array_equal(getattr(artifact.interactions, name), expected)
    for name in ("entity_ids", "entity_names", "head", "relation", "tail", "item_entity"):
        np.testing.assert_array_equal(getattr(artifact.graph, name), getattr(train.graph, name))
    assert artifact.graph.phrases == train.graph.phrases
    assert artifact.items.ids.tolist() == train.dataset.items.ids.tolist()
    np.testing.assert_array_equal(
        artifact.items.numeric["year"], train.dataset.items.numeric["year"]
    )
    assert artifact.users.attributes["job"][0] == "baker"
    assert np.isnan(artifact.users.numeric["age"]).all()


def test_manifest_tells_the_run(tmp_path: Path) -> None:
    details = ArtifactDetails(
        config={"epochs": 3}, seeds={"model": 7}, git_commit="abc", metrics={"ndcg@20": 0.2}
    )
    manifest = load_artifact(make_artifact(tmp_path, details=details), scorers=SCORERS).manifest
    assert manifest["snapshot_id"] == "snapshot-made-up"
    assert manifest["config"] == {"epochs": 3}
    assert manifest["seeds"] == {"model": 7}
    assert manifest["git_commit"] == "abc"
    assert manifest["metrics"] == {"ndcg@20": 0.2}
    assert manifest["dataset"] == {"name": "made-up", "licence": "made up"}
    assert manifest["counts"]["items"] == 60
    assert manifest["versions"]["numpy"] == np.__version__
    assert len(manifest["probes"]) == 5


def test_same_content_gives_the_same_id(saved: Path, tmp_path: Path) -> None:
    again = make_artifact(tmp_path, details=ArtifactDetails(git_commit="x", created_at="today"))
    other = make_artifact(tmp_path, details=ArtifactDetails(config={"epochs": 4}))
    assert again.name == saved.name
    assert other.name != saved.name


def test_saving_again_keeps_the_folder_that_stands(tmp_path: Path) -> None:
    first = make_artifact(tmp_path)
    before = (first / "manifest.json").stat()
    assert make_artifact(tmp_path) == first
    assert (first / "manifest.json").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in tmp_path.glob(".staging-*")] == []


def test_saving_again_repairs_a_damaged_folder(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    (folder / "items.parquet").write_bytes(b"")
    assert make_artifact(tmp_path) == folder
    load_artifact(folder, scorers=SCORERS)


def test_nothing_is_pickled(saved: Path) -> None:
    suffixes = {Path(name).suffix for name in files_below(saved)}
    assert suffixes == {".parquet", ".safetensors", ".json", ".sha256"}


def test_scorer_that_loses_its_state_is_not_saved(tmp_path: Path) -> None:
    class Forgetful(SmallEase):
        name = "forgetful"

        def save(self, folder: Path) -> None:
            super().save(folder)
            wrong = {"weights": np.flip(self.weights).copy()}
            save_file(wrong, folder / "weights.safetensors")

    train = make_training_data()
    with pytest.raises(ArtifactError, match="save or load loses something"):
        save_artifact(tmp_path, Forgetful().fit(train), train, scorers={"forgetful": Forgetful})
    assert list(tmp_path.iterdir()) == []


def test_details_that_are_not_json_are_refused(tmp_path: Path) -> None:
    for bad in (float("nan"), Path("x")):
        with pytest.raises(ConfigError, match="plain JSON"):
            make_artifact(tmp_path, details=ArtifactDetails(config={"bad": bad}))


def test_unknown_scorer_is_named(saved: Path) -> None:
    with pytest.raises(ConfigError, match="small_ease"):
        load_artifact(saved)


def test_older_schema_version_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(saved, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["schema_version"] = 0
    _rewrite_manifest(folder, manifest)
    with pytest.raises(ArtifactError, match=r"schema version 2, got 0 .*train again"):
        load_artifact(folder, scorers=SCORERS)


def _rewrite_manifest(folder: Path, manifest: dict[str, object]) -> None:
    from graph_etl.snapshot import sha256_of

    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "manifest.json.sha256").write_text(sha256_of(folder / "manifest.json"))
