"""The published networks on a CUDA device learn what they learn on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec.data.histories import HistoryBatch
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import TrainingData

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("name", ["lightgcn", "kgin", "sasrec"])
def test_yardstick_on_cuda_is_that_of_the_cpu(
    name: str, train: TrainingData, everyone: HistoryBatch
) -> None:
    settings: dict[str, float] = {"embedding_dim": 16, "num_epochs": 5}
    if name != "lightgcn":
        settings |= {{"kgin": "message_dropout", "sasrec": "dropout"}[name]: 0.0}
    scores = [
        make_baseline(name, {**settings, "device": device}).fit(train).scores(everyone)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-2, atol=1e-2)
