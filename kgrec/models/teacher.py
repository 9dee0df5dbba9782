"""What a baseline teaches the towers: its best items for the histories of a step, as soft targets.

The baseline is a Scorer and is asked with histories, as at serving; how the towers learn from its
answers stands in hybrid.py. It is fitted on the towers' own TrainingData, never on what is held
out from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.errors import ConfigError
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.towers_config import TowersConfig


@dataclass(frozen=True)
class Lessons:
    """Items that users are taught, n in all.

    Attributes:
        row: Shape (n,), int64, ascending: the row of the batch.
        item_idx: Shape (n,), int64, none of the row's history.
        share: Shape (n,), float32, summing to 1 in each row that is taught anything.
    """

    row: IntArray
    item_idx: IntArray
    share: FloatArray


class Teacher:
    """Fitted scorers that say what they would recommend.

    A scorer has seen the likes that a step asks for, since it was fitted on all train events; so
    have the towers, which are told them as targets. What it tells beyond that is how other users'
    likes go together. Where few users stand behind a pair of items, it repeats this very user:
    then ``config.teacher_folds`` gives scorers that know nothing of the users they teach.

    Args:
        scorers: One for each fold of the users.
        fold_of_user: Shape (num_users,), int64.
        config: Settings of the lessons.
        seed: Of the order among equal scores.
    """

    def __init__(
        self, scorers: Sequence[Scorer], fold_of_user: IntArray, config: TowersConfig, seed: int
    ) -> None:
        self.scorers = scorers
        self.fold_of_user = fold_of_user
        self.config = config
        self.seed = seed

    @classmethod
    def of(cls, train: TrainingData, config: TowersConfig) -> Self:
        """Return the teacher that ``config`` names, fitted on the events of ``train``.

        Raises:
            ConfigError: No teacher is named, or no baseline is called so or has such settings.
        """
        if config.teacher is None:
            raise ConfigError("Expected 'towers.teacher' to name a baseline, got null")
        folds = config.teacher_folds
        order = np.random.default_rng([train.seed, folds]).permutation(train.num_users)
        fold_of_user = order.astype(np.int64) % folds
        scorers = []
        for fold in range(folds):
            known = train
            if folds > 1:
                seen = fold_of_user[train.interactions.user_idx] != fold
                known = replace(train, interactions=train.interactions.take(seen))
            scorers.append(make_baseline(config.teacher, config.teacher_settings).fit(known))
        return cls(scorers, fold_of_user, config, train.seed)

    def lessons(self, histories: HistoryBatch) -> Lessons:
        """Return what each user of the batch, all of them train users, is taught."""
        size = self.config.teacher_items
        items = np.full((len(histories), size), -1, dtype=np.int64)
        scores = np.full((len(histories), size), -np.inf, dtype=np.float32)
        fold = self.fold_of_user[histories.user_idx]
        for number, scorer in enumerate(self.scorers):
            asked = np.flatnonzero(fold == number)
            if len(asked):
                found = scorer.top(histories.take(asked), size, seed=self.seed)
                items[asked], scores[asked] = found.item_idx, found.score
        share = soft_targets(scores, self.config.teacher_temperature)
        row, place = np.nonzero(share)
        return Lessons(row.astype(np.int64), items[row, place], share[row, place])


def soft_targets(scores: FloatArray, temperature: float) -> FloatArray:
    """Return softmax(score / (temperature * standard deviation)) over what a row's scores tell.

    A deviation is the row's own, so that one temperature suits all scorers, whatever their scale.

    Args:
        scores: Shape (B, n), float32; -inf where there is no item; an item at 0 is one that the
            scorer has nothing to say of, and is left out.
        temperature: Above 0.

    Returns:
        Shape (B, n), float32; rows sum to 1, or to 0 where nothing is told.

    Source: Hinton et al. 2015, "Distilling the knowledge in a neural network"; of the best items
    alone as in Tang and Wang 2018, "Ranking distillation".
    """
    told = np.isfinite(scores) & (scores != 0)
    count = np.maximum(told.sum(axis=1, keepdims=True), 1)
    known: npt.NDArray[np.float64] = np.where(told, scores, 0.0).astype(np.float64)
    mean = known.sum(axis=1, keepdims=True) / count
    away = np.where(told, known - mean, 0.0)
    deviation = np.sqrt((away**2).sum(axis=1, keepdims=True) / count)
    best = np.where(told, known, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    below = np.where(told, known - best, 0.0) / np.maximum(deviation, 1e-12)
    share = np.exp(below / temperature) * told
    return np.asarray(share / np.maximum(share.sum(axis=1, keepdims=True), 1e-12), np.float32)
