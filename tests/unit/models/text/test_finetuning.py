"""Fine-tuning on a catalogue whose words tell the taste: modes, objectives, resuming, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file
from text_data import cold_task, make_wordy_bert, recall, worded

from kgrec.data.interactions import Interactions
from kgrec.errors import ConfigError, DataError
from kgrec.models.text import finetuning
from kgrec.models.text.encoder import TextEncoder
from kgrec.models.text.finetuning import RECORD, fine_tune, tuning_key
from kgrec.models.text.finetuning_config import FineTuningConfig
from kgrec.retrieval.sources import ContentKernel

TRAIN = worded()
TASK = cold_task(TRAIN)
QUICK = {
    "steps": 60, "adapt_steps": 30, "texts_per_step": 64, "learning_rate": 3e-3,
    "head_learning_rate": 3e-3, "factors": 8, "device": "cpu", "threads": 1,
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "behaviour": {"mode": "full"},
    "likes": {"mode": "full", "objective": "likes"},
    "masked": {"mode": "full", "adapt": "masked"},
    "contrastive": {"mode": "full", "adapt": "contrastive", "objective": "likes", "steps": 100},
    "last_n": {"mode": "last_n", "objective": "likes", "steps": 150},
    "lora": {"mode": "lora", "objective": "likes", "steps": 150},
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wordy_bert(tmp_path_factory.mktemp("bert"))


def quick(**changes: Any) -> FineTuningConfig:
    return FineTuningConfig(**{**QUICK, "mode": "full", **changes})


def tuned(bert: Path, root: Path, config: FineTuningConfig, **changes: Any) -> Path:
    return fine_tune(bert, TRAIN.dataset.items, TRAIN.interactions, config, root, **changes)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def recall_of(encoder: Path, cache: Path) -> float:
    vectors = TextEncoder(encoder, cache).encode([str(text) for text in TRAIN.dataset.items.texts])
    return recall(ContentKernel(text_vectors=vectors).fit(TRAIN).scores(TASK.histories), TASK)


@pytest.mark.parametrize("way", WAYS)
def test_tuned_texts_tell_who_likes_items_that_nobody_met(
    bert: Path, tmp_path: Path, way: str
) -> None:
    folder = tuned(bert, tmp_path, quick(**WAYS[way]))
    for losses in json.loads((folder / RECORD).read_text())["losses"].values():
        assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    frozen = recall_of(bert, tmp_path)
    assert 0.70 < frozen < 0.78
    assert recall_of(folder, tmp_path) > 0.95


def test_tuned_folder_has_the_weights_of_a_plain_model(bert: Path, tmp_path: Path) -> None:
    folder = tuned(bert, tmp_path, quick(mode="lora", steps=2))
    plain, changed = weights(bert), weights(folder)
    assert {name: array.shape for name, array in plain.items()} == {
        name: array.shape for name, array in changed.items()
    }
    moved = {name for name in plain if not np.array_equal(plain[name], changed[name])}
    assert "encoder.layer.0.attention.self.query.weight" in moved
    assert "embeddings.word_embeddings.weight" not in moved


def test_only_the_last_layers_learn_in_mode_last_n(bert: Path, tmp_path: Path) -> None:
    folder = tuned(bert, tmp_path, quick(mode="last_n", last_layers=1, steps=3))
    plain, changed = weights(bert), weights(folder)
    moved = {name for name in plain if not np.array_equal(plain[name], changed[name])}
    assert moved == {name for name in plain if name.startswith("encoder.layer.1.")}


def test_kept_share_writes_weights_between_the_base_and_the_tuned(
    bert: Path, tmp_path: Path
) -> None:
    name = "encoder.layer.1.output.dense.weight"
    whole = weights(tuned(bert, tmp_path, quick(steps=3)))[name]
    half = weights(tuned(bert, tmp_path, quick(steps=3, kept_share=0.5)))[name]
    np.testing.assert_allclose(half, (whole + weights(bert)[name]) / 2, atol=1e-6)


def test_adapting_alone_learns_from_texts_and_no_events(bert: Path, tmp_path: Path) -> None:
    config = quick(adapt="contrastive", steps=0, adapt_steps=3)
    folder = tuned(bert, tmp_path, config)
    assert list(json.loads((folder / RECORD).read_text())["losses"]) == ["title"]
    none = TRAIN.interactions.take(np.empty(0, dtype=np.int64))
    assert fine_tune(bert, TRAIN.dataset.items, none, config, tmp_path) == folder


@pytest.mark.parametrize(
    "settings", [{"mode": "full"}, {"mode": "lora"}, {"mode": "full", "adapt": "masked"}]
)
def test_killed_fit_goes_on_with_the_same_numbers(
    bert: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = quick(steps=12, adapt_steps=6, checkpoint_every_steps=4, **settings)
    whole = tuned(bert, tmp_path / "whole", config)

    def killed(step: int, steps: int, loss: float) -> None:
        if (step, steps) == (8, 12):
            raise MemoryError

    with pytest.raises(MemoryError):
        tuned(bert, tmp_path / "killed", config, progress=killed)
    seen: list[int] = []
    again = tuned(
        bert, tmp_path / "killed", config, progress=lambda step, steps, loss: seen.append(step)
    )
    assert seen[-1] == 12
    assert 4 not in seen[-2:]
    assert (again / RECORD).read_text() == (whole / RECORD).read_text()
    for name, weight in weights(whole).items():
        np.testing.assert_array_equal(weights(again)[name], weight)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [again.name]


def test_what_was_learned_is_not_learned_again(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(steps=2)
    folder = tuned(bert, tmp_path, config)
    monkeypatch.setattr(finetuning, "_learn", lambda *args: pytest.fail("it was learned again"))
    assert tuned(bert, tmp_path, config.model_copy(update={"threads": 2})) == folder


def test_key_is_another_for_other_texts_events_settings_or_model(
    bert: Path, tmp_path: Path
) -> None:
    items, events, config = TRAIN.dataset.items, TRAIN.interactions, quick()
    texts = np.array(items.texts, dtype=object)
    texts[5] += " more"
    other = make_wordy_bert(tmp_path / "other", word_head=True)
    keys = {
        tuning_key(bert, items, events, config),
        tuning_key(bert, replace(items, texts=texts), events, config),
        tuning_key(bert, items, events.take(np.arange(len(events) - 1)), config),
        tuning_key(bert, items, events, quick(steps=61)),
        tuning_key(other, items, events, config),
    }
    assert len(keys) == 5


def test_items_without_a_text_are_left_out_and_get_zero_rows(bert: Path, tmp_path: Path) -> None:
    texts = np.array(TRAIN.dataset.items.texts, dtype=object)
    texts[:100:2] = ["", "  \n"] * 25
    items = replace(TRAIN.dataset.items, texts=texts)
    for objective in ("behaviour", "likes"):
        config = quick(steps=2, objective=objective, adapt="contrastive", adapt_steps=2)
        folder = fine_tune(bert, items, TRAIN.interactions, config, tmp_path)
        vectors = TextEncoder(folder, tmp_path / "cache").encode(texts.tolist())
        assert np.isfinite(vectors).all()
        assert (vectors[:100:2] == 0).all()
        assert (np.abs(vectors[1::2]).sum(axis=1) > 0).all()


def test_frozen_is_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Expected a mode in which weights learn"):
        tuned(bert, tmp_path, FineTuningConfig())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapt": "masked"}, "needs weights that learn"),
        ({"mode": "full", "steps": 0}, "leave nothing to learn"),
    ],
)
def test_settings_that_learn_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FineTuningConfig(**settings)


def test_more_layers_than_there_are_are_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Expected last_layers of at most 2"):
        tuned(bert, tmp_path, quick(mode="last_n", last_layers=3))


@pytest.mark.parametrize("objective", ["behaviour", "likes"])
def test_events_without_likes_teach_nothing(bert: Path, tmp_path: Path, objective: str) -> None:
    events = TRAIN.interactions
    disliked: Interactions = replace(events, positive=np.zeros(len(events), dtype=np.bool_))
    with pytest.raises(DataError, match="say mode: frozen"):
        fine_tune(bert, TRAIN.dataset.items, disliked, quick(objective=objective), tmp_path)


def test_loss_that_is_not_finite_is_told(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Expected a finite loss of the text encoder"):
        tuned(bert, tmp_path, quick(learning_rate=1e30, head_learning_rate=1e30))
