"""Accuracy of ranked lists, for each user apart; means and intervals are for statistics.py.

All metrics are binary and follow trec_eval: recall, average precision and the ideal of NDCG refer
to all the targets of the user, not to the first k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import BoolArray, IntArray

MetricArray = npt.NDArray[np.float64]

METRICS = ("recall", "ndcg", "mrr", "hit_rate", "precision", "map")


def hits_of(top_items: IntArray, target_indptr: IntArray, target_items: IntArray) -> BoolArray:
    """Return which places of each list hold a target.

    Args:
        top_items: Shape (B, K), int64, best first, -1 where a list is shorter; no item twice.
        target_indptr: Shape (B + 1,), int64.
        target_items: Shape (num_targets,), int64; no item twice for a user.

    Returns:
        Shape (B, K), bool.
    """
    rows = np.repeat(np.arange(len(top_items)), np.diff(target_indptr))
    width = max(int(top_items.max(initial=0)), int(target_items.max(initial=0))) + 1
    listed = np.arange(len(top_items))[:, None] * width + top_items
    found: BoolArray = np.isin(listed, rows * width + target_items) & (top_items >= 0)
    return found


def recall(hits: BoolArray, num_targets: IntArray, k: int) -> MetricArray:
    """Return the share of each user's targets in the first k places, shape (B,).

    Args:
        hits: Shape (B, K), K >= k where the lists were asked for k items.
        num_targets: Shape (B,), at least 1.
        k: Ranking cutoff.
    """
    return np.asarray(hits[:, :k].sum(axis=1) / num_targets)


def precision(hits: BoolArray, num_targets: IntArray, k: int) -> MetricArray:
    """Return the share of the k places that hold a target, shape (B,); short lists count as k."""
    return np.asarray(hits[:, :k].sum(axis=1) / k)


def hit_rate(hits: BoolArray, num_targets: IntArray, k: int) -> MetricArray:
    """Return 1 where any of the first k places holds a target, else 0, shape (B,)."""
    return np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)


def mrr(hits: BoolArray, num_targets: IntArray, k: int) -> MetricArray:
    """Return 1 / rank of the first target (1-based), 0 where it is not among k, shape (B,)."""
    first = hits[:, :k].argmax(axis=1) + 1
    return np.where(hits[:, :k].any(axis=1), 1.0 / first, 0.0)


def average_precision(hits: BoolArray, num_targets: IntArray, k: int) -> MetricArray:
    r"""Return the average precision at k, shape (B,).

    .. math:: AP@k = \frac{1}{|T_u|} \sum_{r=1}^{k} hit_r \cdot precision@r
    """
    found = hits[:, :k]
    ranks = np.arange(1, found.shape[1] + 1)
    precisions = np.cumsum(found, axis=1) / ranks
    return np.asarray((precisions * found).sum(axis=1) / num_targets)


def ndcg(hits: BoolArray, num_targets: IntArray, k: int) -> MetricArray:
    r"""Return the normalised discounted cumulative gain at k, binary gains, shape (B,).

    .. math:: NDCG@k = \sum_{r=1}^{k} \frac{hit_r}{\log_2(r+1)} \Big/
        \sum_{r=1}^{\min(k, |T_u|)} \frac{1}{\log_2(r+1)}

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002.
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    found = hits[:, :k]
    gain = (found * discount[: found.shape[1]]).sum(axis=1)  # not BLAS: a row's sum stands alone
    ideal = np.cumsum(discount)[np.minimum(num_targets, k) - 1]
    return np.asarray(gain / ideal)


_FUNCTIONS = {
    "recall": recall,
    "ndcg": ndcg,
    "mrr": mrr,
    "hit_rate": hit_rate,
    "precision": precision,
    "map": average_precision,
}


def ranking_metrics(
    top_items: IntArray, target_indptr: IntArray, target_items: IntArray, ks: Sequence[int]
) -> dict[str, MetricArray]:
    """Return every metric at every cutoff for each user.

    Args:
        top_items: Shape (B, K), int64, best first, -1 where a list is shorter; K >= max(ks), or
            all there is.
        target_indptr: Shape (B + 1,), int64; every user has a target.
        target_items: Shape (num_targets,), int64.
        ks: Ranking cutoffs.

    Returns:
        "recall@10" and so on -> shape (B,), float64, in [0, 1].

    Example:
        >>> import numpy as np
        >>> found = ranking_metrics(np.array([[3, 1]]), np.array([0, 2]), np.array([1, 7]), [2])
        >>> float(found["recall@2"][0]), float(found["mrr@2"][0])
        (0.5, 0.5)
    """
    hits = hits_of(top_items, target_indptr, target_items)
    num_targets = np.diff(target_indptr)
    return {f"{name}@{k}": _FUNCTIONS[name](hits, num_targets, k) for k in ks for name in METRICS}
