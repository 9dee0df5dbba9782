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
        allowed: Shape (num_items,), bool: the items that are ranked; None for the whole catalogue.
    """

    name: str
    histories: HistoryBatch
    target_indptr: IntArray
    target_items: IntArray
    allowed: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.histories)

    def targets_of(self, row: int) -> IntArray:
        """Return the hidden positives of one row of the batch."""
        return self.target_items[self.target_indptr[row] : self.target_indptr[row + 1]]

    def take(self, rows: IntArray) -> EvaluationTask:
        """Return the task for the chosen rows."""
        lengths = np.diff(self.target_indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
        targets = self.target_items[np.repeat(self.target_indptr[rows], lengths) + offsets]
        return EvaluationTask(self.name, self.histories.take(rows), indptr, targets, self.allowed)
