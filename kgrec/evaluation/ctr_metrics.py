"""Metrics of predicted like probabilities: AUC, per-user AUC, log loss, calibration error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from kgrec.data.interactions import IntArray
from kgrec.errors import DataError

Labels = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]


def auc(labels: Labels, scores: Scores) -> float:
    """Return the chance that a random like scores above a random dislike; a tie counts half.

    Args:
        labels: Shape (n,), bool.
        scores: Shape (n,), higher is better.

    Raises:
        DataError: Only one kind of label is there.
    """
    num_likes = int(labels.sum())
    num_dislikes = len(labels) - num_likes
    if not num_likes or not num_dislikes:
        raise DataError(f"Expected likes and dislikes for AUC, got {num_likes} and {num_dislikes}")
    above = rankdata(scores)[labels].sum() - num_likes * (num_likes + 1) / 2
    return float(above / (num_likes * num_dislikes))


def auc_of_users(
    user_idx: IntArray, labels: Labels, scores: Scores
) -> tuple[IntArray, npt.NDArray[np.float64], IntArray]:
    """Return the AUC of each user who has likes and dislikes.

    Args:
        user_idx: Shape (n,), int64, in any order.
        labels: Shape (n,), bool.
        scores: Shape (n,), higher is better.

    Returns:
        Users ascending, shape (m,); their AUC, shape (m,), float64; their rows, shape (m,).
    """
    rows = np.lexsort((scores, user_idx))
    user, label, score = user_idx[rows], labels[rows].astype(np.float64), scores[rows]
    users, start, length = np.unique(user, return_index=True, return_counts=True)
    place = np.arange(len(user)) - np.repeat(start, length) + 1.0
    new = np.ones(len(user), dtype=bool)
    new[1:] = (user[1:] != user[:-1]) | (score[1:] != score[:-1])
    group = np.cumsum(new) - 1  # equal scores of one user share their mean rank
    rank = (np.bincount(group, place) / np.bincount(group))[group] if len(user) else place
    owner = np.repeat(np.arange(len(users)), length)
    likes = np.bincount(owner, label, minlength=len(users))
    dislikes = length - likes
    both = (likes > 0) & (dislikes > 0)
    above = np.bincount(owner, rank * label, minlength=len(users)) - likes * (likes + 1) / 2
    return users[both], above[both] / (likes * dislikes)[both], length[both].astype(np.int64)


def gauc(user_idx: IntArray, labels: Labels, scores: Scores) -> float:
    """Return the mean AUC of users who have both labels, weighted by their rows.

    Raises:
        DataError: No user has both labels.

    Source: Zhou et al., Deep Interest Network for click-through rate prediction, 2018, eq. 8.
    """
    _, values, rows = auc_of_users(user_idx, labels, scores)
    if not len(values):
        raise DataError("Expected a user with likes and dislikes for gAUC, got none")
    return float(np.average(values, weights=rows))


def log_loss(labels: Labels, probabilities: Scores, floor: float = 1e-7) -> float:
    """Return the mean negative log-likelihood in nats; probabilities are kept off 0 and 1.

    Args:
        labels: Shape (n,), bool.
        probabilities: Shape (n,), predicted P(like).
        floor: Least distance from 0 and from 1.
    """
    _check_probabilities(labels, probabilities)
    p = np.clip(probabilities.astype(np.float64), floor, 1 - floor)
    return float(-np.mean(np.where(labels, np.log(p), np.log1p(-p))))


def expected_calibration_error(labels: Labels, probabilities: Scores, bins: int = 15) -> float:
    """Return the mean distance of predicted from observed like rate over bins of equal width.

    Each bin counts by its rows. Bin b holds ((b-1)/bins, b/bins], and the first holds 0 as well.

    Source: Guo et al., On calibration of modern neural networks, 2017, eq. 3.
    """
    _check_probabilities(labels, probabilities)
    p = probabilities.astype(np.float64)
    chosen = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(chosen, p - labels, minlength=bins)
    return float(np.abs(gap).sum() / len(p))


def _check_probabilities(labels: Labels, probabilities: Scores) -> None:
    if not len(labels) or labels.shape != probabilities.shape:
        raise DataError(
            "Expected as many labels as probabilities and at least one, got "
            f"{labels.shape} and {probabilities.shape}"
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise DataError("Expected probabilities in [0, 1], got others; calibrate the scores first")
