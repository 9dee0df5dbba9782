"""Where a score stands among a source's best for the same user: standardised score and rank."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray, IntArray

RankArray = npt.NDArray[np.int32]
Z_LIMIT = 12.0


def standing_of(
    best: FloatArray, rows: IntArray, scores: FloatArray
) -> tuple[FloatArray, RankArray]:
    """Return standardised scores and ranks of pairs against each user's best scores.

    Args:
        best: Shape (B, depth), descending, -inf where there are fewer.
        rows: Shape (n,), the user of each pair.
        scores: Shape (n,); -inf (an item of the history) counts as the worst of ``best``.
    """
    known = np.isfinite(best)
    count = np.maximum(known.sum(axis=1), 1)
    filled = np.where(known, best, 0.0).astype(np.float64)
    mean = filled.sum(axis=1) / count
    spread = np.where(known, best - mean[:, None], 0.0)
    deviation = np.sqrt((spread**2).sum(axis=1) / count)
    safe = deviation > 1e-9 * (1.0 + np.abs(mean))
    finite = np.where(np.isfinite(scores), scores, filled.min(axis=1)[rows])
    z = np.where(safe[rows], (finite - mean[rows]) / np.where(safe, deviation, 1.0)[rows], 0.0)
    rank = rank_among(best, rows, np.asarray(scores, dtype=np.float32))
    return np.clip(z, -Z_LIMIT, Z_LIMIT).astype(np.float32), rank


@numba.njit(cache=True, nogil=True)
def rank_among(best: FloatArray, rows: IntArray, scores: FloatArray) -> RankArray:
    """Return 1 + the number of strictly better scores in the pair's row of ``best``.

    Args:
        best: Shape (B, depth), descending.
        rows: Shape (n,), the row of each score.
        scores: Shape (n,).
    """
    out = np.empty(len(scores), dtype=np.int32)
    for pair in range(len(scores)):
        low, high = 0, best.shape[1]
        while low < high:
            middle = (low + high) // 2
            if best[rows[pair], middle] > scores[pair]:
                low = middle + 1
            else:
                high = middle
        out[pair] = low + 1
    return out
