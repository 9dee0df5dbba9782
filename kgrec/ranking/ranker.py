"""The contract of every ranker: learn from grouped features and labels, score rows, save, load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import DataError
from kgrec.ranking.behaviour import Behaviour, stack_behaviour


@dataclass(frozen=True)
class RankingRows:
    """Labelled candidates, grouped by user.

    Attributes:
        names: F feature names.
        values: Shape (n, F), float32.
        indptr: Shape (G + 1,), int64: rows of each list.
        label: Shape (n,), float32, 1 for a positive, else 0.
        positives: Shape (G,), int64: positives of each user, those outside the list included; the
            denominator of the ideal NDCG.
        behaviour: Items and histories of the same rows and lists, for rankers that read them; None
            where none was made.
        conversion: Shape (n,), float32, 1 where a positive led to the goal (a purchase after a
            click), else 0; None where no such event is known.
    """

    names: tuple[str, ...]
    values: FloatArray
    indptr: IntArray
    label: FloatArray
    positives: IntArray
    behaviour: Behaviour | None = None
    conversion: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def group_of_row(self) -> IntArray:
        """Shape (n,), int64: the list of each row."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def take_rows(self, keep: BoolArray) -> RankingRows:
        """Return the chosen rows; lists that lose every row go too."""
        sizes = np.bincount(self.group_of_row[keep], minlength=len(self.indptr) - 1)
        filled = sizes > 0
        return RankingRows(
            self.names,
            self.values[keep],
            np.concatenate([[0], np.cumsum(sizes[filled])]).astype(np.int64),
            self.label[keep],
            self.positives[filled],
            self.behaviour and self.behaviour.take_lists(keep, np.flatnonzero(filled)),
            None if self.conversion is None else self.conversion[keep],
        )

    def take_columns(self, columns: IntArray) -> RankingRows:
        """Return the rows with the chosen features only."""
        names = tuple(self.names[column] for column in columns)
        return replace(self, names=names, values=np.ascontiguousarray(self.values[:, columns]))


def stack_rows(parts: list[RankingRows]) -> RankingRows:
    """Return several sets of lists as one.

    Raises:
        DataError: There is none, or their features differ.
    """
    if not parts:
        raise DataError("Expected at least one set of ranking rows, got none")
    for part in parts[1:]:
        if part.names != parts[0].names:
            differing = sorted(set(part.names) ^ set(parts[0].names))
            raise DataError(
                f"Expected the same features in every window, got differing {differing}; "
                "make every window from the same sources and feature configuration"
            )
    sizes = np.concatenate([np.diff(part.indptr) for part in parts])
    behaviour = [part.behaviour for part in parts if part.behaviour is not None]
    conversion = [part.conversion for part in parts if part.conversion is not None]
    return RankingRows(
        parts[0].names,
        np.concatenate([part.values for part in parts]),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.positives for part in parts]),
        stack_behaviour(behaviour) if len(behaviour) == len(parts) else None,
        np.concatenate(conversion) if len(conversion) == len(parts) else None,
    )


def sampled_lists(rows: RankingRows, negatives: int, rng: np.random.Generator) -> RankingRows:
    """Return the lists that hold a positive, each with at most ``negatives`` other rows.

    The sample is uniform, since one by any feature would teach the ranker the sampling.
    """
    group = rows.group_of_row
    order = np.lexsort((rng.random(len(group)), rows.label > 0, group))
    place = np.empty(len(group), dtype=np.int64)
    place[order] = np.arange(len(group)) - rows.indptr[:-1][group[order]]
    found = np.bincount(group, weights=rows.label, minlength=len(rows.indptr) - 1) > 0
    return rows.take_rows(((rows.label > 0) | (place < negatives)) & found[group])


class Ranker(ABC):
    """A model that scores rows of features; higher is better within a user's list.

    Subclasses define ``name``, a frozen pydantic ``config``, ``fit``, ``scores``, ``save`` and
    ``load``; those that read histories set ``reads_behaviour``.
    """

    name: ClassVar[str]
    reads_behaviour: ClassVar[bool] = False
    config: BaseModel

    @abstractmethod
    def fit(self, train: RankingRows, val: RankingRows | None = None) -> Self:
        """Learn from labelled lists and return self.

        Args:
            train: The lists to learn from.
            val: Lists for early stopping; None to train for the configured length, or for the
                length that an earlier fit with ``val`` found best.
        """

    @abstractmethod
    def scores(self, values: FloatArray, behaviour: Behaviour | None = None) -> FloatArray:
        """Return the score of each row, shape (n,), float32.

        Args:
            values: Shape (n, F), the features in the order of training.
            behaviour: Items and histories of the same rows; needed where ``reads_behaviour``.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the fitted state into ``folder`` (made if absent)."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Return the ranker written by ``save``; it gives the same scores."""

    def describe(self) -> dict[str, Any]:
        """Return the name and settings, as they go into run records."""
        return {"name": self.name, "config": self.config.model_dump(mode="json")}


def ndcg_of_lists(rows: RankingRows, scores: FloatArray, k: int = 20, seed: int = 0) -> FloatArray:
    """Return the NDCG@k of each list that has a positive user, shape (G',), float64.

    Positives outside the list count in the ideal, so that the retrieval's misses cost. Ties are
    broken at random by ``seed``: rows stand in the order of ids.
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    group = rows.group_of_row
    tie = np.random.default_rng(seed).permutation(len(group))
    order = np.lexsort((tie, -scores, group))
    place = np.arange(len(group)) - rows.indptr[:-1][group]
    hit = (rows.label[order] > 0) & (place < k)
    gain = np.bincount(group[hit], weights=discount[place[hit]], minlength=len(rows.indptr) - 1)
    asked = rows.positives > 0
    return np.asarray(gain[asked] / ideal[np.minimum(rows.positives[asked], k)])
