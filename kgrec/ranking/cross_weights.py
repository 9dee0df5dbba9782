"""The scores of a cross network by plain array products; the network is cross_network.py.

One list of candidates is a small matrix: what torch does around each layer costs more than the
layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from kgrec.data.interactions import FloatArray
from kgrec.models.compiled import compiled_fast
from kgrec.ranking.piecewise import places_of

Layer = tuple[FloatArray, FloatArray]
_ROWS_AT_A_TIME = 512  # what the layers make of so many rows stays in the caches
# erf(x) ~ x P(x^2) / Q(x^2) for |x| <= 4, highest power first; beyond it float32 says +-1
_ABOVE = np.array(
    [
        -2.72614225801306e-10,
        2.77068142495902e-08,
        -2.10102402082508e-06,
        -5.69250639462346e-05,
        -7.34990630326855e-04,
        -2.95459980854025e-03,
        -1.60960333262415e-02,
    ],
    dtype=np.float32,
)
_BELOW = np.array(
    [
        -1.45660718464996e-05,
        -2.13374055278905e-04,
        -1.68282697438203e-03,
        -7.37332916720468e-03,
        -1.42647390514189e-02,
    ],
    dtype=np.float32,
)


@dataclass(frozen=True)
class CrossWeights:
    """Weights of a CrossNetwork, which says what they mean.

    Attributes:
        down: Shape (experts * rank, F), for each cross layer.
        up: Weight (F, experts * rank) and bias (F,), for each cross layer.
        gate: Weight (experts, F) and bias (experts,), for each cross layer; none for one expert.
        deep: Weight (out, in) and bias (out,) of each layer of the MLP.
        shallow_output: Weight (1, F) and bias (1,) on what was crossed.
        deep_output: Weight (1, width) and bias (1,) on the MLP; None where there is none.
        stacked: Whether the MLP reads what was crossed.
        edges: Shape (F, pieces + 1), of PiecewiseLinear; None where the MLP reads values alone.
    """

    down: tuple[FloatArray, ...]
    up: tuple[Layer, ...]
    gate: tuple[Layer, ...]
    deep: tuple[Layer, ...]
    shallow_output: Layer
    deep_output: Layer | None
    stacked: bool
    edges: FloatArray | None = None

    def scores(self, features: FloatArray) -> FloatArray:
        """Return the scores of n rows of standardised features (n, F), shape (n,), float32."""
        scores = np.empty(len(features), dtype=np.float32)
        for start in range(0, len(features), _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            scores[rows] = self._scores(features[rows])
        return scores

    def _scores(self, features: FloatArray) -> FloatArray:
        crossed = features
        for place, (down, up) in enumerate(zip(self.down, self.up, strict=True)):
            low = crossed @ down.T
            if self.gate:
                gate = softmax(_linear(crossed, self.gate[place]), axis=1)
                low *= np.repeat(gate, low.shape[1] // gate.shape[1], axis=1)
            crossed = features * _linear(low, up) + crossed
        score = _linear(crossed, self.shallow_output)
        if self.deep_output is not None:
            hidden = crossed if self.stacked else features
            if self.edges is not None:
                hidden = np.concatenate([hidden, places_of(features, self.edges)], axis=1)
            for weight, bias in self.deep:
                hidden = np.ascontiguousarray(hidden @ weight.T, dtype=np.float32)
                _add_and_gelu(hidden, bias, _ABOVE, _BELOW)
            score += _linear(hidden, self.deep_output)
        return score[:, 0]


def _linear(values: FloatArray, layer: Layer) -> FloatArray:
    weight, bias = layer
    return np.asarray(values @ weight.T + bias)


@compiled_fast
def _add_and_gelu(values: Any, bias: Any, above: Any, below: Any) -> None:
    """Turn each value v (n, width), the bias added, into v (1 + erf(v / sqrt(2))) / 2, in place.

    Source: the rational approximation of erf of Eigen and XLA, to the last digits of float32.
    """
    root, most = np.float32(np.sqrt(0.5)), np.float32(4.0)
    for row in range(len(values)):
        for column in range(len(bias)):
            value = values[row, column] + bias[column]
            x = min(max(value * root, -most), most)
            square = x * x
            p, q = above[0], below[0]
            for power in range(1, 7):
                p = p * square + above[power]
            for power in range(1, 5):
                q = q * square + below[power]
            values[row, column] = np.float32(0.5) * value * (np.float32(1.0) + x * p / q)
