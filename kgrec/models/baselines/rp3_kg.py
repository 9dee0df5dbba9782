"""RP3-KG: the walks of RP3beta, some of them through an entity of the graph and not a user."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import sparse

from kgrec.models.baselines.event_weights import train_matrix
from kgrec.models.baselines.graph_rows import GraphRowsConfig, entity_rows
from kgrec.models.baselines.item_item import ItemItemScorer, ItemWeights
from kgrec.models.baselines.rp3beta import absolute_sums, held_back, step
from kgrec.models.baselines.sparse_products import top_product
from kgrec.models.scorer import TrainingData


class RP3KGConfig(GraphRowsConfig):
    """Settings of RP3-KG."""

    neighbours_per_item: int = Field(default=200, ge=1)
    """Neighbours kept for each item of a history."""
    alpha: float = Field(default=1.0, gt=0)
    """Exponent of each step's probability; 1 is the plain walk."""
    beta: float = Field(default=0.5, ge=0)
    """Exponent of the end item's degree (likes + graph_share x entities), which divides."""
    graph_share: float = Field(default=0.1, ge=0, le=1)
    """Share of walks that leave an item through an entity; all of them where nobody likes it."""


class RP3KG(ItemItemScorer):
    """W_ij = ((1 - g_i) user walks_ij + g_i entity walks_ij) / d_j^beta.

    Both kinds of walk are those of RP3beta; g_i is ``graph_share``, 1 for an item without likes
    and 0 for one without entities, so cold items can be reached and left.
    """

    name = "rp3_kg"
    reads_graph = True
    config_class = RP3KGConfig
    config: RP3KGConfig

    def learn(self, train: TrainingData) -> ItemWeights:
        """Return the walk weights of the train events and the train-time graph."""
        config = self.config
        users = train_matrix(
            train.interactions, train.num_users, train.num_items, config.train_negative_weight
        )
        entities = entity_rows(train.graph, config.max_items_per_entity)
        likes, facts = absolute_sums(users.T), absolute_sums(entities.T)
        share = np.where(likes == 0, 1.0, np.where(facts == 0, 0.0, config.graph_share))
        left = sparse.hstack(
            [
                sparse.diags(1.0 - share) @ step(users.T.tocsr(), config.alpha),
                sparse.diags(share) @ step(entities.T.tocsr(), config.alpha),
            ]
        )
        right = sparse.vstack([step(users, config.alpha), step(entities, config.alpha)])
        rows = top_product(
            left.tocsr(),
            right.tocsr(),
            config.neighbours_per_item,
            column_scale=held_back(likes + config.graph_share * facts, config.beta),
            seed=train.seed,
        )
        return ItemWeights(train.num_items, sparse_rows=rows)
