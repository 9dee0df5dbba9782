"""The source of predicted behaviour: ridge regression from content to collaborative vectors."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.given_vectors import about_mean
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import TextVectors, vectors_of
from kgrec.retrieval.content_vectors import (
    GRAPH_DIM,
    centred,
    graph_vectors,
    hashed_text_vectors,
    number_vectors,
    truncated_svd,
    unit_rows,
)
from kgrec.retrieval.vector_source import (
    ProfileConfig,
    VectorSource,
    profile_weights,
    read_source,
    write_source,
)


class ContentRidgeConfig(ProfileConfig):
    """The ridge regression from content to behaviour."""

    factors: int = Field(64, ge=1)
    """Length of the behaviour vectors."""
    ridge: float = Field(30.0, gt=0.0)
    """L2 weight of the regression."""
    item_exponent: float = Field(0.35, ge=0.0)
    """Exponent of an item's likes, which divides its behaviour vector; 0 favours popular items."""
    user_exponent: float = Field(0.3, ge=0.0)
    """Exponent of a user's likes, which divides."""
    graph_dim: int = Field(GRAPH_DIM, ge=1)
    """Length of the content's part that tells which entities an item touches."""
    number_knots: int = Field(0, ge=0)
    """Quantiles among which the content tells where a number lies, beside its value; 0: none."""
    profile_of_behaviour: bool = False
    """Whether a history is the mean of its items' behaviour vectors, not of the predicted ones."""


class ContentRidge(VectorSource):
    """Behaviour vectors predicted from content, so that an untouched item has one too.

    With Y the normalised-SVD vectors of the items and X their content (text, graph, numbers,
    vectors from outside):
    W = (X'DX + ridge I)^-1 X'DY, D = square root of the items' likes; items are scored by XW.
    Every item is scored by its prediction, touched or not, so the two compare.

    Args:
        config: Sizes and weights.
        text_vectors: Shape (num_items, dim), from a text encoder, or what gives those of a
            training set; None for hashed words.
    """

    name: ClassVar[str] = "content_ridge"
    reads_texts: ClassVar[bool] = True

    def __init__(
        self, config: ContentRidgeConfig | None = None, text_vectors: TextVectors | None = None
    ) -> None:
        super().__init__(config or ContentRidgeConfig())
        self._given = text_vectors
        self._behaviour: FloatArray | None = None

    @property
    def settings(self) -> ContentRidgeConfig:
        """The configuration, as the type that the constructor takes."""
        assert isinstance(self.config, ContentRidgeConfig)
        return self.config

    def item_vectors_of(self, train: TrainingData) -> FloatArray:
        """Return the predicted behaviour vectors, shape (num_items, factors)."""
        config = self.settings
        likes = train.interactions.positives().matrix(train.num_users, train.num_items)
        degree = np.asarray(likes.sum(axis=0)).ravel()
        behaviour = _normalised_svd(likes, config, train.seed)
        self._behaviour = behaviour if config.profile_of_behaviour else None
        return ridge_prediction(self.content(train), behaviour, np.sqrt(degree), config.ridge)

    def content(self, train: TrainingData) -> FloatArray:
        """Return what is read of the items, shape (num_items, dim), float32."""
        config = self.settings
        return content_matrix(train, self._given, config.graph_dim, config.number_knots)

    def with_rows(self, vectors: FloatArray) -> Self:
        """Return the source with further items at the end, which no history of behaviour knows."""
        wider = super().with_rows(vectors)
        if self._behaviour is not None:
            unknown = np.zeros((len(vectors), self._behaviour.shape[1]), dtype=np.float32)
            wider._behaviour = np.concatenate([self._behaviour, unknown])
        return wider

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return one vector for each history, shape (B, factors), float32."""
        if self._behaviour is None:
            return super().user_vectors(histories)
        weights = profile_weights(histories, len(self._behaviour), self.config)
        return np.asarray(weights @ self._behaviour, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write vectors and configuration into ``folder``."""
        arrays = {"vectors": self.item_vectors()}
        if self._behaviour is not None:
            arrays["behaviour"] = self._behaviour
        write_source(folder, arrays, self.config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the source written by ``save``."""
        arrays, config = read_source(folder)
        source = cls(ContentRidgeConfig.model_validate(config))
        source._vectors, source._behaviour = arrays["vectors"], arrays.get("behaviour")
        return source


def content_matrix(
    train: TrainingData,
    text_vectors: TextVectors | None,
    graph_dim: int = GRAPH_DIM,
    number_knots: int = 0,
) -> FloatArray:
    """Return text, graph, numbers and given vectors, shape (num_items, dim), float32."""
    texts = vectors_of(text_vectors, train)
    if texts is None:
        texts = hashed_text_vectors(train.dataset.items, seed=train.seed)
    parts = [centred(texts), unit_rows(graph_vectors(train.graph, graph_dim, train.seed))]
    items = train.dataset.items
    parts += [number_vectors(values, number_knots) for values in items.numeric.values()]
    if items.vectors is not None:
        parts.append(about_mean(items.vectors))
    parts.append(np.ones((train.num_items, 1), dtype=np.float32))
    return np.concatenate(parts, axis=1).astype(np.float32, copy=False)


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


def _normalised_svd(likes: sparse.csr_matrix, config: ContentRidgeConfig, seed: int) -> FloatArray:
    users = np.maximum(np.asarray(likes.sum(axis=1)).ravel(), 1.0)
    items = np.maximum(np.asarray(likes.sum(axis=0)).ravel(), 1.0)
    scaled = sparse.diags(users**-config.user_exponent) @ likes
    scaled = scaled @ sparse.diags(items**-config.item_exponent)
    return truncated_svd(sparse.csr_matrix(scaled.T), config.factors, seed)
