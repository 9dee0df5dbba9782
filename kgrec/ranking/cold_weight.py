"""How much an item without events counts beside the others: what a stated loss of likes pays for.

Such an item takes a place from one whose taste is known. Both have a calibrated probability, but
that of a new item stands for items that were hidden though they had events, and new ones may do
worse. So the probabilities say what giving places away costs, and the caller says how much it may.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import BoolArray
from kgrec.retrieval.candidates import Candidates

PLACES = 20  # of a list, in which the likes are counted
UNWEIGHED = 0.15  # of items that come later, where training had none to weigh
_LEAST = 1e-6
_HALVINGS = 24  # of the span of log weights: to less than a millionth of it


def largest_weight(
    log_odds: npt.NDArray[np.float64], candidates: Candidates, cold: BoolArray, loss: float
) -> float:
    """Return the largest factor on the probability of cold items that costs no more than ``loss``.

    Args:
        log_odds: Shape (n,), calibrated, of each candidate.
        candidates: Lists of B users.
        cold: Shape (n,), bool: candidates without train events.
        loss: Share of the likes expected of the other items in the first PLACES that may be lost,
            the mean over users.

    Returns:
        Between 1e-6 and 1; UNWEIGHED where no candidate is cold.
    """
    if not cold.any():
        return UNWEIGHED
    score = -np.logaddexp(0.0, -log_odds)
    rows = candidates.row_of_pair
    probability = np.where(cold, 0.0, np.exp(score))
    place = np.arange(len(rows)) - candidates.indptr[:-1][rows]  # of the pair at this position

    def likes(weight: float) -> npt.NDArray[np.float64]:
        order = np.lexsort((-(score + np.log(weight) * cold), rows))
        first = order[place < PLACES]
        kept = np.bincount(rows[first], probability[first], minlength=len(candidates.indptr) - 1)
        return kept.astype(np.float64)

    without = likes(1e-300)
    some = without > 0

    def lost(weight: float) -> float:
        return float(np.mean(1.0 - likes(weight)[some] / without[some])) if some.any() else 0.0

    if lost(1.0) <= loss:
        return 1.0
    low, high = np.log(_LEAST), 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if lost(float(np.exp(middle))) <= loss else (low, middle)
    return float(np.exp(low))
