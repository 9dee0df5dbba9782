"""Training steps of likes, each with an item that its user does not like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kgrec.data.interactions import BoolArray, IntArray


class UnlikedItems:
    """Draws, for each user given, an item that the user does not like.

    Args:
        user_idx, item_idx: Shape (num_likes,), int64: the likes.
        num_items: Items drawn from, all with the same probability.
    """

    def __init__(self, user_idx: IntArray, item_idx: IntArray, num_items: int) -> None:
        self.num_items = num_items
        self.liked = np.unique(user_idx * num_items + item_idx)
        self.likes_all = np.flatnonzero(np.bincount(self.liked // num_items) >= num_items)

    def draw(self, users: IntArray, generator: np.random.Generator) -> IntArray:
        """Return one item for each user, shape (n,), int64.

        One who likes everything gets any item: there is nothing else.
        """
        items = generator.integers(self.num_items, size=len(users))
        again = np.flatnonzero(~np.isin(users, self.likes_all))
        while len(again := again[self._liked(users[again], items[again])]):
            items[again] = generator.integers(self.num_items, size=len(again))
        return items

    def _liked(self, users: IntArray, items: IntArray) -> BoolArray:
        keys = users * self.num_items + items
        place = np.minimum(np.searchsorted(self.liked, keys), len(self.liked) - 1)
        return np.asarray(self.liked[place] == keys)


class LikeSteps:
    """Yields all steps of a training: (users, liked items, unliked items), each shape (n,), int64.

    Every epoch shuffles the likes anew; epoch e is the same whenever it is drawn.
    """

    def __init__(
        self,
        user_idx: IntArray,
        item_idx: IntArray,
        num_items: int,
        *,
        batch_size: int,
        num_epochs: int,
        seed: int,
    ) -> None:
        self.user_idx, self.item_idx = user_idx, item_idx
        self.unliked = UnlikedItems(user_idx, item_idx, num_items)
        self.batch_size, self.num_epochs, self.seed = batch_size, num_epochs, seed

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield the steps, epoch after epoch."""
        for epoch in range(self.num_epochs):
            generator = np.random.default_rng([self.seed, epoch])
            order = generator.permutation(len(self.user_idx))
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                users, items = self.user_idx[chosen], self.item_idx[chosen]
                unliked = self.unliked.draw(users, generator)
                yield tuple(torch.from_numpy(part) for part in (users, items, unliked))
