"""The right singular vectors of small and larger matrices, against NumPy, and that they repeat."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from kgrec.models.baselines import svd
from kgrec.models.baselines.svd import right_vectors


def matrix(rows: int, columns: int, rank: int, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return sparse.csr_matrix(dense)


@pytest.mark.parametrize("shape", [(50, 20), (20, 50), (30, 30)])
@pytest.mark.parametrize("whole", [True, False])
def test_projection_equals_that_of_numpy(
    shape: tuple[int, int], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svd, "MAX_SOLVED_WHOLE", 1024 if whole else 1)
    given = matrix(*shape, rank=20)
    found = right_vectors(given, 5, seed=0)
    expected = np.linalg.svd(given.toarray())[2][:5].T
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
def test_vectors_repeat_where_the_rank_is_met(shape: tuple[int, int]) -> None:
    given = matrix(*shape, rank=7)
    first = right_vectors(given, 30, seed=0)
    assert first.shape == (shape[1], 7)
    np.testing.assert_allclose(first.T @ first, np.eye(7), atol=1e-4)
    for _ in range(3):
        np.testing.assert_array_equal(right_vectors(given, 30, seed=0), first)


def test_an_empty_matrix_has_no_vectors() -> None:
    assert right_vectors(sparse.csr_matrix((9, 5)), 3, seed=0).shape == (5, 0)
