"""From item rows and scores to answers: titles, probabilities, sources and reasons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kgrec.artifact import Artifact
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, Interactions
from kgrec.models.top_items import TopItems, top_of_scores
from kgrec.serving import capabilities
from kgrec.serving.answers import Explanation, Recommendation
from kgrec.serving.capabilities import Ranked
from kgrec.serving.catalogue import Catalogue
from kgrec.serving.explanations import Explainer
from kgrec.serving.made_once import MadeOnce
from kgrec.serving.request_histories import num_liked

NOBODY = np.array([-1])


class Answerer:
    """Asks the scorer, or popularity where it has nothing to go by, and dresses the answer."""

    def __init__(
        self, artifact: Artifact, catalogue: Catalogue, explainer: MadeOnce[Explainer]
    ) -> None:
        self._scorer = artifact.scorer
        self._catalogue = catalogue
        self._explainer = explainer
        self._likes = MadeOnce(lambda: _likes_of(artifact.interactions, len(catalogue)))

    def rank(self, histories: HistoryBatch, k: int, allowed: BoolArray) -> list[list[Ranked]]:
        """Return the best allowed items for each history, best first.

        Where a history holds nothing liked, they come by popularity.
        """
        k = min(k, len(self._catalogue))
        likes = num_liked(histories)
        known = np.flatnonzero(likes)
        lists: dict[int, list[Ranked]] = {}
        if len(known):
            batch = histories if len(known) == len(histories) else histories.take(known)
            found = capabilities.ranked_items(self._scorer, batch, k, allowed)
            lists = dict(zip(known.tolist(), found, strict=True))
        for row in np.flatnonzero(likes == 0).tolist():
            lists[row] = self._popular(histories.take(np.array([row])), k, allowed)
        return [lists[row] for row in range(len(histories))]

    def top(self, histories: HistoryBatch, k: int, allowed: BoolArray) -> TopItems:
        """Return rows and scores of what ``rank`` returns, for many histories at once."""
        k = min(k, len(self._catalogue))
        likes = num_liked(histories)
        item_idx = np.full((len(histories), k), -1, dtype=np.int64)
        score = np.full((len(histories), k), -np.inf, dtype=np.float32)
        known = np.flatnonzero(likes > 0)
        if len(known):
            found = self._scorer.top(histories.take(known), k, allowed=allowed)
            item_idx[known], score[known] = found.item_idx, found.score
        for row in np.flatnonzero(likes == 0):
            best = self._popular(histories.take(np.array([row])), k, allowed)
            item_idx[row, : len(best)] = [item.row for item in best]
            score[row, : len(best)] = [item.score for item in best]
        return TopItems(item_idx, score)

    def items(
        self, ranked: Sequence[Ranked], reasons: Sequence[Explanation] | None = None
    ) -> tuple[Recommendation, ...]:
        """Return the items of an answer, with their reasons where there are any."""
        return tuple(
            Recommendation(
                item_id=self._catalogue.item_id(item.row),
                title=self._catalogue.title(item.row),
                score=item.score,
                probability=item.probability,
                rank=rank,
                sources=item.sources,
                explanation=None if reasons is None else reasons[rank - 1],
            )
            for rank, item in enumerate(ranked, start=1)
        )

    def explained_items(
        self, history: HistoryBatch, ranked: Sequence[Ranked]
    ) -> tuple[Recommendation, ...]:
        """Return the items of an answer with the reason of each."""
        rows = np.array([item.row for item in ranked], dtype=np.int64)
        return self.items(ranked, self._explainer().explain(history, rows, ranked))

    def _popular(self, history: HistoryBatch, k: int, allowed: BoolArray) -> list[Ranked]:
        scores = self._likes().copy()
        scores[~allowed] = -np.inf
        scores[history.item_idx] = -np.inf
        return by_score(scores, k, ("popular",))


def _likes_of(interactions: Interactions, num_items: int) -> FloatArray:
    """Return how many users liked each item, shape (num_items,), float32."""
    liked = interactions.positives()
    pairs = np.unique(liked.user_idx * num_items + liked.item_idx)
    return np.bincount(pairs % num_items, minlength=num_items).astype(np.float32)


def by_score(scores: FloatArray, k: int, sources: tuple[str, ...] = ()) -> list[Ranked]:
    """Return the k best rows of scores, shape (num_items,), those at -inf left out."""
    top = top_of_scores(scores[None].astype(np.float32), min(k, len(scores)), 0, NOBODY)
    return [
        Ranked(int(row), float(score), None, sources)
        for row, score in zip(top.item_idx[0], top.score[0], strict=True)
        if row >= 0
    ]
