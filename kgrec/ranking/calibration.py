"""Scores to probabilities: a logistic curve fitted on held-out lists (Platt), strictly rising."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray


@dataclass(frozen=True)
class Calibration:
    """p = sigmoid(slope * score + intercept).

    Attributes:
        slope: Above 0, so that the order of scores is kept.
        intercept: Log-odds at score 0.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def log_odds(self, scores: FloatArray) -> npt.NDArray[np.float64]:
        """Return slope * score + intercept, float64."""
        return np.asarray(self.slope * scores.astype(np.float64) + self.intercept)

    def probabilities(self, scores: FloatArray) -> FloatArray:
        """Return the probability of a positive for each score, shape (n,), float32."""
        odds = self.log_odds(scores)
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)), dtype=np.float32)


def fit_calibration(
    scores: FloatArray, label: FloatArray, *, steps: int = 50, ridge: float = 1e-3
) -> Calibration:
    """Return the logistic curve of largest likelihood, with Platt's smoothed targets.

    Newton's method on two parameters; the slope is held above 0.

    Args:
        scores: Shape (n,), of rows that the ranker did not learn from.
        label: Shape (n,), 1 or 0.
        steps: Largest number of Newton steps.
        ridge: L2 weight on the slope's distance from 1 over the standard deviation of the scores.

    Source: J. Platt, Probabilistic outputs for support vector machines, 1999.
    """
    positive, total = float(label.sum()), len(label)
    if total == 0:
        return Calibration()
    high = (positive + 1.0) / (positive + 2.0)
    low = 1.0 / (total - positive + 2.0)
    target = np.where(label > 0, high, low)
    spread = float(np.std(scores)) or 1.0
    centre = float(np.mean(scores))
    x = (scores.astype(np.float64) - centre) / spread
    slope, intercept = 1.0, float(np.log((positive + 1.0) / (total - positive + 1.0)))
    for _ in range(steps):
        p = 0.5 * (1.0 + np.tanh(0.5 * (slope * x + intercept)))
        error, curve = p - target, p * (1.0 - p)
        gradient = np.array([error @ x + ridge * (slope - 1.0), error.sum()])
        mixed = curve @ x
        hessian = np.array([[curve @ (x * x) + ridge, mixed], [mixed, curve.sum() + 1e-9]])
        step = np.linalg.solve(hessian, gradient)
        size = max(1.0, float(np.abs(step).max()))
        slope, intercept = max(slope - step[0] / size, 1e-3), intercept - step[1] / size
        if np.abs(step).max() < 1e-8:
            break
    return Calibration(slope / spread, intercept - slope * centre / spread)


def expected_calibration_error(
    probabilities: FloatArray, label: FloatArray, bins: int = 15
) -> float:
    """Return the mean of |mean probability - share of positives| over bins of equal count."""
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(order, bins)
    gaps = [
        len(part) * abs(float(probabilities[part].mean()) - float(label[part].mean()))
        for part in parts
        if len(part)
    ]
    return sum(gaps) / max(len(order), 1)
