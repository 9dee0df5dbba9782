"""Local SLIM: for each item, ridge regression on its nearest items; no items x items matrix."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.interactions import FloatArray
from kgrec.models.baselines.ease import weigh_rows
from kgrec.models.baselines.event_weights import train_matrix
from kgrec.models.baselines.item_item import ItemItemConfig, ItemItemScorer, ItemWeights
from kgrec.models.baselines.local_ridge import local_ridge
from kgrec.models.baselines.sparse_products import top_product
from kgrec.models.scorer import TrainingData


class SLIMConfig(ItemItemConfig):
    """Settings of local SLIM."""

    candidates: int = Field(default=100, ge=1)
    """Nearest items that each item is regressed on."""
    candidate_shrinkage: float = Field(default=3.0, ge=0)
    """Shrinkage of the cosine that chooses the candidates, in likes."""
    ridge: float = Field(default=20.0, gt=0)
    """Lambda: added to the diagonal of the Gram matrix, in likes."""
    user_exponent: float = Field(default=0.0, ge=0)
    """A user with d likes weighs d^-user_exponent."""
    ridge_exponent: float = Field(default=0.0, ge=0, le=1)
    """The ridge of item i is lambda (G_ii / mean G)^ridge_exponent."""
    table_bytes: int = Field(default=400_000_000, gt=0)
    """Bytes for the Gram matrix of the most common items; other entries are made when needed."""


class SLIM(ItemItemScorer):
    """Column j of W solves (G_NN + diag(ridge)) w = G_Nj over the nearest items N of j.

    Source: Ning and Karypis, "SLIM: sparse linear methods for top-N recommender systems", ICDM
    2011, in its neighbourhood form (fsSLIM); squared penalty only and no sign constraint, as in
    EASE, of which it is the local form.
    """

    name = "slim"
    config_class = SLIMConfig
    config: SLIMConfig

    def learn(self, train: TrainingData) -> ItemWeights:
        """Return the regression weights of the train events."""
        config = self.config
        rows = self.weighted_rows(train)
        norms = column_norms(rows)
        nearest = top_product(
            rows.T.tocsr(),
            rows,
            config.candidates,
            column_scale=np.ones(train.num_items, dtype=np.float32),
            row_norm=norms,
            column_norm=norms,
            shrinkage=config.candidate_shrinkage,
            seed=train.seed,
        )
        squares = norms.astype(np.float64) ** 2
        mean = squares[squares > 0].mean() if (squares > 0).any() else 1.0
        ridge = config.ridge * (np.maximum(squares, 1e-6 * mean) / mean) ** config.ridge_exponent
        weights = local_ridge(rows, nearest, ridge.astype(np.float32), config.table_bytes)
        return ItemWeights(train.num_items, sparse_rows=weights)

    def weighted_rows(self, train: TrainingData) -> sparse.csr_matrix:
        """Return the weighted rows whose Gram matrix is used, shape (num_rows, num_items)."""
        config = self.config
        matrix = train_matrix(
            train.interactions, train.num_users, train.num_items, config.train_negative_weight
        )
        return weigh_rows(matrix, config.user_exponent)


def column_norms(rows: sparse.csr_matrix) -> FloatArray:
    """Return the Euclidean norm of each column, shape (num_columns,), float32."""
    squares = np.bincount(rows.indices, rows.data.astype(np.float64) ** 2, rows.shape[1])
    return np.sqrt(squares).astype(np.float32)
