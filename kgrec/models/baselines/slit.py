"""SLIT: the near future of a history regressed on its decayed past, in closed form."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import linalg, sparse

from kgrec.data.interactions import FloatArray, Interactions
from kgrec.errors import DataError
from kgrec.models.baselines.ease import check_memory, columns_used, dense_gram
from kgrec.models.baselines.item_item import ItemItemConfig, ItemItemScorer, ItemWeights
from kgrec.models.scorer import TrainingData


class SLITConfig(ItemItemConfig):
    """Settings of SLIT."""

    history_half_life_events: float | None = Field(default=10.0, gt=0)
    """Events after which an event of a history counts half, in learning and when asked; None:
    all count alike."""
    past_events: int = Field(default=60, ge=1)
    """Events before a cut that make a past."""
    future_events: int = Field(default=15, ge=1)
    """Events after a cut that make a future."""
    future_half_life_events: float | None = Field(default=None, gt=0)
    """Events after which an event of the future counts half; None: all count alike."""
    cut_every_events: int = Field(default=3, ge=1)
    """Events between two cuts of the same history."""
    ridge: float = Field(default=100.0, gt=0)
    """Lambda, in squared weights of pasts: added to the diagonal of the Gram matrix."""
    ridge_exponent: float = Field(default=0.0, ge=0, le=1)
    """b: the ridge of item i is lambda (G_ii / mean G)^b."""
    user_exponent: float = Field(default=0.5, ge=0)
    """a: a cut of a user with n_u cuts weighs n_u^-a; 1 counts all users alike."""
    target_exponent: float = Field(default=0.0, ge=0, le=1)
    """Exponent of the likes of the item reached, which divides; 0 favours popular items."""
    max_memory_bytes: int = Field(default=8_000_000_000, gt=0)
    """Bytes that the fit may need at most; above, it refuses."""


class SLIT(ItemItemScorer):
    """W = (P' D P + diag(ridge))^-1 P' D F over cuts of the train histories.

    Each cut gives a row of P, the events before it weighted as a history is when it is asked, and
    a row of F, the likes soon after it. Where EASE tells which items stand in the same history,
    this tells which come next. D weighs users. Memory: as EASE.

    Source: Choi et al., "Session-aware linear item-item models for session-based recommendation",
    WWW 2021, equation 12; here cuts of a long history bound their past and future, and low
    ratings of the past count by ``train_negative_weight``.
    """

    name = "slit"
    config_class = SLITConfig
    config: SLITConfig

    def learn(self, train: TrainingData) -> ItemWeights:
        """Return the closed-form weights.

        Raises:
            MemoryBudgetError: The items would need more than ``max_memory_bytes``.
            DataError: No history is long enough for a past and a future.
        """
        past, future = past_and_future(train.interactions, train.num_items, self.config)
        items = columns_used(sparse.vstack([past, future]).tocsr())
        if not past.nnz or not future.nnz:
            raise DataError(
                f"Expected histories with a past and a like after it for '{self.name}' (got none "
                f"among {len(train.interactions)} train events); check the rule for positives"
            )
        check_memory(self.name, len(items), self.config.max_memory_bytes)
        gram = dense_gram(past[:, items])
        diagonal = np.einsum("ii->i", gram)
        mean = diagonal.mean()
        floor = np.maximum(diagonal, 1e-6 * mean)
        diagonal += self.config.ridge * (floor / mean) ** self.config.ridge_exponent
        reached = (past[:, items].T @ future[:, items]).toarray()
        likes = np.asarray(future[:, items].sum(axis=0)).ravel()
        reached /= np.maximum(likes, 1e-9) ** self.config.target_exponent
        return ItemWeights(train.num_items, item_idx=items, dense=_solved(gram, reached))


def past_and_future(
    events: Interactions, num_items: int, config: SLITConfig
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return the weighted past and future of each cut, both of shape (num_cuts, num_items).

    Cuts stand at every ``cut_every_events``-th event, counted from the end of each history, so
    that the newest events of all users are asked for.
    """
    start = np.searchsorted(events.user_idx, events.user_idx, side="left")
    stop = np.searchsorted(events.user_idx, events.user_idx, side="right")
    place = np.arange(len(events))
    cuts = np.flatnonzero((place > start) & ((stop - place) % config.cut_every_events == 0))
    users, number = np.unique(events.user_idx[cuts], return_inverse=True, return_counts=True)[1:]
    scale = number[users].astype(np.float64) ** (-config.user_exponent / 2)
    signs = np.where(events.positive, 1.0, config.train_negative_weight)
    likes = events.positive.astype(np.float64)
    behind, ahead = np.arange(config.past_events), np.arange(config.future_events)
    parts = []
    for offsets, age, weights, half_life in (
        (-1 - behind, behind, signs, config.history_half_life_events),
        (ahead, ahead, likes, config.future_half_life_events),
    ):
        where = cuts[:, None] + offsets[None, :]
        inside = (where >= start[cuts][:, None]) & (where < stop[cuts][:, None])
        row, column = np.nonzero(inside)
        event = where[row, column]
        decay = np.ones(len(age)) if half_life is None else np.exp2(-age / half_life)
        weight = weights[event] * decay[column] * scale[row]
        kept = weight != 0
        entries = (weight[kept].astype(np.float32), (row[kept], events.item_idx[event[kept]]))
        parts.append(sparse.csr_matrix(entries, shape=(len(cuts), num_items)))
    return parts[0], parts[1]


def _solved(gram: FloatArray, reached: FloatArray) -> FloatArray:
    """Return gram^-1 reached, shape (n, n), float32; both are overwritten."""
    factor = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    solved = linalg.cho_solve(factor, reached, overwrite_b=True, check_finite=False)
    return np.ascontiguousarray(solved, dtype=np.float32)
