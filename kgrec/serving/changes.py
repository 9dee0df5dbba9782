"""A few items under a history that lacks items: who speaks for them, and how far they fall.

A pipeline is asked in a quick way (kgrec/retrieval/changed.py), any other scorer anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.scorer import Scorer
from kgrec.models.top_items import TopItems
from kgrec.retrieval.candidates import Candidates
from kgrec.retrieval.changed import HistoryChanges
from kgrec.serving.capabilities import Contributions, Ranked, contributions, pair_scores
from kgrec.serving.carriers import drops


class Changes:
    """What the items of one history mean for some items.

    Args:
        scorer: Any.
        history: A batch of one.
        items: Shape (n,), rows of items, none twice, none of the history.
        ranked: The same items as the scorer ranked them; None asks it.
    """

    def __init__(
        self,
        scorer: Scorer,
        history: HistoryBatch,
        items: IntArray,
        ranked: Sequence[Ranked] | None = None,
    ) -> None:
        self._scorer: Any = scorer
        self._history, self._items, self._ranked = history, items, ranked
        self._order = np.argsort(items, kind="stable")

    def weights(self, liked: IntArray) -> FloatArray | None:
        """Return how much liked items speak for the items, shape (n, len(liked)).

        None where the scorer does not tell.
        """
        found = self._changed.weights() if self._is_quick else None
        if found is None:
            return None
        back = np.argsort(self._order)
        return found[np.ix_(np.searchsorted(self._changed.held, liked), back)].T

    def contributions(self) -> list[Contributions]:
        """Return for each item what ``Ranked.contributions`` says; {} if untold."""
        if self._ranked is not None:
            return [item.contributions for item in self._ranked]
        if not self._is_quick:
            return [{}] * len(self._items)
        found = contributions(self._told[0], self._scorer.generator.config.depth)
        return [found[place] for place in np.argsort(self._order)]

    def drops(self, removed: Sequence[IntArray]) -> list[FloatArray]:
        """Return how much each item falls without each of ``removed[i]``, as ``drops`` says."""
        if self._is_quick:
            return drops(self._quickly, self._history, self._items, removed, self._told[2])
        return drops(self._anew, self._history, self._items, removed)

    @property
    def _is_quick(self) -> bool:
        return hasattr(self._scorer, "score_changed")

    @cached_property
    def _changed(self) -> HistoryChanges:
        told, best, _ = self._told
        return HistoryChanges(self._scorer.sources, self._history, told, best)

    @cached_property
    def _told(self) -> tuple[Candidates, TopItems, FloatArray]:
        """What the sources say of the items, ascending, and of which best ones; the scores."""
        indptr = np.array([0, len(self._items)], dtype=np.int64)
        items, generator = self._items[self._order], self._scorer.generator
        ranked = [self._ranked[place] for place in self._order] if self._ranked else []
        stands = [one.standing for one in ranked if one.standing is not None]
        if not ranked or len(stands) < len(ranked):
            told = generator.describe_pairs(self._history, indptr, items)
            return told, told.best, self._scorer.candidate_scores(self._history, told)[0]
        z, rank = np.array([one.z for one in stands]), np.array([one.rank for one in stands])
        told = Candidates(indptr, items, generator.names, z, rank)
        scores = np.array([one.score for one in ranked], dtype=np.float32)
        return told, stands[0].best, scores

    def _quickly(
        self, variants: HistoryBatch, gone: IntArray, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        found: FloatArray = self._scorer.score_changed(
            variants, self._changed, gone, indptr, item_idx
        )
        return found

    def _anew(
        self, variants: HistoryBatch, gone: IntArray, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        return pair_scores(self._scorer, variants, indptr, item_idx)
