"""The source of predicted behaviour: ridge regression from content to collaborative vectors."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.interactions import FloatArray
from kgrec.models.scorer import TrainingData
from kgrec.retrieval.content_vectors import (
    centred,
    graph_vectors,
    hashed_text_vectors,
    truncated_svd,
    unit_rows,
)
from kgrec.retrieval.vector_source import ProfileConfig, VectorSource, read_source


class ContentRidgeConfig(ProfileConfig):
    """The ridge regression from content to behaviour."""

    factors: int = Field(64, ge=1)
    """Length of the behaviour vectors."""
    ridge: float = Field(30.0, gt=0.0)
    """L2 weight of the regression."""


class ContentRidge(VectorSource):
    """Behaviour vectors predicted from content, so that an untouched item has one too.

    With Y the normalised-SVD vectors of the items and X their content (text, graph, numbers):
    W = (X'DX + ridge I)^-1 X'DY, D = square root of the items' likes; items are scored by XW.
    Every item is scored by its prediction, touched or not, so the two compare.

    Args:
        config: Sizes and weights.
        text_vectors: Shape (num_items, dim), from a text encoder; None for hashed words.
    """

    name: ClassVar[str] = "content_ridge"

    def __init__(
        self, config: ContentRidgeConfig | None = None, text_vectors: FloatArray | None = None
    ) -> None:
        super().__init__(config or ContentRidgeConfig())
        self._given = text_vectors

    def item_vectors_of(self, train: TrainingData) -> FloatArray:
        """Return the predicted behaviour vectors, shape (num_items, factors)."""
        config = self.config
        assert isinstance(config, ContentRidgeConfig)  # the constructor's own type
        likes = train.interactions.positives().matrix(train.num_users, train.num_items)
        degree = np.asarray(likes.sum(axis=0)).ravel()
        behaviour = _normalised_svd(likes, config.factors, train.seed)
        content = content_matrix(train, self._given)
        return ridge_prediction(content, behaviour, np.sqrt(degree), config.ridge)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the source written by ``save``."""
        arrays, config = read_source(folder)
        source = cls(ContentRidgeConfig.model_validate(config))
        source._vectors = arrays["vectors"]
        return source


def content_matrix(train: TrainingData, text_vectors: FloatArray | None) -> FloatArray:
    """Return text, graph and numeric content of the items, shape (num_items, dim), float32."""
    if text_vectors is None:
        text_vectors = hashed_text_vectors(train.dataset.items, seed=train.seed)
    parts = [centred(text_vectors), unit_rows(graph_vectors(train.graph, seed=train.seed))]
    for values in train.dataset.items.numeric.values():
        known = np.isfinite(values)
        spread = float(values[known].std()) if known.any() else 0.0
        if spread > 0:
            scaled = np.where(known, (values - values[known].mean()) / spread, 0.0)
            both = np.stack([scaled, scaled**2 - known], axis=1).clip(-3, 3) * 0.5
            parts.append(both.astype(np.float32))
    parts.append(np.ones((train.num_items, 1), dtype=np.float32))
    return np.concatenate(parts, axis=1).astype(np.float32)


def ridge_prediction(
    content: FloatArray, target: FloatArray, weight: FloatArray, ridge: float
) -> FloatArray:
    """Return X (X'DX + ridge I)^-1 X'DY.

    Args:
        content: X, shape (num_items, dim).
        target: Y, shape (num_items, m).
        weight: Diagonal of D, shape (num_items,).
        ridge: L2 weight.
    """
    x = content.astype(np.float64)
    gram = x.T @ (x * weight[:, None]) + ridge * np.eye(x.shape[1])
    solution = np.linalg.solve(gram, x.T @ (target * weight[:, None]))
    return np.asarray(x @ solution, dtype=np.float32)


def _normalised_svd(likes: sparse.csr_matrix, factors: int, seed: int) -> FloatArray:
    users = np.maximum(np.asarray(likes.sum(axis=1)).ravel(), 1.0)
    items = np.maximum(np.asarray(likes.sum(axis=0)).ravel(), 1.0)
    scaled = sparse.diags(users**-0.3) @ likes @ sparse.diags(items**-0.35)
    return truncated_svd(sparse.csr_matrix(scaled.T), factors, seed)
