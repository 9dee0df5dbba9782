"""The source of a ridge regression of a history on content, in closed form for any user."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.models.baselines.event_weights import history_matrix, train_matrix
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import TextVectors
from kgrec.retrieval.content_ridge import ContentRidge, ContentRidgeConfig
from kgrec.retrieval.content_vectors import truncated_svd
from kgrec.retrieval.vector_source import read_source, write_source

_BLOCK = 65_536
"""Rows that are taken in float64 at a time."""


class ContentKernelConfig(ContentRidgeConfig):
    """The ridge regression of one user's events on content."""

    negative_weight: float = 0.3
    """Weight of a low rating, where a like weighs 1: being met at all tells of taste too."""
    behaviour_weight: float = Field(0.0, ge=0.0)
    """How much a history also counts for what people of like behaviour met; 0: not at all."""
    behaviour_ridge: float = Field(100.0, gt=0.0)
    """L2 weight, in events, of the regression that says what these people met."""


class ContentKernel(ContentRidge):
    """What a user meets and likes, regressed on what items are.

    With X the content of the items, D the items with train events and y a user's weighted events,
    scores = X (X'DX + ridge I)^-1 X'D (y - mean y). The matrix is the same for all users, so with
    Z = X (X'DX + ridge I)^-1/2 the score is the product of z_i and the sum of the history's z_j:
    it serves users and items that training never saw.

    With a ``behaviour_weight`` b, y is y + b yV S^2 (S^2 + behaviour_ridge I)^-1 V', where U S V'
    is the truncated SVD of the train events: a short history counts for what people of the same
    behaviour met besides, and content is asked what all of it has in common.

    Args:
        config: Weights; of the settings of behaviour vectors ``factors`` alone matters here.
        text_vectors: Shape (num_items, dim), from a text encoder, or what gives those of a
            training set; None for hashed words.
    """

    name: ClassVar[str] = "content_kernel"

    def __init__(
        self, config: ContentKernelConfig | None = None, text_vectors: TextVectors | None = None
    ) -> None:
        super().__init__(config or ContentKernelConfig(), text_vectors)
        self._centre: FloatArray = np.zeros(1, dtype=np.float32)
        self._pull: FloatArray | None = None

    @property
    def settings(self) -> ContentKernelConfig:
        """The configuration, as the type that the constructor takes."""
        assert isinstance(self.config, ContentKernelConfig)
        return self.config

    def item_vectors_of(self, train: TrainingData) -> FloatArray:
        """Return the whitened content of the items, shape (num_items, dim)."""
        content = self.content(train)
        touched = np.bincount(train.interactions.item_idx, minlength=train.num_items) > 0
        parts = [slice(at, at + _BLOCK) for at in range(0, len(content), _BLOCK)]
        dim = content.shape[1]
        gram, total = self.settings.ridge * np.eye(dim), np.zeros(dim)
        for part in parts:
            known = content[part][touched[part]].astype(np.float64)
            gram += known.T @ known
            total += known.sum(axis=0)
        values, vectors = np.linalg.eigh(gram)
        scale = vectors / np.sqrt(values)
        self._centre = (total / max(int(touched.sum()), 1) @ scale).astype(np.float32)
        for part in parts:
            content[part] = content[part].astype(np.float64) @ scale
        self._learn_behaviour(train, content)
        return content

    def _learn_behaviour(self, train: TrainingData, vectors: FloatArray) -> None:
        """Learn what the behaviour of a history adds to its vector."""
        self._behaviour = self._pull = None
        config = self.settings
        if not config.behaviour_weight:
            return
        events = train_matrix(
            train.interactions, train.num_users, train.num_items, config.negative_weight
        )
        behaviour = truncated_svd(events.T.tocsr(), config.factors, train.seed)  # V S
        strength = (behaviour.astype(np.float64) ** 2).sum(axis=0)
        pull = behaviour.T @ vectors - np.outer(behaviour.sum(axis=0), self._centre)
        shrunk = config.behaviour_weight / (strength + config.behaviour_ridge)
        self._behaviour, self._pull = behaviour, (pull * shrunk[:, None]).astype(np.float32)

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return one vector for each history, shape (B, dim), float32; zeros for an empty one."""
        vectors = self.item_vectors()
        weights = history_matrix(histories, len(vectors), self.settings.negative_weight)
        total = np.asarray(weights.sum(axis=1), dtype=np.float32).reshape(-1, 1)
        found = weights @ vectors - total * self._centre
        if self._behaviour is not None:
            found += (weights @ self._behaviour) @ self._pull
        return np.asarray(found, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write vectors and configuration into ``folder``."""
        arrays = {"vectors": self.item_vectors(), "centre": self._centre}
        if self._behaviour is not None and self._pull is not None:
            arrays |= {"behaviour": self._behaviour, "pull": self._pull}
        write_source(folder, arrays, self.config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the source written by ``save``."""
        arrays, config = read_source(folder)
        source = cls(ContentKernelConfig.model_validate(config))
        source._vectors, source._centre = arrays["vectors"], arrays["centre"]
        source._behaviour, source._pull = arrays.get("behaviour"), arrays.get("pull")
        return source
