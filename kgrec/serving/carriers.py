"""Which liked item carries a recommendation: a shortlist by co-likes, then exact deletion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray, Interactions
from kgrec.models.scorer import Scorer
from kgrec.serving.capabilities import pair_scores
from kgrec.serving.request_histories import stack, without_item


class CoLikes:
    """Counts who liked two items both, over the train events.

    Attributes:
        likes: Shape (num_items,), int64: users who liked each item.
    """

    def __init__(self, interactions: Interactions, num_users: int, num_items: int) -> None:
        liked = interactions.positives()
        self._users_of = liked.matrix(num_users, num_items).T.tocsr()
        self.likes: IntArray = np.diff(self._users_of.indptr).astype(np.int64)

    def counts(self, items: IntArray, liked: IntArray) -> IntArray:
        """Return how many users liked both, shape (len(items), len(liked)), int64."""
        both = self._users_of[items] @ self._users_of[liked].T
        return np.asarray(sparse.csr_matrix(both).toarray()).astype(np.int64)

    def similarity(self, items: IntArray, liked: IntArray) -> FloatArray:
        """Return the cosine of the two items' users, shape (len(items), len(liked)), float32."""
        norm = np.sqrt(np.outer(self.likes[items], self.likes[liked]))
        return (self.counts(items, liked) / np.maximum(norm, 1.0)).astype(np.float32)


def drops(
    scorer: Scorer, history: HistoryBatch, items: IntArray, removed: Sequence[IntArray]
) -> list[FloatArray]:
    """Return how much each item's score falls when liked items leave the history, one at a time.

    Args:
        scorer: What ranked the items.
        history: A batch of one.
        items: Shape (n,), rows of the items.
        removed: For each item, the rows of the history's items to take away in turn.

    Returns:
        For each item, shape (len(removed[i]),), float32; positive: the score falls.
    """
    gone = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *removed]))
    asked: list[list[int]] = [[] for _ in gone]
    place: list[list[tuple[int, int]]] = []
    for item, rows in zip(items, removed, strict=True):
        spots = []
        for row in np.searchsorted(gone, rows):
            spots.append((int(row), len(asked[row])))
            asked[row].append(int(item))
        place.append(spots)
    pairs = [items, *(np.array(rows, dtype=np.int64) for rows in asked)]
    histories = stack([history, *(without_item(history, int(row)) for row in gone)])
    indptr = np.concatenate([[0], np.cumsum([len(rows) for rows in pairs])]).astype(np.int64)
    scores = pair_scores(scorer, histories, indptr, np.concatenate(pairs))
    return [
        np.array([scores[n] - scores[indptr[row + 1] + at] for row, at in spots], dtype=np.float32)
        for n, spots in enumerate(place)
    ]
