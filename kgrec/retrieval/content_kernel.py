"""The source of a ridge regression of a history on content, in closed form for any user."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.models.baselines.event_weights import history_matrix
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import TextVectors
from kgrec.retrieval.content_ridge import ContentRidge, ContentRidgeConfig
from kgrec.retrieval.vector_source import read_source, write_source

_BLOCK = 65_536
"""Rows that are taken in float64 at a time."""


class ContentKernelConfig(ContentRidgeConfig):
    """The ridge regression of one user's events on content."""

    negative_weight: float = 0.3
    """Weight of a low rating, where a like weighs 1: being met at all tells of taste too."""


class ContentKernel(ContentRidge):
    """What a user meets and likes, regressed on what items are.

    With X the content of the items, D the items with train events and y a user's weighted events,
    scores = X (X'DX + ridge I)^-1 X'D (y - mean y). The matrix is the same for all users, so with
    Z = X (X'DX + ridge I)^-1/2 the score is the product of z_i and the sum of the history's z_j:
    it serves users and items that training never saw.

    Args:
        config: Weights; the settings of behaviour vectors do not matter here.
        text_vectors: Shape (num_items, dim), from a text encoder, or what gives those of a
            training set; None for hashed words.
    """

    name: ClassVar[str] = "content_kernel"

    def __init__(
        self, config: ContentKernelConfig | None = None, text_vectors: TextVectors | None = None
    ) -> None:
        settings = config or ContentKernelConfig()
        super().__init__(settings, text_vectors)
        self._negative_weight = settings.negative_weight
        self._centre: FloatArray = np.zeros(1, dtype=np.float32)

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
        return content

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return one vector for each history, shape (B, dim), float32; zeros for an empty one."""
        vectors = self.item_vectors()
        weights = history_matrix(histories, len(vectors), self._negative_weight)
        total = np.asarray(weights.sum(axis=1), dtype=np.float32).reshape(-1, 1)
        return np.asarray(weights @ vectors - total * self._centre, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write vectors and configuration into ``folder``."""
        arrays = {"vectors": self.item_vectors(), "centre": self._centre}
        write_source(folder, arrays, self.config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the source written by ``save``."""
        arrays, config = read_source(folder)
        source = cls(ContentKernelConfig.model_validate(config))
        source._vectors, source._centre = arrays["vectors"], arrays["centre"]
        return source
