"""The encoder in ONNX Runtime says what torch's says, and is made once."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_world import world

from graph_etl.errors import ConfigError, MissingDependencyError
from graph_etl.extraction.bert import BertExtractor
from graph_etl.extraction.bert.artifact import load_model
from graph_etl.extraction.bert.onnx_encoder import onnx_encoder
from graph_etl.extraction.config import BertConfig
from graph_etl.extraction.extractor import Request
from graph_etl.extraction.known_names import NOTHING
from graph_etl.extraction.records import Answer
from graph_etl.extraction.stages import opened
from graph_etl.fetch import CACHE_DIR


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    return tmp_path


def said(answer: Answer) -> list[tuple[object, ...]]:
    assert answer.extraction is not None
    found = answer.extraction
    return [(one.start, one.end, one.entity_type) for one in found.mentions] + [
        (one.head, one.relation, one.tail, one.evidence) for one in found.triples
    ]


def surety(answer: Answer) -> list[float]:
    assert answer.extraction is not None
    return [one.confidence for one in (*answer.extraction.mentions, *answer.extraction.triples)]


def test_hidden_states_are_those_of_torch_for_any_shape(trained: Path) -> None:
    encoder = load_model(trained).reader.model.encoder
    other = onnx_encoder(encoder, "tiny")
    for size, length in ((1, 2), (1, 30), (5, 7), (33, 64)):
        embedded = torch.randn(size, length, encoder.config.hidden_size)
        attention = (torch.arange(length) < torch.randint(1, length + 1, (size, 1))).long()
        with torch.inference_mode():
            expected = encoder(inputs_embeds=embedded, attention_mask=attention).last_hidden_state
        found = other(inputs_embeds=embedded, attention_mask=attention).last_hidden_state
        seen = attention.bool()
        np.testing.assert_allclose(found[seen], expected[seen], atol=1e-4)


def test_an_extractor_in_onnx_says_the_same_and_exports_once(trained: Path, cache: Path) -> None:
    requests = [Request(one.document) for one in world()]
    in_torch = BertExtractor(trained, device="cpu")
    config = BertConfig(model=str(trained), runtime="onnx")
    in_onnx = opened(config, in_torch.schema, NOTHING, lambda what, share: None)
    assert in_onnx.fingerprint == in_torch.fingerprint
    for one, other in zip(in_torch.answers(requests), in_onnx.answers(requests), strict=True):
        assert said(one) == said(other)
        assert surety(one) == pytest.approx(surety(other), abs=0.02)  # torch's may be bfloat16
    [file] = (cache / "onnx").iterdir()
    made = file.stat().st_mtime_ns
    BertExtractor(trained, runtime="onnx")
    assert [one.stat().st_mtime_ns for one in (cache / "onnx").iterdir()] == [made]


def test_onnx_is_refused_on_a_gpu_and_told_of_where_it_is_missing(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="Expected the device 'cpu' with the runtime 'onnx'"):
        BertExtractor(trained, device="cuda", runtime="onnx")
    for name in ("onnxscript", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(MissingDependencyError, match=rf"library {name} .*kgrec"):
                BertExtractor(trained, runtime="onnx")
