"""EASE-KG: weighted EASE with the graph's entities as side rows of the interaction matrix."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.data.interactions import IntArray
from kgrec.models.baselines.ease import EASE, EASEConfig, GramPart, columns_used, weigh_rows
from kgrec.models.baselines.graph_rows import GraphRowsConfig, entity_rows
from kgrec.models.scorer import TrainingData


class EASEKGConfig(EASEConfig, GraphRowsConfig):
    """Settings of EASE-KG."""

    graph_weight: float = Field(default=0.3, ge=0)
    """Weight of an entity row with one item, where a user with one like weighs 1."""
    graph_exponent: float = Field(default=0.5, ge=0)
    """An entity that touches d items weighs graph_weight d^-graph_exponent."""
    cold_items: bool = False
    """Solve for items without train events too: the graph ties them in, at items^3 cost."""


class EASEKG(EASE):
    """EASE over [sqrt(D) X; sqrt(E) K]: K has one row an entity, over the items it touches."""

    name = "ease_kg"
    reads_graph = True
    config_class = EASEKGConfig
    config: EASEKGConfig

    def solved_items(self, train: TrainingData) -> IntArray:
        """Return the items with train events, and with ``cold_items`` those with side rows too."""
        items = super().solved_items(train)
        if not self.config.cold_items:
            return items
        return np.union1d(items, columns_used(self._entities(train)))

    def gram_parts(self, train: TrainingData) -> list[GramPart]:
        """Return the user rows and the entity rows."""
        config = self.config
        key = ("graph", config.graph_exponent, config.max_items_per_entity)
        side = weigh_rows(self._entities(train), config.graph_exponent)
        return [*super().gram_parts(train), GramPart(key, side, config.graph_weight)]

    def _entities(self, train: TrainingData) -> sparse.csr_matrix:
        return entity_rows(train.graph, self.config.max_items_per_entity)
