"""iALS: implicit-feedback factorisation by alternating least squares, folded in at request time."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.models.baselines.event_weights import history_matrix, train_matrix
from kgrec.models.baselines.factors import FactorConfig, FactorScorer
from kgrec.models.compiled import compiled_fast
from kgrec.models.scorer import TrainingData

FOLD_IN_STEPS = 64
FOLD_IN_TOLERANCE = 1e-5


class IALSConfig(FactorConfig):
    """Settings of iALS."""

    num_sweeps: int = Field(default=15, ge=1)
    """Sweeps over users and items."""
    solver_steps: int = Field(default=3, ge=1)
    """Conjugate-gradient steps a row in each sweep; fold-in always runs to convergence."""
    unobserved_weight: float = Field(default=0.1, gt=0)
    """alpha_0: weight of each user-item pair without an event, where a like weighs 1."""
    ridge: float = Field(default=0.01, gt=0)
    """lambda: weight of the squared vectors."""
    ridge_exponent: float = Field(default=1.0, ge=0)
    """nu: lambda grows with (number of events + alpha_0 number of pairs)^nu of a row."""
    start_scale: float = Field(default=0.1, gt=0)
    """Standard deviation of a start vector's length: each entry has start_scale / sqrt(factors)."""


class IALS(FactorScorer):
    """Minimises sum_S |w| (p - x_u.y_i)^2 + alpha_0 sum (x_u.y_i)^2 + ridge terms.

    S are the events, w their weights; p is 1 where w > 0 and 0 where w < 0. A history's vector
    is the least-squares answer given the item vectors, so unseen users are served alike.

    Source: Hu et al., ICDM 2008, in the form of Rendle et al., "Revisiting the performance of
    iALS on item recommendation benchmarks", RecSys 2022; rows solved by conjugate gradients
    (Takacs et al., RecSys 2011).
    """

    name = "ials"
    config_class = IALSConfig
    config: IALSConfig

    def fit(self, train: TrainingData) -> Self:
        """Alternate between users and items ``num_sweeps`` times and return self."""
        config = self.config
        rows = train_matrix(
            train.interactions, train.num_users, train.num_items, config.train_negative_weight
        )
        columns = rows.T.tocsr()
        rng = np.random.default_rng(train.seed)
        scale = config.start_scale / np.sqrt(config.num_factors)
        users = _start(rng, train.num_users, config.num_factors, scale)
        items = _start(rng, train.num_items, config.num_factors, scale)
        for _ in range(config.num_sweeps):
            self._solve(rows, items, users, config.solver_steps)
            self._solve(columns, users, items, config.solver_steps)
        self._item_factors = items
        return self

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return the least-squares vector of each history, shape (B, num_factors), float32."""
        items = self.item_factors
        rows = history_matrix(
            histories,
            len(items),
            self.config.negative_weight,
            self.config.history_half_life_events,
        )
        vectors = np.zeros((len(histories), items.shape[1]), dtype=np.float32)
        self._solve(rows, items, vectors, FOLD_IN_STEPS)
        return vectors

    def _solve(
        self, rows: sparse.csr_matrix, fixed: FloatArray, vectors: FloatArray, steps: int
    ) -> None:
        """Move each row's vector towards its least-squares answer, in place."""
        config = self.config
        pairs = np.diff(rows.indptr) + config.unobserved_weight * rows.shape[1]
        ridge = config.ridge * pairs**config.ridge_exponent
        gram = config.unobserved_weight * (fixed.T @ fixed)
        _conjugate_gradients(
            rows.indptr.astype(np.int64),
            rows.indices,
            rows.data,
            np.ascontiguousarray(fixed),
            np.ascontiguousarray(gram, dtype=np.float32),
            ridge.astype(np.float32),
            vectors,
            steps,
            np.float32(FOLD_IN_TOLERANCE),
        )


def _start(rng: np.random.Generator, rows: int, factors: int, scale: float) -> FloatArray:
    return (scale * rng.standard_normal((rows, factors))).astype(np.float32)


@compiled_fast
def _conjugate_gradients(
    indptr: Any,
    indices: Any,
    data: Any,
    fixed: Any,
    gram: Any,
    ridge: Any,
    vectors: Any,
    steps: Any,
    tolerance: Any,
) -> Any:
    width = fixed.shape[1]
    residual = np.empty(width, dtype=np.float32)
    direction = np.empty(width, dtype=np.float32)
    product = np.empty(width, dtype=np.float32)
    for row in range(len(indptr) - 1):
        x = vectors[row]
        if indptr[row] == indptr[row + 1]:
            x[:] = 0.0
            continue
        start, stop = indptr[row], indptr[row + 1]
        _normal_product(indices[start:stop], data[start:stop], fixed, gram, ridge[row], x, product)
        for f in range(width):
            residual[f] = -product[f]
        wanted = np.float32(0.0)
        for a in range(start, stop):
            if data[a] > 0.0:
                y = fixed[indices[a]]
                for f in range(width):
                    residual[f] += data[a] * y[f]
        old = np.float32(0.0)
        for f in range(width):
            direction[f] = residual[f]
            old += residual[f] * residual[f]
        wanted = old * tolerance * tolerance
        for _ in range(steps):
            if old <= wanted or old < 1e-30:
                break
            _normal_product(
                indices[start:stop], data[start:stop], fixed, gram, ridge[row], direction, product
            )
            curve = np.float32(0.0)
            for f in range(width):
                curve += direction[f] * product[f]
            length = old / curve
            new = np.float32(0.0)
            for f in range(width):
                x[f] += length * direction[f]
                residual[f] -= length * product[f]
                new += residual[f] * residual[f]
            for f in range(width):
                direction[f] = residual[f] + (new / old) * direction[f]
            old = new


@compiled_fast
def _normal_product(
    indices: Any,
    data: Any,
    fixed: Any,
    gram: Any,
    ridge: Any,
    vector: Any,
    product: Any,
) -> Any:
    width = len(vector)
    for f in range(width):
        product[f] = ridge * vector[f]
    for g in range(width):
        row, scale = gram[g], vector[g]
        for f in range(width):
            product[f] += scale * row[f]
    for a in range(len(indices)):
        y = fixed[indices[a]]
        dot = np.float32(0.0)
        for f in range(width):
            dot += y[f] * vector[f]
        dot *= abs(data[a])
        for f in range(width):
            product[f] += dot * y[f]
