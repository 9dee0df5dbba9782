"""The source of graph neighbours: items that share rare entities with what was liked."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.errors import NotFittedError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.retrieval.content_vectors import idf_of
from kgrec.retrieval.vector_source import (
    ProfileConfig,
    profile_weights,
    read_source,
    write_source,
)


def weighted_entities(graph: KnowledgeGraph) -> tuple[sparse.csr_matrix, IntArray, FloatArray]:
    """Return each item's shared entities as a unit row of idf weights.

    Returns:
        The rows, shape (num_items, num_shared_entities), float32; the entity_idx of each column,
        ascending; and its idf.
    """
    touched = graph.item_entity_matrix()
    touched.data[:] = 1.0
    idf = idf_of(touched)
    shared = np.flatnonzero(idf > 0)
    weighted = (touched @ sparse.diags(idf)).tocsr()[:, shared]
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    scale = 1.0 / np.where(length > 0, length, 1.0)
    rows = sparse.csr_matrix(sparse.diags(scale) @ weighted, dtype=np.float32)
    return rows, shared, idf[shared]


class KgNeighbours(Scorer):
    """Entities shared with the liked items, weighted by idf, over the item's own entities.

    score(u, i) = sum_j w_uj <a_i, a_j>,  a_i = idf-weighted unit row of the entities of item i
    """

    name: ClassVar[str] = "kg_neighbours"

    def __init__(self, config: ProfileConfig | None = None) -> None:
        self.config = config or ProfileConfig()
        self._touched: sparse.csr_matrix | None = None

    def fit(self, train: TrainingData) -> Self:
        """Weight the item-entity matrix and return self."""
        self._touched = weighted_entities(train.graph)[0]
        return self

    @property
    def touched(self) -> sparse.csr_matrix:
        """Shape (num_items, num_shared_entities): unit rows of idf weights."""
        if self._touched is None:
            raise NotFittedError(
                f"Expected a fitted source '{self.name}', got one without a graph; "
                "call fit() or load() first"
            )
        return self._touched

    def with_rows(self, rows: sparse.csr_matrix) -> Self:
        """Return the source with further items at the end, shape (n, num_shared_entities)."""
        wider = copy.copy(self)
        wider._touched = sparse.vstack([self.touched, rows]).tocsr()
        return wider

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32."""
        touched = self.touched
        profile = profile_weights(histories, touched.shape[0], self.config) @ touched
        # the profiles dense: a product of two sparse matrices costs several times as much
        return np.ascontiguousarray((touched @ profile.toarray().T).T, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write the weighted matrix and configuration into ``folder``."""
        touched = self.touched
        arrays = {
            "indptr": touched.indptr.astype(np.int64),
            "indices": touched.indices.astype(np.int64),
            "data": touched.data,
            "shape": np.array(touched.shape, dtype=np.int64),
        }
        write_source(folder, arrays, self.config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the source written by ``save``."""
        arrays, config = read_source(folder)
        source = cls(ProfileConfig.model_validate(config))
        matrix = (arrays["data"], arrays["indices"], arrays["indptr"])
        source._touched = sparse.csr_matrix(matrix, shape=tuple(arrays["shape"]))
        return source
