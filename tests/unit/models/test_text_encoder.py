"""The text encoder on a tiny BERT made on the spot: pooling, cache, empty texts, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from towers_data import make_tiny_bert

from kgrec.errors import ConfigError
from kgrec.models.text.encoder import TextEncoder, default_cache_dir

TEXTS = ["a story about the sea", "the city", "a story about the moon 1 2 3", "the sea the sea"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bert(tmp_path_factory.mktemp("bert"))


def _reference(folder: Path, text: str) -> np.ndarray:
    """Return the mean of the last layer over the tokens of one text, unit length."""
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0]
    mean = hidden.mean(dim=0)
    return (mean / mean.norm()).numpy()


def test_encode_is_the_unit_mean_of_tokens_whatever_the_batch(bert: Path, tmp_path: Path) -> None:
    vectors = TextEncoder(bert, tmp_path, batch_size=3).encode(TEXTS)
    assert vectors.shape == (4, 32)
    assert vectors.dtype == np.float32
    tolerance = 2e-2 if TextEncoder(bert, tmp_path).bfloat16 else 1e-5
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(vectors[row], _reference(bert, text), atol=tolerance)


def test_encode_gives_empty_texts_a_zero_row(bert: Path, tmp_path: Path) -> None:
    vectors = TextEncoder(bert, tmp_path).encode(["", "the sea", " \n"])
    assert (vectors[[0, 2]] == 0).all()
    assert np.linalg.norm(vectors[1]) == pytest.approx(1.0, abs=1e-5)
    assert TextEncoder(bert, tmp_path).encode(["", ""]).shape == (2, 32)
    assert TextEncoder(bert, tmp_path).encode([]).shape == (0, 32)


def test_cached_texts_need_no_model(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = TextEncoder(bert, tmp_path).encode(TEXTS)
    again = TextEncoder(bert, tmp_path)
    monkeypatch.setattr(again, "_load", lambda: pytest.fail("the model was read"))
    np.testing.assert_array_equal(again.encode(TEXTS[::-1]), first[::-1])


def test_cache_holds_several_calls_and_no_staging_file(bert: Path, tmp_path: Path) -> None:
    encoder = TextEncoder(bert, tmp_path)
    encoder.encode(TEXTS[:2])
    encoder.encode(TEXTS)
    shards = sorted(path.suffix for path in encoder.cache_dir.iterdir())
    assert shards == [".safetensors", ".safetensors"]


def test_cache_is_apart_for_another_model_or_length(bert: Path, tmp_path: Path) -> None:
    other = make_tiny_bert(tmp_path / "other", hidden=16)
    folders = {
        TextEncoder(bert, tmp_path).cache_dir,
        TextEncoder(other, tmp_path).cache_dir,
        TextEncoder(bert, tmp_path, max_tokens=8).cache_dir,
    }
    assert len(folders) == 3
    copied = make_tiny_bert(tmp_path / "copied")
    assert TextEncoder(copied, tmp_path).cache_dir == TextEncoder(bert, tmp_path).cache_dir


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Expected config\.json in the encoder folder"):
        TextEncoder(tmp_path)


def test_broken_model_folder_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_bert(tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="Expected a BERT encoder at"):
        TextEncoder(folder, tmp_path / "cache").encode(["the sea"])


def test_default_cache_dir_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("KGREC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "kgrec"
