"""Baselines by name, their settings, and folders that cannot be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from kgrec.data.histories import HistoryBatch
from kgrec.errors import ArtifactError, ConfigError
from kgrec.models import baselines
from kgrec.models.baselines import (
    BASELINES,
    EASE,
    Popularity,
    SVDConfig,
    load_baseline,
    make_baseline,
)
from kgrec.models.scorer import TrainingData


def test_registry_holds_every_baseline_under_its_own_name() -> None:
    assert set(BASELINES) == {
        "popularity",
        "itemknn",
        "rp3beta",
        "ease",
        "svd",
        "slim",
        "ials",
        "rp3_kg",
        "slim_kg",
        "ease_kg",
        "transitions",
        "contemporaries",
        "slit",
        "lightgcn",
        "kgin",
        "sasrec",
    }
    assert all(name == model.name for name, model in BASELINES.items())


def test_public_names_exist() -> None:
    assert all(hasattr(baselines, name) for name in baselines.__all__)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_config_fields_are_described_and_frozen(name: str) -> None:
    config = make_baseline(name).config
    for field, info in type(config).model_fields.items():
        assert info.description, f"{name}.{field}"
    with pytest.raises(ValidationError):
        config.negative_weight = 3.0  # type: ignore[attr-defined]


def test_make_baseline_of_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"Expected a baseline of .*slim_kg.*got 'deepfm'"):
        make_baseline("deepfm")


def test_make_baseline_refuses_unknown_settings() -> None:
    with pytest.raises(ConfigError, match=r"settings of 'ease'.*\n.*lambda"):
        make_baseline("ease", {"lambda": 3})


def test_baseline_refuses_the_config_of_another() -> None:
    with pytest.raises(TypeError, match="Expected a EASEConfig for 'ease'"):
        EASE(SVDConfig())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_load_baseline_finds_the_model_by_its_folder(
    name: str, train: TrainingData, everyone: HistoryBatch, tmp_path: Path
) -> None:
    model = make_baseline(name).fit(train)
    model.save(tmp_path)
    loaded = load_baseline(tmp_path)
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded.scores(everyone), model.scores(everyone))


def test_load_of_another_model_says_which(train: TrainingData, tmp_path: Path) -> None:
    make_baseline("svd").fit(train).save(tmp_path)
    with pytest.raises(ArtifactError, match=r"Expected a saved 'popularity'.*got 'svd'"):
        Popularity.load(tmp_path)


def test_load_of_empty_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=rf"Expected a saved model in {tmp_path}"):
        load_baseline(tmp_path)


def test_load_of_truncated_arrays_names_the_file(train: TrainingData, tmp_path: Path) -> None:
    make_baseline("itemknn").fit(train).save(tmp_path)
    arrays = tmp_path / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match=r"arrays of 'itemknn' in .*arrays.safetensors"):
        load_baseline(tmp_path)


def test_load_of_unknown_model_or_settings_is_refused(train: TrainingData, tmp_path: Path) -> None:
    make_baseline("popularity").fit(train).save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"name": "popularity", "config": {"half_life": 3}}))
    with pytest.raises(ArtifactError, match="Expected settings of 'popularity'"):
        load_baseline(tmp_path)
    path.write_text(json.dumps({"name": "oracle", "config": {}}))
    with pytest.raises(ArtifactError, match="got 'oracle'"):
        load_baseline(tmp_path)
    path.write_text("[]")
    with pytest.raises(ArtifactError, match="Expected a JSON object"):
        load_baseline(tmp_path)
