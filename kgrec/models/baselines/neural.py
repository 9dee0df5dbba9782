"""Settings that every published network has; how it is trained is in kgrec.models.yardsticks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.interactions import IntArray
from kgrec.errors import DataError
from kgrec.models.baselines.baseline import BaselineConfig
from kgrec.models.scorer import TrainingData


class NeuralConfig(BaselineConfig):
    """Settings of a network and of its training."""

    embedding_dim: int = Field(default=64, ge=2)
    """Dimensions of the vectors."""
    num_epochs: int = Field(default=100, ge=1)
    """Passes over the train likes."""
    batch_size: int = Field(default=2048, ge=1)
    """Likes in a training step."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """Learning rate of Adam."""
    l2: float = Field(default=1e-4, ge=0)
    """Weight of the squared embeddings that a step uses, for each like."""
    loss: Literal["pairwise", "softmax"] = "pairwise"
    """pairwise: each like against one unliked item, as published; softmax: against all items."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training runs; auto takes a CUDA device where there is one."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of torch while fitting; 0 leaves the present setting."""


def liked_pairs(train: TrainingData, name: str) -> tuple[IntArray, IntArray]:
    """Return users and items of the train likes, each pair once, by user then item.

    Raises:
        DataError: There is no like.
    """
    matrix = sparse.coo_matrix(
        train.interactions.positives().matrix(train.num_users, train.num_items).tocsr()
    )
    if not matrix.nnz:
        raise DataError(
            f"Expected at least one like to train '{name}' on (got none); loosen the rule for "
            "positives in dataset.yaml"
        )
    return matrix.row.astype(np.int64), matrix.col.astype(np.int64)
