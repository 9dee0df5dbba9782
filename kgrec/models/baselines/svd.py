"""Normalised SVD: the leading directions of the degree-normalised interaction matrix."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field
from scipy import sparse
from scipy.sparse.linalg import svds

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.baselines.baseline import Arrays
from kgrec.models.baselines.event_weights import (
    history_matrix,
    history_weights,
    train_matrix,
    weights_of,
)
from kgrec.models.baselines.factors import FactorConfig, FactorScorer
from kgrec.models.scorer import TrainingData

MAX_SOLVED_WHOLE = 1024  # rows or columns; an eigenproblem of this size takes a second


class SVDConfig(FactorConfig):
    """Settings of the normalised SVD."""

    user_exponent: float = Field(default=0.3, ge=0)
    """Exponent of a user's degree in the normalisation."""
    item_exponent: float = Field(default=0.35, ge=0)
    """Exponent of an item's degree in the normalisation."""
    output_exponent: float = Field(default=0.0, ge=0)
    """Exponent of the scored item's degree, which multiplies; item_exponent undoes the norm."""


class SVD(FactorScorer):
    """score_uj = (x~_u V V')_j d_j^o with x~_ui = x_ui / (d_u^a d_i^b), V the right vectors of x~.

    Source: pure SVD (Cremonesi et al., RecSys 2010) with the degrees tempered as in graph
    convolutions. A history is projected: nothing is kept for single users.
    """

    name = "svd"
    config_class = SVDConfig
    config: SVDConfig
    _item_scale: FloatArray | None = None
    _directions: FloatArray | None = None

    def fit(self, train: TrainingData) -> Self:
        """Learn the right singular vectors and return self."""
        config = self.config
        matrix = train_matrix(
            train.interactions, train.num_users, train.num_items, config.train_negative_weight
        )
        degree = np.maximum(np.bincount(matrix.indices, minlength=train.num_items), 1)
        self._item_scale = (degree**-config.item_exponent).astype(np.float32)
        normalised = self._normalised(matrix).astype(np.float64)
        self._directions = right_vectors(normalised, config.num_factors, train.seed)
        output = (degree**config.output_exponent).astype(np.float32)
        self._item_factors = self._directions * output[:, None]
        return self

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return the projected histories, shape (B, num_factors), float32."""
        directions = self.fitted(self._directions)
        rows = history_matrix(
            histories,
            len(directions),
            self.config.negative_weight,
            self.config.history_half_life_events,
        )
        return np.asarray(self._normalised(rows) @ directions, dtype=np.float32)

    def summands(self, history: HistoryBatch, held: IntArray, item_idx: IntArray) -> FloatArray:
        """Return what items of a history add to the scores of some items, as Scorer says."""
        config, items = self.config, self.item_factors
        _, columns, weights = history_weights(
            history, len(items), config.negative_weight, config.history_half_life_events
        )
        weights = weights * self.fitted(self._item_scale)[columns]
        weights *= np.float32(max(len(columns), 1) ** -config.user_exponent)
        own = weights_of(held, columns, weights)
        directions = self.fitted(self._directions)[held] * own[:, None]
        return np.asarray(directions @ items[item_idx].T, dtype=np.float32)

    def _normalised(self, rows: sparse.csr_matrix) -> sparse.csr_matrix:
        degree = np.diff(rows.indptr)
        user_scale = np.maximum(degree, 1).astype(np.float32) ** -self.config.user_exponent
        data = rows.data * np.repeat(user_scale, degree)
        data = (data * self.fitted(self._item_scale)[rows.indices]).astype(np.float32)
        return sparse.csr_matrix((data, rows.indices, rows.indptr), shape=rows.shape)

    def state(self) -> Arrays:
        """Return the item factors, the projection and the item norms."""
        return {
            **super().state(),
            "directions": self.fitted(self._directions),
            "item_scale": self.fitted(self._item_scale),
        }

    def restore(self, arrays: Arrays) -> None:
        """Take over the arrays that ``state`` returned."""
        super().restore(arrays)
        self._directions = arrays["directions"]
        self._item_scale = arrays["item_scale"]


def right_vectors(matrix: sparse.csr_matrix, num_factors: int, seed: int) -> FloatArray:
    """Return the strongest right singular vectors, shape (num_columns, k), k <= num_factors.

    ARPACK starts anew at random where it meets the rank of the matrix, which a small one is sure
    to have; a small one is therefore solved whole, and vectors beyond its rank are left out.
    """
    size = min(num_factors, min(matrix.shape) - 1)
    if min(matrix.shape) > MAX_SOLVED_WHOLE:
        start = np.random.default_rng(seed).standard_normal(min(matrix.shape))
        _, values, right = svds(matrix, k=size, v0=start, return_singular_vectors="vh")
        strongest = np.argsort(-values, kind="stable")
        return np.ascontiguousarray(right[strongest].T, dtype=np.float32)
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    squares, vectors = np.linalg.eigh((tall.T @ tall).toarray())
    kept = np.argsort(-squares, kind="stable")[:size]
    kept = kept[squares[kept] > 1e-10 * max(squares.max(initial=0.0), 1e-300)]
    found = vectors[:, kept]
    if tall is not matrix:
        found = (matrix.T @ found) / np.sqrt(squares[kept])
    return np.ascontiguousarray(found, dtype=np.float32)
