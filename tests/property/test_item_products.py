"""Properties of the sparse loops: any shapes, any n, equal to dense products."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from kgrec.models.baselines.sparse_products import top_product
from kgrec.models.baselines.sparse_scores import pair_scores, top_scores


def _matrix(rows: int, columns: int, density: float, seed: int) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    matrix = sparse.random(rows, columns, density, format="csr", rng=rng)
    return matrix.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 9), st.floats(0, 1), st.integers(1, 12), st.integers(0, 99)
)
def test_top_product_never_leaves_a_larger_entry_out(
    rows: int, columns: int, density: float, n: int, seed: int
) -> None:
    matrix = _matrix(rows, columns, density, seed)
    kept = top_product(
        matrix.T.tocsr(), matrix, n, column_scale=np.ones(columns, dtype=np.float32), seed=seed
    ).toarray()
    full = (matrix.T @ matrix).toarray()
    np.fill_diagonal(full, 0.0)
    np.testing.assert_allclose(kept[kept != 0], full[kept != 0], rtol=1e-4, atol=1e-6)
    for row in range(columns):
        best = -np.sort(-full[row])[:n]
        found = -np.sort(-kept[row])[:n]
        np.testing.assert_allclose(found, best, rtol=1e-4, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 10), st.integers(0, 14), st.integers(0, 99))
def test_top_scores_are_the_best_of_the_dense_row(
    users: int, items: int, k: int, seed: int
) -> None:
    history = _matrix(users, items, 0.4, seed)
    weights = _matrix(items, items, 0.5, seed + 1)
    allowed = np.random.default_rng(seed).random(items) < 0.8
    found, scores = top_scores(history, weights, history, allowed, k, seed, np.arange(users))
    dense = (history @ weights).toarray()
    dense[history.toarray() > 0] = -np.inf
    dense[:, ~allowed] = -np.inf
    for row in range(users):
        open_items = np.isfinite(dense[row]).sum()
        expected = -np.sort(-dense[row])[: min(k, open_items)]
        assert (found[row] >= 0).sum() == min(k, open_items)
        np.testing.assert_allclose(scores[row, : len(expected)], expected, rtol=1e-4, atol=1e-6)
        one = history[row]
        pairs = pair_scores(
            (one.indptr, one.indices, one.data),
            weights,
            np.array([0, len(expected)]),
            found[row, : len(expected)],
        )
        np.testing.assert_array_equal(pairs, scores[row, : len(expected)])
