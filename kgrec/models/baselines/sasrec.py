"""SASRec: self-attention over the latest likes of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.errors import DataError
from kgrec.models.baselines.baseline import Arrays
from kgrec.models.baselines.factors import FactorScorer
from kgrec.models.baselines.neural import NeuralConfig
from kgrec.models.scorer import TrainingData

if TYPE_CHECKING:
    from kgrec.models.yardsticks.sasrec_network import SASRecNetwork

BLOCK_USERS = 256


class SASRecConfig(NeuralConfig):
    """Settings of SASRec."""

    batch_size: int = Field(default=128, ge=1)
    """Users in a training step."""
    num_epochs: int = Field(default=100, ge=1)
    """Passes over the users."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""
    num_blocks: int = Field(default=2, ge=1)
    """Blocks of attention and point-wise layer."""
    num_heads: int = Field(default=1, ge=1)
    """Heads of the attention; they divide embedding_dim."""
    max_events: int = Field(default=50, ge=1)
    """Latest likes that are read."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout on vectors, attention and layers."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.embedding_dim % self.num_heads:
            raise ValueError(
                f"expected num_heads to divide embedding_dim (got {self.num_heads} and "
                f"{self.embedding_dim})"
            )
        return self


class SASRec(FactorScorer):
    """score_ui = s.i with s the attention's state after the user's latest like.

    Source: Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018; with ``loss:
    pairwise`` the binary cross-entropy of each next like and one unliked item, as published.
    Differs, with ``loss: softmax``, in the loss.
    """

    name = "sasrec"
    config_class = SASRecConfig
    config: SASRecConfig
    _network: SASRecNetwork | None = None

    def fit(self, train: TrainingData) -> Self:
        """Train the network and return self.

        Raises:
            DataError: Nobody has two likes.
        """
        from kgrec.models.yardsticks.fitting import fit_network
        from kgrec.models.yardsticks.pairs import UnlikedItems
        from kgrec.models.yardsticks.sasrec_network import SequenceSteps

        config, num_items = self.config, train.num_items
        everyone = np.unique(train.interactions.user_idx)
        histories = HistoryBatch.from_interactions(train.interactions, everyone)
        sequences = latest_likes(histories, config.max_events + 1, num_items)
        sequences = sequences[(sequences < num_items).sum(axis=1) >= 2]
        if not len(sequences):
            raise DataError(
                "Expected at least one user with two likes to train 'sasrec' on (got none); it "
                "learns which like follows which"
            )
        row, place = np.nonzero(sequences < num_items)
        network = _network(config, num_items, train.seed)
        steps = SequenceSteps(
            sequences,
            UnlikedItems(row, sequences[row, place], num_items),
            num_items,
            batch_size=config.batch_size,
            num_epochs=config.num_epochs,
            seed=train.seed,
        )
        fit_network(network, steps, config, train.seed)
        self._take(network)
        return self

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return the state after the latest like, shape (B, embedding_dim), float32."""
        import torch

        from kgrec.models.yardsticks.sasrec_network import without_empty

        network, num_items = self.fitted(self._network), len(self.item_factors)
        events = latest_likes(histories, self.config.max_events, num_items)
        vectors = np.zeros((len(histories), self.config.embedding_dim), dtype=np.float32)
        some = np.flatnonzero(events[:, -1] < num_items)
        with torch.no_grad():
            for start in range(0, len(some), BLOCK_USERS):
                rows = some[start : start + BLOCK_USERS]
                known = without_empty(events[rows], num_items)
                vectors[rows] = network(torch.from_numpy(known))[:, -1].numpy()
        return vectors

    def state(self) -> Arrays:
        """Return the weights of the network, the item vectors among them."""
        network = self.fitted(self._network)
        return {name: weight.numpy() for name, weight in network.state_dict().items()}

    def restore(self, arrays: Arrays) -> None:
        """Take over the weights that ``state`` returned."""
        import torch

        network = _network(self.config, len(arrays["items"]), seed=0)
        network.load_state_dict({name: torch.from_numpy(w) for name, w in arrays.items()})
        self._take(network.eval())

    def _take(self, network: SASRecNetwork) -> None:
        self._network = network
        self._item_factors = network.items.detach().numpy()


def latest_likes(histories: HistoryBatch, length: int, empty: int) -> IntArray:
    """Return the last likes of each history, oldest first, shape (B, length), int64.

    Args:
        histories: B users.
        length: Likes wanted.
        empty: What stands in front of those who have fewer.
    """
    rows, items = histories.row_of_event[histories.positive], histories.item_idx[histories.positive]
    counts = np.bincount(rows, minlength=len(histories))
    ends = np.cumsum(counts)
    later = ends[rows] - 1 - np.arange(len(rows))
    found = np.full((len(histories), length), empty, dtype=np.int64)
    kept = later < length
    found[rows[kept], length - 1 - later[kept]] = items[kept]
    return found


def _network(config: SASRecConfig, num_items: int, seed: int) -> SASRecNetwork:
    import torch

    from kgrec.models.yardsticks.sasrec_network import SASRecNetwork, SASRecSizes

    sizes = SASRecSizes(
        config.embedding_dim,
        config.num_blocks,
        config.num_heads,
        config.max_events,
        config.dropout,
        config.l2,
        config.loss,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SASRecNetwork(num_items, sizes)
