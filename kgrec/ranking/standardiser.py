"""Feature scaling for rankers that are not trees: zero mean, unit deviation, clipped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kgrec.data.interactions import FloatArray
from kgrec.models.compiled import compiled

CLIP = 5.0


@dataclass(frozen=True)
class Standardiser:
    """x -> clip((x - mean) / deviation, +-CLIP); a constant feature becomes 0.

    Attributes:
        mean, deviation: Shape (F,), float32; deviation is 0 for a constant feature.
    """

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def fit(cls, values: FloatArray) -> Standardiser:
        """Return the scaling of a feature matrix, shape (n, F)."""
        mean = values.mean(axis=0, dtype=np.float64)
        deviation = values.std(axis=0, dtype=np.float64)
        constant = deviation < 1e-6 * (1.0 + np.abs(mean))
        deviation[constant] = 0.0
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    @cached_property
    def scale(self) -> FloatArray:
        """Shape (F,), float32: 1 / deviation, 0 for a constant feature."""
        varies = self.deviation > 0
        return np.where(varies, 1.0 / np.where(varies, self.deviation, 1), 0).astype(np.float32)

    def apply(self, values: FloatArray) -> FloatArray:
        """Return the scaled features, shape (n, F), float32."""
        scaled = np.empty(values.shape, dtype=np.float32)
        _write_scaled(np.asarray(values, dtype=np.float32), self.mean, self.scale, scaled)
        return scaled


@compiled
def _write_scaled(values: Any, mean: Any, scale: Any, out: Any) -> None:
    most = np.float32(CLIP)
    for row in range(len(values)):
        for column in range(len(mean)):
            scaled = (values[row, column] - mean[column]) * scale[column]
            out[row, column] = min(max(scaled, -most), most)
