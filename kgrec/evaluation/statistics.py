"""Uncertainty over users: bootstrap intervals and paired tests; seeded and vectorised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from kgrec.errors import DataError
from kgrec.evaluation.metrics import MetricArray

RESAMPLES = 2000
_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Interval:
    """A value with its interval; both ends belong to it."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Return whether a value lies outside."""
        return value < self.low or value > self.high


@dataclass(frozen=True)
class PairedTest:
    """Whether A differs from B for the same users.

    Attributes:
        difference: Mean of A - B with its 95 % bootstrap interval.
        relative: That mean divided by the mean of B; NaN where B is 0 throughout.
        p_bootstrap: Two-sided; how often resampled means lie on the other side of 0.
        p_wilcoxon: Two-sided signed-rank test; 1 where no user differs.
        num_users: Number of pairs.
    """

    difference: Interval
    relative: float
    p_bootstrap: float
    p_wilcoxon: float
    num_users: int


def bootstrap_intervals(
    values: npt.ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> list[Interval]:
    """Return the percentile bootstrap interval of the mean over users for each column.

    Args:
        values: Shape (num_users, num_metrics), one row for each user, finite.
        seed: Seed of the resampling; the same resamples for every column.
        resamples: Number of bootstrap samples.
        confidence: Share of resampled means inside the interval.

    Returns:
        One interval for each column.

    Raises:
        DataError: There is no user, or a value is not finite.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    table = np.asarray(values, dtype=np.float64)
    _check(table)
    means = _resampled_means(table, seed, resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [
        Interval(float(value), float(a), float(b))
        for value, a, b in zip(table.mean(axis=0), low, high, strict=True)
    ]


def bootstrap_interval(
    values: npt.ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Return the percentile bootstrap interval of the mean of one value per user, shape (B,)."""
    column = np.asarray(values, dtype=np.float64)[:, None]
    return bootstrap_intervals(column, seed=seed, resamples=resamples, confidence=confidence)[0]


def set_interval(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    num_users: int,
    *,
    seed: int = 0,
    resamples: int = 200,
) -> Interval:
    """Return a normal 95 % interval, with the bootstrap's standard error, for a value of a set.

    Coverage and Gini are not means over users: a resample holds only some 63 % of the users, so
    its coverage is lower throughout, and the percentile interval would leave out the value.

    Args:
        statistic: From how often each user counts, shape (num_users,), to the value.
        num_users: Number of users.
        seed: Seed of the resampling.
        resamples: Number of bootstrap samples.
    """
    rng = np.random.default_rng(seed)
    chances = np.full(num_users, 1 / num_users)
    sampled = [statistic(rng.multinomial(num_users, chances)) for _ in range(resamples)]
    value = statistic(np.ones(num_users, dtype=np.int64))
    margin = float(stats.norm.ppf(0.975)) * float(np.std(sampled, ddof=1))
    return Interval(value, value - margin, value + margin)


def paired_test(
    a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> PairedTest:
    """Return whether A differs from B, user by user.

    Args:
        a: Shape (B,), the metric of A for each user.
        b: Shape (B,), that of B for the same users in the same order.
        seed: Seed of the resampling.
        resamples: Number of bootstrap samples; the smallest p is 2 / (resamples + 1).

    Raises:
        DataError: The users differ in number, there are none, or a value is not finite.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(
            f"Expected two arrays of shape (num_users,) for a paired test, got {first.shape} and "
            f"{second.shape}; evaluate both on the same task"
        )
    difference = first - second
    _check(difference[:, None])
    means = _resampled_means(difference[:, None], seed, resamples)[:, 0]
    low, high = np.quantile(means, [0.025, 0.975])
    # the sample itself counts as one resample: p is never 0
    one_sided = min((means <= 0).sum() + 1, (means >= 0).sum() + 1) / (resamples + 1)
    differs = bool(np.any(difference != 0))
    base = float(second.mean())
    return PairedTest(
        difference=Interval(float(difference.mean()), float(low), float(high)),
        relative=float(difference.mean()) / base if base else float("nan"),
        p_bootstrap=float(min(1.0, 2 * one_sided)),
        p_wilcoxon=_wilcoxon(difference) if differs else 1.0,
        num_users=len(difference),
    )


def mean_over_seeds(arrays: Sequence[npt.ArrayLike]) -> MetricArray:
    """Return each user's mean over runs with several seeds, shape (B,).

    Raises:
        DataError: The runs were not asked about the same number of users.
    """
    shapes = {np.shape(array) for array in arrays}
    if len(shapes) != 1:
        raise DataError(f"Expected runs over the same users, got shapes {sorted(shapes)}")
    return np.asarray(np.mean(np.asarray(arrays, dtype=np.float64), axis=0))


def _wilcoxon(difference: MetricArray) -> float:
    # "zsplit" lets users without a difference count for neither side instead of leaving them out
    rounded = np.round(difference, 12)
    result = stats.wilcoxon(rounded, zero_method="zsplit", method="asymptotic")
    return float(result.pvalue)


def _resampled_means(table: MetricArray, seed: int, resamples: int) -> npt.NDArray[np.float64]:
    """Return shape (resamples, num_metrics); counts come in blocks, so memory stays bounded."""
    return np.concatenate(
        [counts @ table / len(table) for counts in _counts(len(table), seed, resamples)]
    )


def _counts(num_users: int, seed: int, resamples: int) -> Iterator[npt.NDArray[Any]]:
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_BYTES // (8 * num_users))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, num_users, size=(size, num_users))
        drawn += np.arange(size)[:, None] * num_users
        yield np.bincount(drawn.ravel(), minlength=size * num_users).reshape(size, num_users)


def _check(table: MetricArray) -> None:
    if not len(table):
        raise DataError("Expected at least one user, got none; there is nothing to resample")
    if not np.isfinite(table).all():
        raise DataError("Expected finite values for each user, got NaN or infinity")
