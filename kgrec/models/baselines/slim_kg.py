"""SLIM-KG: local SLIM with the graph's entities as side rows of the interaction matrix."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.models.baselines.ease import weigh_rows
from kgrec.models.baselines.graph_rows import GraphRowsConfig, entity_rows
from kgrec.models.baselines.slim import SLIM, SLIMConfig
from kgrec.models.scorer import TrainingData


class SLIMKGConfig(SLIMConfig, GraphRowsConfig):
    """Settings of SLIM-KG."""

    graph_weight: float = Field(default=0.3, ge=0)
    """Weight of an entity row with one item, where a user with one like weighs 1."""
    graph_exponent: float = Field(default=0.5, ge=0)
    """An entity that touches d items weighs graph_weight d^-graph_exponent."""


class SLIMKG(SLIM):
    """Local SLIM over [sqrt(D) X; sqrt(E) K]: K has one row an entity, over the items it touches.

    Items without train events find their candidates and weights through shared entities.
    """

    name = "slim_kg"
    reads_graph = True
    config_class = SLIMKGConfig
    config: SLIMKGConfig

    def weighted_rows(self, train: TrainingData) -> sparse.csr_matrix:
        """Return the weighted user rows above the weighted entity rows."""
        entities = entity_rows(train.graph, self.config.max_items_per_entity)
        side = weigh_rows(entities, self.config.graph_exponent)
        side = side * np.float32(np.sqrt(self.config.graph_weight))
        side.eliminate_zeros()
        return sparse.vstack([super().weighted_rows(train), side]).tocsr()
