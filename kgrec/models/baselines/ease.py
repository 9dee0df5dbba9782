"""EASE in closed form, plain and weighted; it alone needs items x items, and says when too many."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy import linalg, sparse

from kgrec.data.interactions import FloatArray, IntArray, Interactions
from kgrec.errors import DataError, MemoryBudgetError
from kgrec.models.baselines.event_weights import train_matrix
from kgrec.models.baselines.item_item import ItemItemConfig, ItemItemScorer, ItemWeights
from kgrec.models.scorer import TrainingData

COPIES = 3
"""Matrices of items x items, float32, that a fit may hold at once."""
BLOCK_ITEMS = 512


class EASEConfig(ItemItemConfig):
    """Settings of EASE; the defaults are the plain model."""

    ridge: float = Field(default=100.0, gt=0)
    """Lambda: added to the diagonal of the Gram matrix, in likes."""
    user_exponent: float = Field(default=0.0, ge=0)
    """a: a user with d_u likes weighs d_u^-a; 0 is plain EASE."""
    ridge_exponent: float = Field(default=0.0, ge=0, le=1)
    """b: the ridge of item i is lambda (G_ii / mean G)^b; 0 is plain EASE."""
    max_memory_bytes: int = Field(default=8_000_000_000, gt=0)
    """Bytes that the fit may need at most; above, it refuses."""


class GramCache:
    """Keeps Gram matrices of one training set, so that trials of a search need not remake them.

    Give one cache to every EASE of a search; a fit on other train events empties it.
    """

    def __init__(self, max_bytes: int = 2_000_000_000) -> None:
        """Start empty.

        Args:
            max_bytes: Bytes kept at most; the oldest matrices go first, and one that is larger by
                itself is not kept.
        """
        self._max_bytes = max_bytes
        self._interactions: Interactions | None = None
        self._grams: dict[tuple[str | float, ...], FloatArray] = {}

    def get(self, interactions: Interactions, key: tuple[str | float, ...]) -> FloatArray | None:
        """Return a copy of the matrix kept for these events and settings, or None."""
        if interactions is not self._interactions:
            self._interactions, self._grams = interactions, {}
        gram = self._grams.get(key)
        return None if gram is None else gram.copy()

    def put(self, key: tuple[str | float, ...], gram: FloatArray) -> None:
        """Keep a copy of a matrix for the events last asked about, where it fits."""
        if gram.nbytes > self._max_bytes:
            return
        while sum(kept.nbytes for kept in self._grams.values()) + gram.nbytes > self._max_bytes:
            self._grams.pop(next(iter(self._grams)))
        self._grams[key] = gram.copy()


class EASE(ItemItemScorer):
    """W = I - P diag(P)^-1 with P = (X' D X + diag(ridge))^-1, over the items with train events.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, equation 8.
    Weighted form: D = diag(d_u^-a) and ridge_i = lambda (G_ii / mean G)^b; both keep the closed
    form. Memory: about three float32 matrices of items x items.
    """

    name = "ease"
    config_class = EASEConfig
    config: EASEConfig

    def __init__(self, config: EASEConfig | None = None, grams: GramCache | None = None) -> None:
        super().__init__(config)
        self._grams = grams

    def learn(self, train: TrainingData) -> ItemWeights:
        """Return the closed-form weights.

        Raises:
            MemoryBudgetError: The items would need more than ``max_memory_bytes``.
            DataError: No item has a train event that counts.
        """
        items = self.solved_items(train)
        check_memory(self.name, len(items), self.config.max_memory_bytes)
        if not len(items):
            raise DataError(
                f"Expected train events that count as likes for '{self.name}' (got none); check "
                "the rule for positives and the split"
            )
        gram = self._gram(train, items)
        diagonal = np.einsum("ii->i", gram)
        mean = diagonal.mean() or 1.0
        floor = np.maximum(diagonal, 1e-6 * mean)  # a cold item still needs some ridge
        diagonal += self.config.ridge * (floor / mean) ** self.config.ridge_exponent
        return ItemWeights(train.num_items, item_idx=items, dense=autoencoder_weights(gram))

    def user_rows(self, train: TrainingData) -> sparse.csr_matrix:
        """Return the train matrix X, shape (num_users, num_items), float32."""
        return train_matrix(
            train.interactions,
            train.num_users,
            train.num_items,
            self.config.train_negative_weight,
        )

    def solved_items(self, train: TrainingData) -> IntArray:
        """Return the items that get weights: those with a train event that counts."""
        return columns_used(self.user_rows(train))

    def gram_parts(self, train: TrainingData) -> list[GramPart]:
        """Return what the Gram matrix is the weighted sum of."""
        config = self.config
        rows = weigh_rows(self.user_rows(train), config.user_exponent)
        key = ("users", config.user_exponent, config.train_negative_weight)
        return [GramPart(key, rows, 1.0)]

    def _gram(self, train: TrainingData, items: IntArray) -> FloatArray:
        total: FloatArray | None = None
        for part in self.gram_parts(train):
            key = (*part.key, hashlib.sha256(items.tobytes()).hexdigest())
            gram = self._grams.get(train.interactions, key) if self._grams is not None else None
            if gram is None:
                gram = dense_gram(part.rows[:, items])
                if self._grams is not None:
                    self._grams.put(key, gram)
            if part.weight != 1.0:
                gram *= np.float32(part.weight)
            total = gram if total is None else np.add(total, gram, out=total)
        return self.fitted(total)


@dataclass(frozen=True)
class GramPart:
    """One summand of a Gram matrix: weight * rows' rows, and the settings that rows depend on."""

    key: tuple[str | float, ...]
    rows: sparse.csr_matrix
    weight: float


def columns_used(rows: sparse.csr_matrix) -> IntArray:
    """Return the columns with a stored entry, ascending, int64."""
    return np.flatnonzero(np.bincount(rows.indices, minlength=rows.shape[1])).astype(np.int64)


def check_memory(name: str, num_items: int, max_memory_bytes: int) -> None:
    """Raise MemoryBudgetError where items x items would need more than the budget."""
    needed = COPIES * 4 * num_items**2
    if needed > max_memory_bytes:
        raise MemoryBudgetError(
            f"Expected '{name}' to need at most {max_memory_bytes:,} bytes (got {needed:,} for "
            f"{num_items:,} items); local SLIM ('slim') stands in at this size, or raise "
            "max_memory_bytes"
        )


def weigh_rows(matrix: sparse.csr_matrix, exponent: float) -> sparse.csr_matrix:
    """Return the rows times d^(-exponent / 2), d = number of entries; empty rows stay empty."""
    degree = np.diff(matrix.indptr)
    scale = np.maximum(degree, 1).astype(np.float64) ** (-exponent / 2)
    data = (matrix.data * np.repeat(scale, degree)).astype(np.float32)
    return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def dense_gram(rows: sparse.csr_matrix) -> FloatArray:
    """Return rows' rows, shape (n, n), float32, made in blocks of columns."""
    num_items = rows.shape[1]
    columns = rows.T.tocsr()
    gram = np.empty((num_items, num_items), dtype=np.float32)
    for start in range(0, num_items, BLOCK_ITEMS):
        stop = min(start + BLOCK_ITEMS, num_items)
        (columns[start:stop] @ rows).toarray(out=gram[start:stop])
    return gram


def autoencoder_weights(gram: FloatArray) -> FloatArray:
    """Return I - P diag(P)^-1 with P = gram^-1, in place of ``gram``, shape (n, n), float32.

    Args:
        gram: Shape (n, n), float32, symmetric, positive definite; it is overwritten.
    """
    # LAPACK wants Fortran order: the transpose of a symmetric matrix is itself, without a copy
    factor, failed = linalg.lapack.spotrf(gram.T, lower=1, overwrite_a=1, clean=0)
    if failed:
        raise DataError(
            f"Expected a positive definite Gram matrix (got a bad pivot at {failed}); raise 'ridge'"
        )
    inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    inverse = inverse.T  # C order again: the upper triangle holds the values
    for start in range(0, len(inverse), BLOCK_ITEMS):
        stop = min(start + BLOCK_ITEMS, len(inverse))
        block = inverse[start:stop, start:stop]
        upper = np.triu(block)
        inverse[start:stop, start:stop] = upper + np.triu(block, 1).T
        inverse[stop:, start:stop] = inverse[start:stop, stop:].T
    inverse /= -np.einsum("ii->i", inverse).copy()
    np.fill_diagonal(inverse, 0.0)
    return np.ascontiguousarray(inverse)
