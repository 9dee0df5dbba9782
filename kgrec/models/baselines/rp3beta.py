"""RP3beta: three-step random walks user -> item -> user -> item, popular ends held back."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.interactions import FloatArray
from kgrec.models.baselines.event_weights import train_matrix
from kgrec.models.baselines.item_item import ItemItemConfig, ItemItemScorer, ItemWeights
from kgrec.models.baselines.sparse_products import top_product
from kgrec.models.scorer import TrainingData


class RP3BetaConfig(ItemItemConfig):
    """Settings of RP3beta."""

    neighbours_per_item: int = Field(default=200, ge=1)
    """Neighbours kept for each item of a history."""
    alpha: float = Field(default=1.0, gt=0)
    """Exponent of each step's probability; 1 is the plain walk."""
    beta: float = Field(default=0.5, ge=0)
    """Exponent of the end item's degree, which divides; 0 leaves the walk as it is."""


class RP3Beta(ItemItemScorer):
    """W_ij = sum_u (x_ui / d_i)^alpha (x_uj / d_u)^alpha / d_j^beta.

    Source: Paudel et al., "Updatable, accurate, diverse, and scalable recommendations for
    interactive applications", TiiS 7(1), 2017. The first step, alike for all items of a history,
    is left out: it does not change a user's ranking.
    """

    name = "rp3beta"
    config_class = RP3BetaConfig
    config: RP3BetaConfig

    def learn(self, train: TrainingData) -> ItemWeights:
        """Return the walk weights of the train events."""
        matrix = train_matrix(
            train.interactions,
            train.num_users,
            train.num_items,
            self.config.train_negative_weight,
        )
        rows = top_product(
            step(matrix.T.tocsr(), self.config.alpha),
            step(matrix, self.config.alpha),
            self.config.neighbours_per_item,
            column_scale=held_back(absolute_sums(matrix.T), self.config.beta),
            seed=train.seed,
        )
        return ItemWeights(train.num_items, sparse_rows=rows)


def absolute_sums(matrix: sparse.csr_matrix) -> FloatArray:
    """Return the sum of absolute values of each row, shape (num_rows,), float32."""
    return np.asarray(abs(matrix).sum(axis=1), dtype=np.float32).ravel()


def step(matrix: sparse.csr_matrix, alpha: float) -> sparse.csr_matrix:
    """Return the step probabilities of a walk to the power of ``alpha``, signs kept.

    Each row of the result is sign(x) (|x| / row sum)^alpha; empty rows stay empty.
    """
    sums = absolute_sums(matrix)
    share = np.abs(matrix.data) / np.repeat(sums, np.diff(matrix.indptr))
    data = (np.sign(matrix.data) * share**alpha).astype(np.float32)
    return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def held_back(degree: FloatArray, beta: float) -> FloatArray:
    """Return degree^-beta, and 1 where the degree is 0."""
    safe = np.where(degree > 0, degree, 1.0)
    return np.asarray(safe**-beta, dtype=np.float32)
