"""What lists are like beyond hits: coverage, concentration, novelty, diversity, popularity bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, IntArray, Interactions
from kgrec.evaluation.metrics import MetricArray


@dataclass(frozen=True)
class CatalogueFacts:
    """What is known of each item from training, for metrics beyond accuracy.

    Attributes:
        popularity: Shape (num_items,), float64: the number of train users who liked the item.
        num_users: Train users with a like.
        features: Shape (num_items, dim), float32, rows of length 1 or 0 (nothing known): what the
            similarity of two items is taken from.
    """

    popularity: npt.NDArray[np.float64]
    num_users: int
    features: sparse.csr_matrix


def catalogue_facts(
    train: Interactions, num_items: int, features: sparse.spmatrix | npt.NDArray[np.float32]
) -> CatalogueFacts:
    """Return the facts of a catalogue.

    Args:
        train: Events that the model was trained on.
        num_items: Size of the catalogue.
        features: Shape (num_items, dim): graph neighbours (item_entity_matrix) or text vectors;
            their rows are brought to length 1.
    """
    likes = train.positives()
    pairs = np.unique(likes.user_idx * num_items + likes.item_idx)
    matrix = sparse.csr_matrix(features, dtype=np.float32)
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return CatalogueFacts(
        popularity=np.bincount(pairs % num_items, minlength=num_items).astype(np.float64),
        num_users=len(np.unique(likes.user_idx)),
        features=sparse.csr_matrix(sparse.diags(scale.astype(np.float32)) @ matrix),
    )


def list_metrics(
    top_items: IntArray, histories: HistoryBatch, facts: CatalogueFacts, k: int
) -> dict[str, MetricArray]:
    """Return novelty, popularity, popularity lift and intra-list diversity for each user.

    Args:
        top_items: Shape (B, k), int64, -1 where a list is shorter.
        histories: The same B users.
        facts: As of training.
        k: The cutoff, for the names.

    Returns:
        Name -> shape (B,), float64. "novelty@k": mean self-information in bits (Zhou et al. 2010).
        "popularity@k": mean share of train users who liked a listed item. "popularity_lift@k":
        that share less the same mean over what the user liked before, 0 where he liked nothing
        (after Abdollahpouri et al. 2019, as a difference). "diversity@k": mean of 1 - cosine over
        pairs of listed items, 0 for lists of fewer than two. Empty lists give 0 throughout.
    """
    listed = top_items >= 0
    count = np.maximum(listed.sum(axis=1), 1)
    share = facts.popularity / max(facts.num_users, 1)
    # one more user who likes everything keeps an unseen item at a finite novelty
    bits = -np.log2((facts.popularity + 1) / (facts.num_users + 1))
    popularity = (share[top_items] * listed).sum(axis=1) / count
    liked = histories.positive
    rows = histories.row_of_event[liked]
    num_liked = np.bincount(rows, minlength=len(histories))
    before = np.bincount(rows, share[histories.item_idx[liked]], minlength=len(histories))
    lift = np.where(
        (num_liked > 0) & listed.any(axis=1), popularity - before / np.maximum(num_liked, 1), 0.0
    )
    return {
        f"novelty@{k}": (bits[top_items] * listed).sum(axis=1) / count,
        f"popularity@{k}": popularity,
        f"popularity_lift@{k}": lift,
        f"diversity@{k}": _diversity(top_items, listed, facts.features),
    }


def _diversity(top_items: IntArray, listed: BoolArray, features: sparse.csr_matrix) -> MetricArray:
    """Return 1 - mean cosine over pairs: the squared length of a sum holds all the products."""
    rows = np.repeat(np.arange(len(top_items)), listed.sum(axis=1))
    ones = np.ones(len(rows), dtype=np.float32)
    shape = (len(top_items), features.shape[0])
    total = sparse.csr_matrix((ones, (rows, top_items[listed])), shape=shape) @ features
    squared = np.asarray(total.multiply(total).sum(axis=1)).ravel().astype(np.float64)
    own = np.asarray(features.multiply(features).sum(axis=1)).ravel().astype(np.float64)
    itself = (own[top_items] * listed).sum(axis=1)
    length = listed.sum(axis=1)
    ordered_pairs = np.maximum(length * (length - 1), 1)
    return np.where(length > 1, 1.0 - (squared - itself) / ordered_pairs, 0.0)


def coverage(counts: npt.NDArray[Any], num_ranked: int) -> float:
    """Return the share of the ranked items that stand in at least one list.

    Args:
        counts: How often items are listed; items never listed may be left out.
        num_ranked: Number of items that could be recommended.
    """
    return float(np.count_nonzero(counts) / num_ranked)


def gini(counts: npt.NDArray[Any], num_ranked: int) -> float:
    """Return the Gini coefficient of how often items are listed: 0 all alike, to 1 one item only.

    Args:
        counts: How often items are listed; items never listed may be left out.
        num_ranked: Number of items that could be recommended.
    """
    listed = np.sort(counts[counts > 0]).astype(np.float64)
    if not len(listed):
        return 0.0
    places = np.arange(num_ranked - len(listed) + 1, num_ranked + 1)
    return float((2 * places - num_ranked - 1) @ listed / (num_ranked * listed.sum()))


def set_metrics(
    lists: npt.NDArray[Any], num_ranked: int, weights: npt.NDArray[Any] | None = None
) -> dict[str, float]:
    """Return coverage and Gini of all lists together.

    Args:
        lists: Shape (B, k), -1 where a list is shorter.
        num_ranked: Number of items that could be recommended.
        weights: Shape (B,): how often each list counts, for resampling; None for once.

    Returns:
        "coverage@k" and "gini@k".
    """
    k = lists.shape[1]
    listed = lists >= 0
    _, place = np.unique(lists[listed], return_inverse=True)
    each = None if weights is None else np.repeat(weights, listed.sum(axis=1))
    counts = np.bincount(place, weights=each)
    return {f"coverage@{k}": coverage(counts, num_ranked), f"gini@{k}": gini(counts, num_ranked)}
