"""The one contract of everything that ranks items for users: fit, score, top, save, load.

Baselines, towers and the whole pipeline stand behind it, so one referee measures them all and
any of them can be a candidate source. A scorer is asked with histories, never with user ids: it
serves users that it never trained on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from kgrec.data.dataset import Dataset
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray, Interactions
from kgrec.models.answers import Answers
from kgrec.models.top_items import TopItems, top_of_scores


@dataclass(frozen=True)
class TrainingData:
    """What a model may learn from, and nothing else.

    Attributes:
        dataset: Catalogue, users and texts. Its ``interactions`` and ``graph`` are not to be
            read: they hold the test part and the unablated graph.
        interactions: The train events, sorted by user and time.
        graph: The train-time graph, ablated if the run says so.
        seed: Seed of every draw.
    """

    dataset: Dataset
    interactions: Interactions
    graph: KnowledgeGraph
    seed: int = 0

    @property
    def num_users(self) -> int:
        """Number of users of the dataset, those without train events included."""
        return self.dataset.num_users

    @property
    def num_items(self) -> int:
        """Number of items of the dataset, those without train events included."""
        return self.dataset.num_items


class Scorer(ABC):
    """A model that scores items for histories; higher is better.

    Subclasses define ``name``, a frozen pydantic ``config``, ``fit``, ``scores``, ``state`` and
    ``restore``. ``top`` and ``score_pairs`` follow from ``scores``; a subclass that can do them
    without a dense row overrides them and gives the same answers.
    """

    name: ClassVar[str]
    reads_graph: ClassVar[bool] = True
    """Whether ``fit`` looks at the graph; one that does not is the same on every ablation."""
    reads_texts: ClassVar[bool] = False
    """Whether ``fit`` looks at the texts of items or users."""

    @abstractmethod
    def fit(self, train: TrainingData) -> Self:
        """Learn from ``train`` and return self."""

    @abstractmethod
    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32, nothing masked.

        An empty history gets defined scores (zeros where the model has nothing to say).
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the fitted state into ``folder`` (made if absent): safetensors and JSON only."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Return the scorer written by ``save``; it gives the same scores."""

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> TopItems:
        """Return the k best items for each history; ties are broken at random by ``seed``.

        Args:
            histories: B users.
            k: Items wanted; fewer come where fewer are allowed.
            exclude_history: Leave out whatever stands in the history, low ratings included.
            allowed: Shape (num_items,), bool; only these items; None for all.
            seed: Seed of the order among equal scores.
        """
        scores = self.scores(histories).astype(np.float32, copy=True)
        if exclude_history:
            scores[histories.row_of_event, histories.item_idx] = -np.inf
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        return top_of_scores(scores, k, seed, histories.user_idx)

    def score_pairs(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        """Return the scores of chosen items.

        Args:
            histories: B users.
            indptr: Shape (B + 1,), int64; user b is asked about item_idx[indptr[b]:indptr[b+1]].
            item_idx: Shape (num_pairs,), int64.

        Returns:
            Shape (num_pairs,), float32.
        """
        rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
        return np.asarray(self.scores(histories)[rows, item_idx], dtype=np.float32)

    def score_grid(self, histories: HistoryBatch, item_idx: IntArray) -> FloatArray:
        """Return the scores of the same few items for each history, shape (B, n), float32.

        Args:
            histories: B users, or variants of one user.
            item_idx: Shape (n,), int64, in any order, repeated or not.
        """
        return np.asarray(self.scores(histories)[:, item_idx], dtype=np.float32)

    def summands(
        self, history: HistoryBatch, held: IntArray, item_idx: IntArray
    ) -> FloatArray | None:
        """Return what items of a history add to the scores of some items.

        None, as here, where scores are no sums over the items of the history.

        Args:
            history: A batch of one.
            held: Shape (L,), items of the history, ascending, each once.
            item_idx: Shape (n,), int64, in any order.

        Returns:
            Shape (L, n), float32; over all items of the history the sum is the score.
        """
        return None

    def answers(self, histories: HistoryBatch) -> Answers | None:
        """Return what answers several questions about these histories without a row of all items.

        None, as here, where the source has nothing better than its scores of all items.
        """
        return None

    def describe(self) -> dict[str, Any]:
        """Return the name and settings, as they go into run records."""
        config = getattr(self, "config", None)
        return {"name": self.name, "config": config.model_dump() if config is not None else {}}
