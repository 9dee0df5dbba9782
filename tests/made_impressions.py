"""GENERATED logs of impressions with known click and conversion probabilities; no data of anybody.

What is clicked is what would be bought: both come from the same hidden tastes. Three clicks in four
become a conversion, but of all that is shown only one in three would, so that clicks alone tell of
another population than the one that is asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kgrec.data.interactions import FloatArray
from kgrec.ranking.ranker import RankingRows


@dataclass(frozen=True)
class MadeImpressions:
    """Impressions and their truth.

    Attributes:
        rows: Features, clicks and conversions, in lists of one user.
        click: Shape (n,), float32: true P(click).
        conversion: Shape (n,), float32: true P(conversion | click).
    """

    rows: RankingRows
    click: FloatArray
    conversion: FloatArray


def made_impressions(
    lists: int, seed: int, size: int = 40, num_features: int = 40
) -> MadeImpressions:
    """Return ``lists`` lists of ``size`` impressions each."""
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(77)  # the same for every seed
    x = rng.normal(size=(lists * size, num_features)).astype(np.float32)
    directions = world.normal(size=(num_features, 4)) / num_features**0.5
    hidden = np.tanh(1.5 * x @ directions)
    tastes = np.stack([hidden[:, 0] * hidden[:, 1], hidden[:, 2] - hidden[:, 3]], axis=1)
    click = _sigmoid(-3.2 - 2.5 * tastes[:, 0] + 1.0 * tastes[:, 1])
    conversion = _sigmoid(-1.0 - 3.0 * tastes[:, 0] + 1.5 * tastes[:, 1])
    clicked = rng.random(len(x)) < click
    bought = clicked & (rng.random(len(x)) < conversion)
    rows = RankingRows(
        tuple(f"x{place}" for place in range(num_features)),
        x,
        np.arange(0, len(x) + 1, size),
        clicked.astype(np.float32),
        clicked.reshape(lists, size).sum(axis=1),
        conversion=bought.astype(np.float32),
    )
    return MadeImpressions(rows, click.astype(np.float32), conversion.astype(np.float32))


def _sigmoid(odds: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)))
