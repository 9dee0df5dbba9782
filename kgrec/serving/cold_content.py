"""Content vectors of new items in the spaces that an artifact was trained in.

The artifact holds the catalogue's vectors, not the maps that made them; here the maps are found
again from the catalogue itself.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.retrieval.content_vectors import unit_rows

_SAMPLE = 2000
_CENTRE_SAMPLE = 64
_WORD = re.compile(r"[^\W\d_]{2,}")
_WORD_COLUMNS = 1 << 15

Encode = Callable[[Sequence[str]], FloatArray]


class KernelMap:
    """A map from features to vectors, found by kernel ridge regression on part of the catalogue.

    y(x) = k(x, X) (K + ridge I)^-1 Y with k the inner product: all that is linear in the features
    is found, however many features there are, at the price of the rows alone.

    Args:
        features: Shape (num_items, num_features), dense or sparse.
        targets: Shape (num_items, dim).
        rows: Rows to learn from; those whose target is known.
        ridge: L2 weight.
        seed: Seed of the draw of at most 2,000 rows.
    """

    def __init__(
        self,
        features: sparse.csr_matrix,
        targets: FloatArray,
        rows: IntArray,
        ridge: float = 0.1,
        seed: int = 0,
    ) -> None:
        if len(rows) > _SAMPLE:
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_SAMPLE])
        self._features = sparse.csr_matrix(features[rows], dtype=np.float64)
        gram = (self._features @ self._features.T).toarray()
        gram[np.diag_indices(len(rows))] += ridge
        self._weights = np.linalg.solve(gram, targets[rows].astype(np.float64))

    def __call__(self, features: sparse.csr_matrix) -> FloatArray:
        """Return the vectors of further rows, shape (n, dim), float32."""
        kernel = sparse.csr_matrix(features, dtype=np.float64) @ self._features.T
        return np.asarray(kernel @ self._weights, dtype=np.float32)


class TextSpace:
    """Puts texts into the space of the catalogue's centred text vectors.

    With an encoder the centre m is found again: for the raw vector v and the centred vector c of
    an item, v - m is a multiple of c, so sum (I - c c') m = sum (I - c c') v over some items.
    Without one, from hashed words, by regression.

    Args:
        vectors: Shape (num_items, dim): the catalogue's, centred and of unit length or zero.
        texts: The catalogue's texts.
        encode: Makes raw vectors of texts; None: the vectors were made from hashed words.
    """

    def __init__(self, vectors: FloatArray, texts: Sequence[str], encode: Encode | None) -> None:
        self._dim = vectors.shape[1]
        self._encode = encode
        known = np.flatnonzero(np.abs(vectors).sum(axis=1) > 0)
        self._known = len(known) > 1
        if encode is None and self._known:
            words = hashed_words(texts)
            self._map = KernelMap(words, vectors, known)
        elif encode is not None and self._known:
            places = np.linspace(0, len(known) - 1, min(_CENTRE_SAMPLE, len(known))).astype(int)
            rows = known[places]
            raw = encode([str(texts[row]) for row in rows])
            self._centre = _centre_of(raw, vectors[rows])

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """Return the centred vectors of texts, shape (n, dim), float32, unit length or zero."""
        if not self._known:
            return np.zeros((len(texts), self._dim), dtype=np.float32)
        if self._encode is None:
            return unit_rows(self._map(hashed_words(texts)))
        raw = self._encode(texts)
        blank = np.abs(raw).sum(axis=1) == 0
        moved = unit_rows(raw - self._centre)
        moved[blank] = 0.0
        return moved


def hashed_words(texts: Sequence[str]) -> sparse.csr_matrix:
    """Return 1 + log counts of hashed words, rows of unit length, shape (n, 32768)."""
    rows, columns = [], []
    for row, text in enumerate(texts):
        for word in _WORD.findall(str(text).lower()):
            rows.append(row)
            columns.append(zlib.crc32(word.encode()) & (_WORD_COLUMNS - 1))
    shape = (len(texts), _WORD_COLUMNS)
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
    counts.sum_duplicates()
    counts.data = 1.0 + np.log(counts.data)
    length = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1.0 / np.maximum(length, 1e-12)) @ counts)


def _centre_of(raw: FloatArray, centred: FloatArray) -> FloatArray:
    c, v = centred.astype(np.float64), raw.astype(np.float64)
    left = len(c) * np.eye(c.shape[1]) - c.T @ c
    right = v.sum(axis=0) - c.T @ (c * v).sum(axis=1)
    return np.asarray(np.linalg.lstsq(left, right)[0], dtype=np.float32)
