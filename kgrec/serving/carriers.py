"""Which liked item carries a recommendation: what was liked together, and what deletion costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray, Interactions
from kgrec.serving.request_histories import without_each
from kgrec.serving.shared_facts import co_counts


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
        users = self._users_of
        if self.likes[items].sum() > self.likes[liked].sum():
            counts: IntArray = co_counts(users.indptr, users.indices, liked, items)
            return counts.T
        counts = co_counts(users.indptr, users.indices, items, liked)
        return counts

    def similarity(self, items: IntArray, liked: IntArray) -> FloatArray:
        """Return the cosine of the two items' users, shape (len(items), len(liked)), float32."""
        norm = np.sqrt(np.outer(self.likes[items], self.likes[liked]))
        return (self.counts(items, liked) / np.maximum(norm, 1.0)).astype(np.float32)


PairScores = Callable[[HistoryBatch, IntArray, IntArray, IntArray], FloatArray]


def drops(
    scores_of: PairScores,
    history: HistoryBatch,
    items: IntArray,
    removed: Sequence[IntArray],
    whole: FloatArray | None = None,
) -> list[FloatArray]:
    """Return how much each item's score falls when liked items leave the history, one at a time.

    Args:
        scores_of: Called once with the history and its variants, the items that these lack,
            indptr and item_idx of pairs, ascending within a variant; returns the pairs' scores.
        history: A batch of one.
        items: Shape (n,), rows of the items, none twice.
        removed: For each item, the rows of the history's items to take away in turn.
        whole: Shape (n,), scores of the items, ascending, under the whole history; None asks.

    Returns:
        For each item, shape (len(removed[i]),), float32; positive: the score falls.
    """
    gone = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *removed]))
    order = np.argsort(items, kind="stable")
    asked = np.zeros((1 + len(gone), len(items)), dtype=np.bool_)  # variants x items, ascending
    asked[0] = whole is None
    for column, item in enumerate(order):
        asked[1 + np.searchsorted(gone, removed[item]), column] = True
    variant, place = np.nonzero(asked)
    indptr = np.concatenate([[0], np.cumsum(asked.sum(axis=1))]).astype(np.int64)
    found = np.zeros(asked.shape, dtype=np.float32)
    variants = without_each(history, gone)
    found[variant, place] = scores_of(variants, gone, indptr, items[order][place])
    falls = (found[0] if whole is None else whole) - found
    back = np.argsort(order, kind="stable")
    return [falls[1 + np.searchsorted(gone, rows), back[n]] for n, rows in enumerate(removed)]
