"""ItemKNN: cosine between the columns of the interaction matrix, shrunk towards 0."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kgrec.models.baselines.event_weights import train_matrix
from kgrec.models.baselines.item_item import ItemItemConfig, ItemItemScorer, ItemWeights
from kgrec.models.baselines.sparse_products import top_product
from kgrec.models.scorer import TrainingData


class ItemKNNConfig(ItemItemConfig):
    """Settings of ItemKNN."""

    neighbours_per_item: int = Field(default=100, ge=1)
    """Neighbours kept for each item of a history."""
    shrinkage: float = Field(default=10.0, ge=0)
    """Added to the denominator: likes in common below which a cosine is not trusted."""
    target_exponent: float = Field(default=0.5, ge=0, le=1)
    """Exponent of the scored item's norm squared; 0.5 is the cosine, less favours popular items."""


class ItemKNN(ItemItemScorer):
    """W_ij = x_i . x_j / (|x_i| |x_j|^(2 e) + shrinkage), the largest of each row kept.

    Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW
    2001; shrinkage after Bell and Koren, KDD Cup 2007. Differs in pruning rows, not columns.
    """

    name = "itemknn"
    config_class = ItemKNNConfig
    config: ItemKNNConfig

    def learn(self, train: TrainingData) -> ItemWeights:
        """Return the shrunk cosines of the train events."""
        matrix = train_matrix(
            train.interactions,
            train.num_users,
            train.num_items,
            self.config.train_negative_weight,
        )
        squares = np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel()
        squares[squares == 0] = 1.0
        rows = top_product(
            matrix.T.tocsr(),
            matrix,
            self.config.neighbours_per_item,
            column_scale=np.ones(train.num_items, dtype=np.float32),
            row_norm=np.sqrt(squares).astype(np.float32),
            column_norm=(squares**self.config.target_exponent).astype(np.float32),
            shrinkage=self.config.shrinkage,
            seed=train.seed,
        )
        return ItemWeights(train.num_items, sparse_rows=rows)
