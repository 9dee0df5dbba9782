"""Sparse products agree with dense ones, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from kgrec.models.propagation import SparseOperator, dropped, symmetric_values


def _random_operator(
    num_edges: int = 60, shape: tuple[int, int] = (9, 13), seed: int = 0
) -> tuple[SparseOperator, torch.Tensor, torch.Tensor]:
    """Return an operator with duplicate edges and empty rows, its values and its dense matrix."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, shape[0] - 2, num_edges), rng.integers(0, shape[1], num_edges)
    values = torch.from_numpy(rng.standard_normal(num_edges).astype(np.float32))
    dense = torch.zeros(shape)
    for edge in range(num_edges):
        dense[rows[edge], columns[edge]] += values[edge]
    return SparseOperator.from_edges(rows, columns, shape), values, dense


def test_operator_forward_equals_dense_product() -> None:
    operator, values, dense = _random_operator()
    features = torch.randn(13, 5)
    torch.testing.assert_close(operator(values, features), dense @ features)


def test_operator_backward_equals_dense_gradient() -> None:
    operator, values, dense = _random_operator()
    features, weights = torch.randn(13, 5, requires_grad=True), torch.randn(9, 5)
    (operator(values, features) * weights).sum().backward()
    torch.testing.assert_close(features.grad, dense.T @ weights)


def test_operator_passes_gradcheck_in_double_precision() -> None:
    operator, values, _ = _random_operator()
    features = torch.randn(13, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: operator(values.double(), x), (features,))


def test_transposed_operator_equals_dense_transpose_both_ways() -> None:
    operator, values, dense = _random_operator()
    features = torch.randn(9, 4, requires_grad=True)
    product = operator.transposed(values, features)
    torch.testing.assert_close(product, dense.T @ features)
    product.sum().backward()
    torch.testing.assert_close(features.grad, (dense @ torch.ones(13, 4)))


def test_operator_without_edges_gives_zeros() -> None:
    none = np.empty(0, dtype=np.int64)
    operator = SparseOperator.from_edges(none, none, (3, 4))
    features = torch.randn(4, 2, requires_grad=True)
    product = operator(torch.empty(0), features)
    assert product.tolist() == [[0.0, 0.0]] * 3
    product.sum().backward()
    assert (features.grad == 0).all()


def test_operator_without_transpose_refuses_gradients() -> None:
    index = np.array([0, 1])
    operator = SparseOperator.from_edges(index, index, (2, 2), differentiable=False)
    assert operator(torch.ones(2), torch.ones(2, 1)).shape == (2, 1)
    with pytest.raises(ValueError, match="differentiable=True"):
        operator(torch.ones(2), torch.ones(2, 1, requires_grad=True))


def test_operator_refuses_edges_outside_its_shape() -> None:
    with pytest.raises(ValueError, match=r"Expected columns in 0\.\.2, got 1\.\.3"):
        SparseOperator.from_edges(np.array([0, 1]), np.array([1, 3]), (2, 3))


@pytest.mark.parametrize(("num_values", "num_rows"), [(1, 3), (2, 2), (3, 3), (2, 4)])
def test_operator_refuses_values_and_rows_that_do_not_fit(num_values: int, num_rows: int) -> None:
    operator = SparseOperator.from_edges(np.array([0, 1]), np.array([1, 2]), (2, 3))
    for gradients in (False, True):
        dense = torch.ones(num_rows, 2, requires_grad=gradients)
        with pytest.raises(ValueError, match="Expected 2 values and 3 dense rows"):
            operator(torch.ones(num_values), dense)


def test_operator_refuses_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="one shape"):
        SparseOperator.from_edges(np.array([0, 1]), np.array([1]), (2, 3))


def test_symmetric_values_follow_kept_degrees() -> None:
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    full = symmetric_values(rows, columns, torch.ones(3), (2, 2))
    torch.testing.assert_close(full, torch.tensor([2**-0.5, 0.5, 2**-0.5]))
    without_last = symmetric_values(rows, columns, torch.tensor([1.0, 1.0, 0.0]), (2, 2))
    torch.testing.assert_close(without_last, torch.tensor([2**-0.5, 2**-0.5, 0.0]))


def test_dropped_leaves_out_the_wanted_share() -> None:
    mask = dropped(20_000, 0.3, np.random.default_rng(0))
    assert set(mask.tolist()) == {0.0, 1.0}
    assert 0.68 < float(mask.mean()) < 0.72
    assert float(dropped(50, 0.0, np.random.default_rng(0)).min()) == 1.0


@pytest.mark.gpu
def test_operator_on_cuda_equals_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    operator, values, dense = _random_operator()
    device = torch.device("cuda")
    features = torch.randn(13, 5, device=device, requires_grad=True)
    product = operator.to(device)(values.to(device), features)
    product.sum().backward()
    torch.testing.assert_close(product.cpu(), dense @ features.detach().cpu())
    torch.testing.assert_close(features.grad.cpu(), dense.T @ torch.ones(9, 5))


@pytest.mark.parametrize("dim", [1, 16, 33, 64])
def test_large_products_are_those_of_scipy_whatever_the_threads(dim: int) -> None:
    rng = np.random.default_rng(1)
    rows, columns = (rng.integers(0, 700, 160_000) for _ in range(2))
    rows[:90_000] = 5  # a row that alone is more than one thread's share
    weights = rng.standard_normal(len(rows))
    values = torch.from_numpy(weights.astype(np.float32))
    operator = SparseOperator.from_edges(rows, columns, (701, 700))
    features = torch.from_numpy(rng.standard_normal((700, dim)).astype(np.float32))
    plain = sparse.coo_matrix((weights, (rows, columns)), shape=(701, 700)).tocsr()
    wanted = torch.from_numpy(plain @ features.double().numpy()).float()
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(operator(values, features))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=0.02)  # sums of 90,000
    assert (found[0][700] == 0).all()
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
