"""KGIN: facts weighted by relation for items, intents made of relations for users."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.models.baselines.baseline import Arrays
from kgrec.models.baselines.factors import FactorScorer
from kgrec.models.baselines.neural import NeuralConfig, liked_pairs
from kgrec.models.scorer import TrainingData


class KGINConfig(NeuralConfig):
    """Settings of KGIN."""

    num_layers: int = Field(default=2, ge=1)
    """Layers of propagation over the graph."""
    num_intents: int = Field(default=4, ge=1)
    """Intents that a user's likes are divided into."""
    message_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the entries of a message that a training step leaves out."""
    independence: float = Field(default=1e-4, ge=0)
    """Weight of the likeness between intents."""
    min_entity_degree: int = Field(default=1, ge=1)
    """Entities with fewer facts, items apart, are left out."""


class KGIN(FactorScorer):
    """score_ui = u.i, sums of layers: items hear their facts, users their likes through intents.

    Source: Wang et al., "Learning intents behind interactions with knowledge graph for
    recommendation", WWW 2021, eq. 1-2 and 7-14; lengths are normalised after each layer and the
    likeness of intents is measured by cosine, as in the authors' code. Differs in that a user's
    vector in layer 0 is the mean of the items liked, so that users never seen are served alike,
    that training leaves the like asked for out of its user's vector, that relation vectors start
    near 1, and, with ``loss: softmax``, in the loss.
    """

    name = "kgin"
    reads_graph: ClassVar[bool] = True
    config_class = KGINConfig
    config: KGINConfig
    _layers: FloatArray | None = None
    _intents: FloatArray | None = None

    def fit(self, train: TrainingData) -> Self:
        """Train the vectors and return self."""
        import torch

        from kgrec.models.graph_encoder import RelationalGraph
        from kgrec.models.yardsticks.fitting import fit_network
        from kgrec.models.yardsticks.kgin_network import KGINNetwork, KGINSizes
        from kgrec.models.yardsticks.pairs import LikeSteps

        config = self.config
        users, items = liked_pairs(train, self.name)
        sizes = KGINSizes(
            config.embedding_dim,
            config.num_layers,
            config.num_intents,
            config.message_dropout,
            config.l2,
            config.independence,
            config.loss,
        )
        graph = RelationalGraph.of(train.graph, config.min_entity_degree)
        with torch.random.fork_rng():
            torch.manual_seed(train.seed)
            network = KGINNetwork(users, items, train.num_users, graph, sizes)
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
            layers = torch.stack(network.node_layers())[:, : train.num_items]
            self._item_factors = layers.sum(0).numpy()
            self._layers = np.ascontiguousarray(layers[:-1].numpy())
            self._intents = network.intents().numpy()
        return self

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return the histories through the intents, shape (B, embedding_dim), float32."""
        layers, intents = self.fitted(self._layers), self.fitted(self._intents)
        likes = histories.matrix(layers.shape[1])
        share = 1.0 / np.maximum(np.diff(likes.indptr), 1).astype(np.float32)
        means = [np.asarray((likes @ layer) * share[:, None]) for layer in layers]
        user = total = means[0]
        for mean in means:
            user = _unit(mean * (_softmax(user @ intents.T) @ intents))
            total = total + user
        return np.asarray(total, dtype=np.float32)

    def state(self) -> Arrays:
        """Return the items' layers and their sums, and the intents."""
        layers, intents = self.fitted(self._layers), self.fitted(self._intents)
        return {**super().state(), "layers": layers, "intents": intents}

    def restore(self, arrays: Arrays) -> None:
        """Take over the arrays that ``state`` returned."""
        super().restore(arrays)
        self._layers, self._intents = arrays["layers"], arrays["intents"]


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def _softmax(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    shifted = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)
