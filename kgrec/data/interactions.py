"""Interactions as parallel arrays, in time order for each user; splitting them is for splits.py."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Interactions:
    """Events of users with items, grouped by user and in time order within a user.

    Attributes:
        user_idx: Shape (n,), int64, ascending.
        item_idx: Shape (n,), int64.
        value: Shape (n,), float32, NaN where the event has no value.
        timestamp: Shape (n,), int64, Unix seconds; 0 throughout where the data has no time.
        positive: Shape (n,), bool: the event counts as a like by the dataset's rule.
        kind: Shape (n,), int64, the code of the kind (view, purchase), as kind_codes gives it;
            None where all are of one kind.
    """

    user_idx: IntArray
    item_idx: IntArray
    value: FloatArray
    timestamp: IntArray
    positive: BoolArray
    kind: IntArray | None = None

    def __len__(self) -> int:
        return len(self.user_idx)

    def take(self, rows: IntArray | BoolArray) -> Interactions:
        """Return the chosen rows, in their present order."""
        return Interactions(
            self.user_idx[rows],
            self.item_idx[rows],
            self.value[rows],
            self.timestamp[rows],
            self.positive[rows],
            kinds_at(self.kind, rows),
        )

    def sorted(self, seed: int) -> Interactions:
        """Return the rows by user, then time; equal times stand in an order drawn by ``seed``.

        Files are often sorted by id, and ids then leak through ties; hence never by row.
        """
        tie = np.random.default_rng(seed).permutation(len(self))
        return self.take(np.lexsort((tie, self.timestamp, self.user_idx)))

    def positives(self) -> Interactions:
        """Return the rows that count as a like."""
        return self if self.positive.all() else self.take(self.positive)

    def matrix(self, num_users: int, num_items: int) -> sparse.csr_matrix:
        """Return the binary user-item matrix, shape (num_users, num_items), float32."""
        ones = np.ones(len(self), dtype=np.float32)
        shape = (num_users, num_items)
        matrix = sparse.csr_matrix((ones, (self.user_idx, self.item_idx)), shape=shape)
        matrix.data[:] = 1.0  # a repeated pair was summed
        return matrix


def kind_codes(names: Sequence[str]) -> IntArray:
    """Return the codes of event kinds, shape (n,), int64: of a name always the same, 0 for "".

    So kinds need no numbering that data sets, models and requests would have to share.
    """
    codes = {name: _kind_code(name) for name in set(names)}
    return np.array([codes[name] for name in names], dtype=np.int64)


def kinds_at(kinds: IntArray | None, rows: IntArray | BoolArray) -> IntArray | None:
    """Return the codes of chosen events; None where none are told."""
    return None if kinds is None else kinds[rows]


def joined_kinds(kinds: Sequence[IntArray | None], lengths: Sequence[int]) -> IntArray | None:
    """Return the codes of several parts one after the other; 0 where one part tells none.

    Args:
        kinds: Codes of each part.
        lengths: Events of each part.
    """
    if all(kind is None for kind in kinds):
        return None
    told = zip(kinds, lengths, strict=True)
    return np.concatenate([np.zeros(n, dtype=np.int64) if k is None else k for k, n in told])


def _kind_code(name: str) -> int:
    if not name:
        return 0
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
