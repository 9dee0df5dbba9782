"""Top lists of a model with item and user vectors, through a FAISS index."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray
from kgrec.models.top_items import TopItems
from kgrec.retrieval.index import IndexConfig, VectorIndex


@runtime_checkable
class VectorModel(Protocol):
    """A fitted model whose score is the inner product of a user and an item vector."""

    def item_vectors(self) -> FloatArray:
        """Return the item vectors, shape (num_items, dim)."""

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return one vector for each history, shape (B, dim)."""


class IndexedSource:
    """Top lists of a vector model through a FAISS index.

    Args:
        model: A fitted model with vectors, such as the towers.
        index: Built over its item vectors.
    """

    def __init__(self, model: VectorModel, index: VectorIndex) -> None:
        self.model, self.index = model, index

    @classmethod
    def build(
        cls, model: VectorModel, queries: HistoryBatch, config: IndexConfig | None = None
    ) -> IndexedSource:
        """Return the source of a fitted model, its index tuned on real histories."""
        vectors = np.asarray(model.item_vectors(), dtype=np.float32)
        users = np.asarray(model.user_vectors(queries), dtype=np.float32)
        return cls(model, VectorIndex(config).build(vectors, users))

    @classmethod
    def load(cls, model: VectorModel, folder: Path) -> IndexedSource:
        """Return the source of a fitted model with the index saved in ``folder``."""
        return cls(model, VectorIndex.load(folder))

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
    ) -> TopItems:
        """Return the k best items, as Scorer.top says; exact ties come in the index's order."""
        excluded = (histories.indptr, histories.item_idx) if exclude_history else None
        users = np.asarray(self.model.user_vectors(histories), dtype=np.float32)
        return self.index.search(users, k, allowed=allowed, excluded=excluded)
