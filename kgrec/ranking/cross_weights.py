"""The scores of a cross network by plain array products; the network is cross_network.py.

One list of candidates is a small matrix: what torch does around each layer costs more than the
layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf, softmax

from kgrec.data.interactions import FloatArray
from kgrec.ranking.piecewise import places_of

Layer = tuple[FloatArray, FloatArray]


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
            for layer in self.deep:
                hidden = _gelu(_linear(hidden, layer))
            score += _linear(hidden, self.deep_output)
        return score[:, 0]


def _linear(values: FloatArray, layer: Layer) -> FloatArray:
    weight, bias = layer
    return np.asarray(values @ weight.T + bias)


def _gelu(values: FloatArray) -> FloatArray:
    half = np.float32(0.5)
    return np.asarray(half * values * (1 + erf(values * np.sqrt(half))), dtype=np.float32)
