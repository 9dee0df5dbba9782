"""How a training run went; free of training code, so that serving can read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int, float], None]
"""Called as progress(step, steps, loss) after each look at validation."""


@dataclass(frozen=True)
class CurvePoint:
    """One look during training: step, mean loss since the last look, NDCG@20 or None."""

    step: int
    loss: float
    ndcg: float | None


@dataclass(frozen=True)
class FitResult:
    """What came of training; the model holds the weights of ``best_step``."""

    best_step: int
    curve: tuple[CurvePoint, ...]
