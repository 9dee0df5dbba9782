"""Vectors of items that the data set brings: of pictures, sounds, or any other embedding."""

from __future__ import annotations

import numpy as np
import polars as pl

from kgrec.data.interactions import FloatArray


def about_mean(vectors: FloatArray, catalogue: FloatArray | None = None) -> FloatArray:
    """Return vectors less the catalogue's mean, at unit length; rows of zeros, no vector, stay so.

    What all have in common hides what tells them apart.

    Args:
        vectors: Shape (n, D), as the data set has them.
        catalogue: Shape (num_items, D), where they come beside a catalogue; None: they are one.
    """
    told = vectors if catalogue is None else catalogue
    count = int((told != 0).any(axis=1).sum())
    mean = told.sum(axis=0, dtype=np.float64) / max(count, 1)
    there = (vectors != 0).any(axis=1, keepdims=True)
    moved = np.where(there, vectors - mean, 0.0)
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.maximum(length, 1e-9), dtype=np.float32)


def vector_column(vectors: FloatArray) -> pl.Series:
    """Return vectors as a column of a table of items, null where there is none."""
    there = (vectors != 0).any(axis=1)
    lists = pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).arr.to_list()
    return lists.set(pl.Series(~there), None)
