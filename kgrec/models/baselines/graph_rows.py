"""The graph as side rows of the interaction matrix: a row an entity, over the items it touches."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.graph import KnowledgeGraph
from kgrec.models.baselines.item_item import ItemItemConfig


class GraphRowsConfig(ItemItemConfig):
    """Settings that every item-item model over the user-item-entity graph has."""

    max_items_per_entity: int = Field(default=2000, ge=2)
    """Entities that touch more items than this are left out: they say little and cost much."""


def entity_rows(graph: KnowledgeGraph, max_items_per_entity: int) -> sparse.csr_matrix:
    """Return which items each entity touches, in either direction of a triple.

    Entities that touch a single item tie it to nothing and are left out, as are those above
    ``max_items_per_entity``.

    Returns:
        Shape (num_entities_kept, num_items), float32, binary, columns ascending.
    """
    rows = graph.item_entity_matrix().T.tocsr()
    rows.data[:] = 1.0
    degree = np.diff(rows.indptr)
    kept = rows[(degree >= 2) & (degree <= max_items_per_entity)]
    kept.sort_indices()
    return kept
