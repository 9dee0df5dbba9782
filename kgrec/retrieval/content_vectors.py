"""Vectors of items from what is known before any interaction: text, graph, numbers.

Text vectors come from an encoder (kgrec.models); where none is given, hashed words stand in.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
from scipy import sparse

from kgrec.data.dataset import Items
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import FloatArray

_WORD = re.compile(r"[^\W\d_]{2,}")
_HASH_BITS = 15
GRAPH_DIM = 128
"""Length of the vectors of what entities an item touches, where nobody says otherwise."""


def centred(vectors: FloatArray) -> FloatArray:
    """Return rows minus the catalogue mean, at unit length; rows of zeros (no text) stay zero.

    The mean carries what all texts share; without it similarities tell items apart better.

    Args:
        vectors: Shape (num_items, dim).
    """
    known = np.abs(vectors).sum(axis=1) > 0
    moved = np.zeros(vectors.shape, dtype=np.float32)
    if known.any():
        moved[known] = vectors[known] - vectors[known].mean(axis=0)
    return unit_rows(moved)


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Return rows at unit length, rows of zeros left as they are, float32."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 1e-12, length, 1.0), dtype=np.float32)


def hashed_text_vectors(items: Items, dim: int = 128, seed: int = 0) -> FloatArray:
    """Return vectors of the items' texts by hashed words, tf-idf and a truncated SVD.

    The stand-in where no encoder's vectors are given.

    Args:
        items: Catalogue.
        dim: Length of a vector; fewer where there are few items.
        seed: Seed of the SVD's start vector.

    Returns:
        Shape (num_items, min(dim, num_items - 1)), float32; zeros where the text is empty.
    """
    rows, columns = [], []
    for row, text in enumerate(items.texts):
        for word in _WORD.findall(str(text).lower()):
            rows.append(row)
            columns.append(zlib.crc32(word.encode()) & ((1 << _HASH_BITS) - 1))
    shape = (len(items.ids), 1 << _HASH_BITS)
    counts = sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape)
    counts.sum_duplicates()
    counts.data = 1.0 + np.log(counts.data)
    return truncated_svd(_idf_weighted(counts), dim, seed)


@lru_cache(maxsize=4)
def graph_vectors(graph: KnowledgeGraph, dim: int = GRAPH_DIM, seed: int = 0) -> FloatArray:
    """Return vectors of the items from the entities they touch: idf weights, truncated SVD.

    Kept for the last graphs asked about: every window of a cross-fitted pipeline asks about one.

    Returns:
        Shape (num_items, d), d <= dim, float32, read-only; zeros for an item without triples.
    """
    touched = graph.item_entity_matrix()
    touched.data[:] = 1.0
    vectors = truncated_svd(_idf_weighted(touched), dim, seed)
    vectors.setflags(write=False)
    return vectors


def number_vectors(
    values: FloatArray, knots: int = 0, catalogue: FloatArray | None = None
) -> FloatArray:
    """Return vectors of a number: standardised, squared, and its place among quantiles.

    A linear model of value and square knows old from new; one of places also likes one year.

    Args:
        values: Shape (n,); NaN where unknown.
        knots: Quantiles of the catalogue; each number's weight is shared between its two nearest.
        catalogue: Shape (num_items,), whose mean, spread and quantiles count; None: values.

    Returns:
        Shape (n, d), d <= 2 + knots, float32; zeros where unknown, d 0 where all are the same.
    """
    told = values if catalogue is None else catalogue
    told = told[np.isfinite(told)]
    spread = float(told.std()) if len(told) else 0.0
    if spread == 0:
        return np.zeros((len(values), 0), dtype=np.float32)
    known = np.isfinite(values)
    scaled = np.where(known, (values - told.mean()) / spread, 0.0)
    columns = [scaled, scaled**2 - known]
    places = np.unique(np.quantile(told, np.linspace(0, 1, knots))) if knots > 1 else np.empty(0)
    shares = (np.interp(values, places, place) for place in np.eye(len(places)))
    columns += [np.where(known, share, 0.0) for share in shares]
    return (np.stack(columns, axis=1).clip(-3, 3) * 0.5).astype(np.float32)


def idf_of(incidence: sparse.csr_matrix) -> FloatArray:
    """Return log(1 + num_items / count) for each column, 0 for one that fewer than two rows touch.

    An entity of one item connects nothing; one of every item connects everything and says little.

    Args:
        incidence: Shape (num_items, num_columns).
    """
    count = np.asarray((incidence != 0).sum(axis=0)).ravel()
    idf = np.log1p(incidence.shape[0] / np.maximum(count, 1))
    return np.where(count >= 2, idf, 0.0).astype(np.float32)


def truncated_svd(
    matrix: sparse.csr_matrix, dim: int, seed: int, iterations: int = 4
) -> FloatArray:
    """Return U * S of the largest ``dim`` singular values, shape (rows, d), float32.

    Seeded subspace iteration: unlike ARPACK it gives the same answer at every call, also where
    the rank is smaller than ``dim``; columns beyond the rank are left out, and each column's
    largest entry is positive.

    Source: Halko, Martinsson, Tropp, Finding structure with randomness, 2011, algorithm 4.4.
    """
    kept = min(dim, min(matrix.shape) - 1)
    used = matrix.tocsc()[:, np.flatnonzero(matrix.getnnz(axis=0))].astype(np.float64)
    if kept < 1 or used.nnz == 0:
        return np.zeros((matrix.shape[0], 1), dtype=np.float32)
    right = used.tocsr()
    left = right.T.tocsr()
    width = min(kept + 10, min(used.shape))
    basis = right @ np.random.default_rng(seed).standard_normal((used.shape[1], width))
    for _ in range(iterations):
        basis = right @ (left @ np.linalg.qr(basis)[0])
    basis = np.linalg.qr(basis)[0]
    # the Gram matrix of the projection is width x width, whatever the number of columns
    projected = left @ basis
    values, u = np.linalg.eigh(projected.T @ projected)
    order = np.argsort(-values)[:kept]
    s = np.sqrt(np.maximum(values[order], 0.0))
    rank = max(int((s > 1e-5 * s[0]).sum()), 1)
    vectors = (basis @ u[:, order[:rank]]) * s[:rank]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)]
    return np.asarray(vectors * np.where(largest < 0, -1.0, 1.0), dtype=np.float32)


def _idf_weighted(incidence: sparse.csr_matrix) -> sparse.csr_matrix:
    weighted = incidence @ sparse.diags(idf_of(incidence))
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    scale = sparse.diags(np.where(length > 0, 1.0 / np.where(length > 0, length, 1.0), 0.0))
    return sparse.csr_matrix(scale @ weighted)
