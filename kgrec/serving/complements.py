"""Which items go with an item: liked by the same people, and next after it; not what is like it."""

from __future__ import annotations

import numpy as np

from kgrec.artifact import Artifact
from kgrec.data.interactions import FloatArray
from kgrec.serving.carriers import CoLikes

_MIN_PEOPLE = 2
_MAX_GAP = 3


class Complements:
    """Scores items by how much they go with one item.

    score(i -> j) = (cos(i, j) + next(i, j)) * (1 - text(i, j)): the cosine of the people who liked
    both, what they liked within three events after i, over sqrt(likes of i * likes of j), and less
    where the texts are alike: two teapots replace, teapot and tea go together. Items that fewer
    than two people liked together score 0.

    Args:
        artifact: Its train events, and its ranker's text vectors where it has some.
        co_likes: Counts over the same events.
    """

    def __init__(self, artifact: Artifact, co_likes: CoLikes) -> None:
        self._likes = artifact.interactions.positives()
        self._co_likes = co_likes
        arrays = getattr(getattr(artifact.scorer, "state", None), "arrays", {})
        self._text: FloatArray | None = arrays.get("text")

    def scores(self, row: int) -> FloatArray:
        """Return the score of every item, shape (num_items,), float32, 0 where nothing is known."""
        here = np.array([row], dtype=np.int64)
        every = np.arange(len(self._co_likes.likes))
        both = self._co_likes.counts(here, every)[0]
        norm = np.sqrt(np.maximum(self._co_likes.likes[row] * self._co_likes.likes, 1.0))
        scores = (both + self._followers(row)) / norm
        if self._text is not None:
            scores = scores * (1.0 - np.clip(self._text @ self._text[row], 0.0, 1.0))
        return np.where(both >= _MIN_PEOPLE, scores, 0.0).astype(np.float32)

    def _followers(self, row: int) -> FloatArray:
        """Return how often each item was liked soon after this one, the sooner the more."""
        likes = self._likes
        found = np.zeros(len(self._co_likes.likes), dtype=np.float32)
        places = np.flatnonzero(likes.item_idx == row)
        for gap in range(1, _MAX_GAP + 1):
            before = places[places + gap < len(likes)]
            after = before + gap
            same = likes.user_idx[before] == likes.user_idx[after]
            np.add.at(found, likes.item_idx[after[same]], 1.0 / gap)
        return found
