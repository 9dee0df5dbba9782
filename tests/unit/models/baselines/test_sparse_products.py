"""Row-by-row products against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from kgrec.models.baselines.sparse_products import rows_to_csr, top_per_row, top_product
from kgrec.models.baselines.sparse_scores import pair_scores, top_scores
from kgrec.models.top_items import top_of_scores


@pytest.fixture
def rows() -> sparse.csr_matrix:
    matrix = sparse.random(20, 12, 0.3, format="csr", rng=np.random.default_rng(1))
    matrix.data -= 0.4  # some negative
    return matrix.astype(np.float32)


def test_top_product_keeps_the_largest_of_each_row(rows: sparse.csr_matrix) -> None:
    scale = np.linspace(0.5, 2, 12).astype(np.float32)
    norm = np.linspace(1, 3, 12).astype(np.float32)
    kept = top_product(
        rows.T.tocsr(),
        rows,
        3,
        column_scale=scale,
        row_norm=norm,
        column_norm=norm,
        shrinkage=0.7,
    ).toarray()
    full = (rows.T @ rows).toarray() * scale / (np.outer(norm, norm) + 0.7)
    np.fill_diagonal(full, 0.0)
    for row in range(12):
        assert np.count_nonzero(kept[row]) <= 3
        chosen = np.flatnonzero(kept[row])
        np.testing.assert_allclose(kept[row, chosen], full[row, chosen], rtol=1e-4, atol=1e-6)
        rest = np.setdiff1d(np.flatnonzero(full[row]), chosen)
        assert kept[row, chosen].min(initial=9) >= full[row, rest].max(initial=-9) - 1e-6


def test_top_product_breaks_ties_by_seed() -> None:
    ones = sparse.csr_matrix(np.ones((1, 40), dtype=np.float32))
    scale = np.ones(40, dtype=np.float32)
    kept = [
        top_product(ones.T.tocsr(), ones, 5, column_scale=scale, seed=seed)[0].indices.tolist()
        for seed in (1, 1, 2)
    ]
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]
    assert kept[0] != [1, 2, 3, 4, 5]


def test_top_per_row_keeps_the_largest_absolute_entries() -> None:
    matrix = np.array([[0.1, -5.0, 2.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    assert top_per_row(matrix, 2).toarray().tolist() == [[0, -5, 2], [0, 0, 1]]


def test_rows_to_csr_sorts_columns() -> None:
    columns = np.array([[2, 0], [1, 0]])
    values = np.array([[5, 6], [7, 9]], dtype=np.float32)
    made = rows_to_csr(np.array([2, 1]), columns, values, 3)
    assert made.toarray().tolist() == [[6, 0, 5], [0, 7, 0]]
    assert made.has_sorted_indices


def test_top_scores_equal_dense_ranking(rows: sparse.csr_matrix) -> None:
    weights = (rows.T @ rows).tocsr()
    masked = sparse.csr_matrix((np.arange(20)[:, None] % 12 == np.arange(12)).astype(np.float32))
    allowed = np.ones(12, dtype=np.bool_)
    allowed[4] = False
    users = np.arange(len(masked.indptr) - 1)
    items, scores = top_scores(rows, weights, masked, allowed, 20, 3, users)
    dense = (rows @ weights).toarray()
    dense[masked.toarray() > 0] = -np.inf
    dense[:, 4] = -np.inf
    expected = top_of_scores(dense, 20, 3, users)
    np.testing.assert_allclose(scores, expected.score, rtol=1e-5, atol=1e-6)
    assert ((items >= 0) == (expected.item_idx >= 0)).all()


def test_top_scores_draw_ties_by_seed_and_user() -> None:
    nothing = sparse.csr_matrix((1, 200), dtype=np.float32)
    weights = sparse.csr_matrix((200, 200), dtype=np.float32)
    allowed = np.ones(200, dtype=np.bool_)
    drawn = [
        top_scores(nothing, weights, nothing, allowed, 5, seed, np.array([user]))[0].tolist()
        for seed, user in ((0, 0), (0, 0), (1, 0), (0, 1))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0] != drawn[3]


def test_top_scores_of_no_items_is_empty(rows: sparse.csr_matrix) -> None:
    items, scores = top_scores(
        rows, (rows.T @ rows).tocsr(), rows, np.ones(12, dtype=bool), 0, 0, np.arange(20)
    )
    assert items.shape == scores.shape == (20, 0)


def test_pair_scores_equal_dense_entries(rows: sparse.csr_matrix) -> None:
    weights = (rows.T @ rows).tocsr()
    indptr = np.arange(0, 41, 2)
    items = np.random.default_rng(0).integers(0, 12, 40)
    dense = (rows @ weights).toarray()
    np.testing.assert_allclose(
        pair_scores((rows.indptr, rows.indices, rows.data), weights, indptr, items),
        dense[np.repeat(np.arange(20), 2), items],
        rtol=1e-5,
        atol=1e-6,
    )
