"""Where a score stands among a source's best for the same user: standardised score and rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.compiled import compiled

RankArray = npt.NDArray[np.int32]
Z_LIMIT = 12.0
EQUAL = 1e-6  # scores closer than this share of theirs are equal but for rounding


def standing_of(
    best: FloatArray, rows: IntArray, scores: FloatArray
) -> tuple[FloatArray, RankArray]:
    """Return standardised scores and ranks of pairs against each user's best scores.

    Args:
        best: Shape (B, depth), descending, -inf where there are fewer.
        rows: Shape (n,), the user of each pair.
        scores: Shape (n,); -inf (an item of the history) counts as the worst of ``best``.
    """
    z = np.empty(len(scores), dtype=np.float32)
    rank = np.empty(len(scores), dtype=np.int32)
    _standing(best, rows, np.asarray(scores, dtype=np.float32), z, rank)
    return z, rank


@compiled
def _standing(best: Any, rows: Any, scores: Any, z: Any, rank: Any) -> None:
    count, depth = best.shape
    mean, deviation, worst = np.empty(count), np.empty(count), np.empty(count)
    for row in range(count):
        known, total = 0, 0.0
        while known < depth and best[row, known] > -np.inf:  # descending: -inf stands last
            total += best[row, known]
            known += 1
        mean[row] = total / max(known, 1)
        squares, worst[row] = 0.0, 0.0
        for place in range(known):
            squares += (best[row, place] - mean[row]) ** 2
        if known:
            # a list that ends early ends with what nothing speaks for
            worst[row] = best[row, known - 1] if known == depth else min(best[row, known - 1], 0.0)
        deviation[row] = np.sqrt(squares / max(known, 1))
        if deviation[row] <= max(EQUAL * abs(mean[row]), 1e-9):
            deviation[row] = np.inf
    for pair in range(len(scores)):
        row, score = rows[pair], scores[pair]
        finite = np.float64(score) if score > -np.inf else worst[row]
        standing = (finite - mean[row]) / deviation[row]
        z[pair] = min(max(standing, -Z_LIMIT), Z_LIMIT)
        low, high, equal = 0, depth, score + EQUAL * abs(finite)
        while low < high:  # 1 + the number of strictly better scores
            middle = (low + high) // 2
            if best[row, middle] > equal:
                low = middle + 1
            else:
                high = middle
        rank[pair] = low + 1
