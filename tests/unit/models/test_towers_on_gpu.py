"""Towers and text encoder on a CUDA device: like the CPU, but for what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from towers_data import cold_task, make_tiny_bert, planted, recall

from kgrec.models.text.encoder import TextEncoder
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SMALL = TowersConfig(embedding_dim=16, steps=60, users_per_step=120, hidden_items=0.3, threads=1)


@pytest.mark.parametrize("sampled_above", [10**9, 0])  # over the whole graph, and over parts
def test_training_on_cuda_learns_what_it_learns_on_the_cpu(sampled_above: int) -> None:
    train = planted()
    task = cold_task(train)
    config = SMALL.model_copy(update={"sampled_above": sampled_above})
    fitted = {
        device: TowersScorer(config.model_copy(update={"device": device})).fit(train)
        for device in ("cpu", "cuda")
    }
    assert recall(fitted["cuda"].scores(task.histories), task) > 0.8
    losses = {
        device: np.array([point.loss for point in one.curve]) for device, one in fitted.items()
    }
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], atol=0.25)  # dropout is drawn anew


def test_texts_have_the_same_vectors_on_both(tmp_path: Path) -> None:
    bert = make_tiny_bert(tmp_path / "bert")
    texts = ["a story about the sea", "the city", "", "the moon 1 2 3"]
    on_cpu, on_cuda = (
        TextEncoder(bert, tmp_path / device, device=device).encode(texts)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(on_cuda, on_cpu, atol=2e-2)  # bfloat16
