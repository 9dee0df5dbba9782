"""First weights of what projects vectors from an encoder, or from outside, into the towers."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_directions(vectors: Tensor, dim: int) -> Tensor:
    """Return first weights of a projection of vectors, shape (dim, num_columns).

    The principal directions of the catalogue's texts keep most of their cosines, so that an item
    with text alone starts where plain text similarity stands. Directions beyond the rank of the
    vectors are zero.

    Args:
        vectors: Shape (num_rows, num_columns), texts of items, names of entities or the like.
        dim: Directions wanted.
    """
    directions = torch.zeros(dim, vectors.shape[1])
    if vectors.shape[1]:
        _, found = torch.linalg.eigh((vectors.T @ vectors).to(torch.float64))
        count = min(dim, vectors.shape[1])
        directions[:count] = found.flip(1)[:, :count].T.to(torch.float32)
    return directions
