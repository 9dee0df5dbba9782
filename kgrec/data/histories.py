"""A batch of user histories as they stand at request time: the only thing a model is asked with.

Nothing here knows whether the user was in training: known and unseen users look the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from kgrec.data.interactions import BoolArray, FloatArray, IntArray, Interactions, kinds_at


@dataclass(frozen=True)
class HistoryBatch:
    """Ragged histories of ``len(batch)`` users, oldest event first.

    Attributes:
        user_idx: Shape (B,), int64; the row of the user's profile, -1 where no profile is known.
            Models read profiles through it and hold no parameters of single users.
        indptr: Shape (B + 1,), int64; user b owns events indptr[b]:indptr[b + 1].
        item_idx, value, timestamp, positive, kind: Shape (num_events,), as in Interactions.
        now: Shape (B,), int64, Unix seconds of the request; 0 where the data has no time.
    """

    user_idx: IntArray
    indptr: IntArray
    item_idx: IntArray
    value: FloatArray
    timestamp: IntArray
    positive: BoolArray
    now: IntArray
    kind: IntArray | None = None

    def __len__(self) -> int:
        return len(self.user_idx)

    @property
    def lengths(self) -> IntArray:
        """Shape (B,), int64: the number of events of each user."""
        return np.diff(self.indptr)

    @property
    def row_of_event(self) -> IntArray:
        """Shape (num_events,), int64: the row of the batch that owns each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: IntArray) -> HistoryBatch:
        """Return the histories of the chosen rows, in the order given."""
        lengths = self.lengths[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
        events = np.repeat(self.indptr[rows], lengths) + offsets
        return HistoryBatch(
            self.user_idx[rows],
            indptr,
            self.item_idx[events],
            self.value[events],
            self.timestamp[events],
            self.positive[events],
            self.now[rows],
            kinds_at(self.kind, events),
        )

    def batches(self, batch_size: int) -> Iterator[HistoryBatch]:
        """Yield the histories in consecutive batches of at most ``batch_size`` users."""
        if 0 < len(self) <= batch_size:
            yield self
            return
        for start in range(0, len(self), batch_size):
            yield self.take(np.arange(start, min(start + batch_size, len(self))))

    def of_items_below(self, num_items: int) -> HistoryBatch:
        """Return the histories without events of items from ``num_items`` on."""
        kept = self.item_idx < num_items
        if kept.all():
            return self
        counts = np.bincount(self.row_of_event[kept], minlength=len(self))
        return HistoryBatch(
            self.user_idx,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            self.item_idx[kept],
            self.value[kept],
            self.timestamp[kept],
            self.positive[kept],
            self.now,
            kinds_at(self.kind, kept),
        )

    def matrix(self, num_items: int, positive_only: bool = True) -> sparse.csr_matrix:
        """Return the binary matrix of what stands in each history, shape (B, num_items), float32.

        Args:
            num_items: Number of columns.
            positive_only: Leave out events that do not count as a like.
        """
        keep = self.positive if positive_only else np.ones(len(self.item_idx), dtype=bool)
        rows, columns = self.row_of_event[keep], self.item_idx[keep]
        ones = np.ones(len(rows), dtype=np.float32)
        matrix = sparse.csr_matrix((ones, (rows, columns)), shape=(len(self), num_items))
        matrix.data[:] = 1.0  # a repeated pair was summed
        return matrix

    @classmethod
    def of_nobody(cls) -> HistoryBatch:
        """Return one empty history without a profile and without a time."""
        none = np.empty(0, dtype=np.int64)
        return cls(
            np.array([-1], dtype=np.int64),
            np.zeros(2, dtype=np.int64),
            none,
            none.astype(np.float32),
            none,
            none.astype(np.bool_),
            np.zeros(1, dtype=np.int64),
        )

    @classmethod
    def from_interactions(
        cls, interactions: Interactions, users: IntArray, now: IntArray | None = None
    ) -> HistoryBatch:
        """Return each user's interactions as a history; users without any get an empty one.

        Args:
            interactions: Sorted by user and time.
            users: Shape (B,), the users wanted, in the order wanted.
            now: Shape (B,), request times; None for the second after each user's last event.
        """
        start = np.searchsorted(interactions.user_idx, users, side="left")
        stop = np.searchsorted(interactions.user_idx, users, side="right")
        lengths = stop - start
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
        events = interactions.take(np.repeat(start, lengths) + offsets)
        if now is None:
            now = np.zeros(len(users), dtype=np.int64)
            filled = lengths > 0
            last = events.timestamp[indptr[1:][filled] - 1]
            now[filled] = np.where(last > 0, last + 1, 0)
        told = (events.item_idx, events.value, events.timestamp, events.positive)
        return cls(users, indptr, *told, now, events.kind)
