"""How far a feature's value has come through pieces of its range: what an MLP reads steps from."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from kgrec.data.interactions import FloatArray

LEAST_WIDTH = 0.05  # of a piece, in deviations: rounding must not jump from 0 to 1
_SAMPLE_ROWS = 40_000


class PiecewiseLinear(nn.Module):
    """x_f -> clip((x_f - e_fb) / (e_f,b+1 - e_fb), 0, 1) for each piece b of feature f.

    The edges e_f are quantiles of the training values. Where two meet, the piece is a steep ramp.

    Source: Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning,
    NeurIPS 2022, section 3.2; the outer pieces end at 0 and 1 here too.
    """

    edges: torch.Tensor

    def __init__(self, num_features: int, pieces: int) -> None:
        super().__init__()
        self.width = num_features * pieces
        self.register_buffer("edges", torch.zeros(num_features, pieces + 1))

    def place(self, features: FloatArray) -> None:
        """Set the edges from training values, shape (n, F)."""
        step = max(len(features) // _SAMPLE_ROWS, 1)
        share = np.linspace(0.0, 1.0, self.edges.shape[1])
        edges = np.quantile(features[::step], share, axis=0).T
        self.edges.copy_(torch.from_numpy(np.ascontiguousarray(edges, dtype=np.float32)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the places of n rows of F features, shape (n, F * pieces)."""
        start, stop = self.edges[:, :-1], self.edges[:, 1:]
        width = (stop - start).clamp(min=LEAST_WIDTH)
        return ((features.unsqueeze(2) - start) / width).clamp(0.0, 1.0).flatten(1)


def places_of(features: FloatArray, edges: FloatArray) -> FloatArray:
    """Return what ``PiecewiseLinear`` gives, by numpy.

    Args:
        features: Shape (n, F).
        edges: Shape (F, pieces + 1).
    """
    start, stop = edges[:, :-1], edges[:, 1:]
    places = features[:, :, None] - start
    places /= np.maximum(stop - start, np.float32(LEAST_WIDTH))
    return np.clip(places, 0.0, 1.0, out=places).reshape(len(features), edges.size - len(edges))
