"""What a model is asked in an evaluation: histories as of the request, and the hidden answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, IntArray


@dataclass(frozen=True)
class EvaluationTask:
    """Users to ask, and the positives that were hidden from the model.

    Attributes:
        name: Split, part and slice, as it goes into records: "per_user_time/val/all".
        histories: What is known of each user before the cut. All of it is masked: the same mask
            for every model.
        target_indptr: Shape (B + 1,), int64; user b's answers are
            target_items[target_indptr[b]:target_indptr[b + 1]], never empty.
        target_items: Shape (num_targets,), int64, no item twice for a user, none in the history.
        allowed: Shape (num_items,), bool: the items that are ranked; None for all items.
        masked_indptr, masked_items: Ragged as the targets: items that the user had interacted with
            before the cut and that the model is not told of (a published protocol that learns from
            train alone). They stand in no list; None where the histories tell everything.
    """

    name: str
    histories: HistoryBatch
    target_indptr: IntArray
    target_items: IntArray
    allowed: BoolArray | None = None
    masked_indptr: IntArray | None = None
    masked_items: IntArray | None = None

    def __len__(self) -> int:
        return len(self.histories)

    def targets_of(self, row: int) -> IntArray:
        """Return the hidden positives of one row of the batch."""
        return self.target_items[self.target_indptr[row] : self.target_indptr[row + 1]]

    def take(self, rows: IntArray) -> EvaluationTask:
        """Return the task for the chosen rows."""
        targets = _taken(self.target_indptr, self.target_items, rows)
        masked: tuple[IntArray, IntArray] | tuple[None, None] = (None, None)
        if self.masked_indptr is not None and self.masked_items is not None:
            masked = _taken(self.masked_indptr, self.masked_items, rows)
        return EvaluationTask(self.name, self.histories.take(rows), *targets, self.allowed, *masked)


def _taken(indptr: IntArray, items: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return the chosen rows of ragged lists."""
    lengths = np.diff(indptr)[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    offsets = np.arange(taken[-1]) - np.repeat(taken[:-1], lengths)
    return taken, items[np.repeat(indptr[rows], lengths) + offsets]
