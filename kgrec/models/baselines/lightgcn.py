"""LightGCN: vectors of users and items, smoothed over the graph of who likes what."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.models.baselines.baseline import Arrays
from kgrec.models.baselines.factors import FactorScorer
from kgrec.models.baselines.neural import NeuralConfig, liked_pairs
from kgrec.models.scorer import TrainingData


class LightGCNConfig(NeuralConfig):
    """Settings of LightGCN."""

    num_layers: int = Field(default=2, ge=1)
    """Layers of propagation."""


class LightGCN(FactorScorer):
    """score_ui = u.i, both means of their layers of a linear graph convolution.

    A user's layers follow from the items liked: u = sum over the history of s_i / sqrt(|H|), with
    s_i kept for each item, so that users never seen are served alike.

    Source: He et al., "LightGCN: simplifying and powering graph convolution network for
    recommendation", SIGIR 2020, eq. 3-6 and 15. Differs in that a user's own layer 0 takes part in
    the propagation but not in the score, and, with ``loss: softmax``, in the loss.
    """

    name = "lightgcn"
    config_class = LightGCNConfig
    config: LightGCNConfig
    _senders: FloatArray | None = None

    def fit(self, train: TrainingData) -> Self:
        """Train the vectors and return self."""
        import torch

        from kgrec.models.yardsticks.fitting import fit_network
        from kgrec.models.yardsticks.lightgcn_network import LightGCNNetwork
        from kgrec.models.yardsticks.pairs import LikeSteps

        config = self.config
        users, items = liked_pairs(train, self.name)
        with torch.random.fork_rng():
            torch.manual_seed(train.seed)
            network = LightGCNNetwork(
                users,
                items,
                (train.num_users, train.num_items),
                config.embedding_dim,
                config.num_layers,
                config.l2,
                config.loss,
            )
        steps = LikeSteps(
            users,
            items,
            train.num_items,
            batch_size=config.batch_size,
            num_epochs=config.num_epochs,
            seed=train.seed,
        )
        fit_network(network, steps, config, train.seed)
        with torch.no_grad():
            _, layers = network.layers()
            self._item_factors = network.vectors()[1].numpy()
            below = torch.stack(layers[:-1]).sum(0).numpy() / (config.num_layers + 1)
        degree = np.bincount(items, minlength=train.num_items)
        scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0.0)
        self._senders = np.asarray(below * scale[:, None], dtype=np.float32)
        return self

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return what the liked items send, shape (B, embedding_dim), float32."""
        senders = self.fitted(self._senders)
        likes = histories.matrix(len(senders))
        scale = np.maximum(np.diff(likes.indptr), 1).astype(np.float32) ** -0.5
        return np.asarray((likes @ senders) * scale[:, None], dtype=np.float32)

    def state(self) -> Arrays:
        """Return the item vectors and what each item sends to those who like it."""
        return {**super().state(), "senders": self.fitted(self._senders)}

    def restore(self, arrays: Arrays) -> None:
        """Take over the arrays that ``state`` returned."""
        super().restore(arrays)
        self._senders = arrays["senders"]
