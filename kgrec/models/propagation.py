"""Sparse products with a hand-written backward: the message passing of every graph layer here.

Autograd of torch.sparse builds the transposed matrix anew in each backward, and scatter writes one
message for each edge; here the transposed structure is made once and both directions are CSR
products, on the CPU by a loop of our own. What the products mean is for graph_encoder.py.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kgrec.models.compiled import compiled
from kgrec.models.sparse_product import product

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Structure:
    """Where the non-zeros of one CSR matrix stand; ``order`` maps them to the caller's edges."""

    indptr: Tensor  # (num_rows + 1,), int64
    indices: Tensor  # (num_edges,), int64
    order: Tensor | None  # (num_edges,), int64; None where the caller's order is the CSR order
    shape: tuple[int, int]

    def times(self, values: Tensor, dense: Tensor) -> Tensor:
        if len(dense) != self.shape[1] or len(values) != len(self.indices):
            raise ValueError(
                f"Expected {len(self.indices)} values and {self.shape[1]} dense rows, got "
                f"{len(values)} and {len(dense)} in SparseOperator; give one value for each edge "
                "and one row for each column"
            )
        data = values if self.order is None else values.index_select(0, self.order)
        if dense.device.type == "cpu" and dense.dtype == data.dtype == torch.float32:
            return product(self.indptr, self.indices, data, dense)
        with warnings.catch_warnings():  # torch calls its CSR layout a beta feature, once
            warnings.simplefilter("ignore", UserWarning)
            matrix = torch.sparse_csr_tensor(
                self.indptr, self.indices, data, self.shape, check_invariants=False
            )
        return matrix @ dense

    def to(self, device: torch.device) -> _Structure:
        order = None if self.order is None else self.order.to(device)
        return _Structure(self.indptr.to(device), self.indices.to(device), order, self.shape)


@dataclass(frozen=True)
class SparseOperator:
    """A fixed sparse structure A of shape (num_rows, num_columns), with values given at each use.

    ``operator(values, dense)`` is A(values) @ dense, differentiable in ``dense``; the values carry
    no gradient (learned relation weights scale the dense side, see graph_encoder.py). Duplicate
    edges add up.

    Attributes:
        shape: (num_rows, num_columns).
        num_edges: Number of stored entries.
    """

    shape: tuple[int, int]
    num_edges: int
    _forward: _Structure = field(repr=False)
    _backward: _Structure | None = field(repr=False)

    @classmethod
    def from_edges(
        cls,
        rows: IntArray,
        columns: IntArray,
        shape: tuple[int, int],
        *,
        differentiable: bool = True,
    ) -> Self:
        """Return the operator of a list of edges.

        Args:
            rows: Shape (num_edges,), int64; edge e stands at A[rows[e], columns[e]].
            columns: Shape (num_edges,), int64.
            shape: (num_rows, num_columns).
            differentiable: Whether to make the structure of A^T, which gradients need.

        Raises:
            ValueError: The two differ in length or an index lies outside ``shape``.
        """
        if rows.shape != columns.shape or rows.ndim != 1:
            raise ValueError(
                f"Expected rows and columns of one shape (num_edges,), got {rows.shape} and "
                f"{columns.shape} in SparseOperator.from_edges"
            )
        for name, index, size in (("rows", rows, shape[0]), ("columns", columns, shape[1])):
            if len(index) and (index.min() < 0 or index.max() >= size):
                raise ValueError(
                    f"Expected {name} in 0..{size - 1}, got {index.min()}..{index.max()} in "
                    "SparseOperator.from_edges"
                )
        forward = _structure(rows, columns, shape)
        backward = _structure(columns, rows, (shape[1], shape[0])) if differentiable else None
        return cls(shape, len(rows), forward, backward)

    @classmethod
    def of_rows(cls, indptr: IntArray) -> Self:
        """Return the operator that sums consecutive rows; without gradients.

        Args:
            indptr: Shape (num_rows + 1,), int64: row r sums indptr[r]:indptr[r+1].
        """
        num_edges = int(indptr[-1])
        shape = (len(indptr) - 1, num_edges)
        places = torch.arange(num_edges)
        return cls(
            shape, num_edges, _Structure(torch.from_numpy(indptr), places, None, shape), None
        )

    @property
    def transposed(self) -> SparseOperator:
        """The operator of A^T, over the same values in the same order; nothing is copied."""
        return SparseOperator(
            (self.shape[1], self.shape[0]), self.num_edges, self._transposed(), self._forward
        )

    def __call__(self, values: Tensor, dense: Tensor) -> Tensor:
        """Return A(values) @ dense.

        Args:
            values: Shape (num_edges,), float32, in the order of the edges given.
            dense: Shape (num_columns, dim), float32.

        Returns:
            Shape (num_rows, dim), float32.

        Raises:
            ValueError: There are not as many values as edges, or rows of ``dense`` as columns.
        """
        if not (dense.requires_grad and torch.is_grad_enabled()):
            return self._forward.times(values, dense)
        found: Tensor = _Product.apply(values, dense, self._forward, self._transposed())
        return found

    def to(self, device: torch.device) -> SparseOperator:
        """Return the operator with its structure on ``device``."""
        backward = None if self._backward is None else self._backward.to(device)
        return SparseOperator(self.shape, self.num_edges, self._forward.to(device), backward)

    def _transposed(self) -> _Structure:
        if self._backward is None:
            raise ValueError(
                "Expected a SparseOperator made with differentiable=True where its transpose is "
                "asked for, got one without; make it so in SparseOperator.from_edges"
            )
        return self._backward


class _Product(torch.autograd.Function):
    """Y = A X with dL/dX = A^T dL/dY, the transposed structure known beforehand."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, dense: Tensor, forward: _Structure, backward: _Structure
    ) -> Tensor:
        ctx.save_for_backward(values)
        ctx.structure = backward
        return forward.times(values, dense)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor | None, None, None]:
        (values,) = ctx.saved_tensors
        if not ctx.needs_input_grad[1]:
            return None, None, None, None
        return None, ctx.structure.times(values, grads[0].contiguous()), None, None


def symmetric_values(rows: Tensor, columns: Tensor, kept: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return kept_e / sqrt(degree(row_e) degree(column_e)), degrees counted over kept edges.

    Args:
        rows: Shape (num_edges,), int64.
        columns: Shape (num_edges,), int64.
        kept: Shape (num_edges,), float32, weight of each edge; 0 leaves it out.
        shape: (num_rows, num_columns).

    Returns:
        Shape (num_edges,), float32. Source: Kipf & Welling 2017, eq. 2, without self loops.
    """
    row_degree = torch.bincount(rows, weights=kept, minlength=shape[0])
    column_degree = torch.bincount(columns, weights=kept, minlength=shape[1])
    scale = (row_degree[rows] * column_degree[columns]).clamp_min(1e-12).rsqrt()
    return (kept * scale).to(torch.float32)


def dropped(num_edges: int, probability: float, generator: np.random.Generator) -> Tensor:
    """Return an edge mask, shape (num_edges,), float32: 0 with ``probability``, else 1."""
    if probability <= 0:
        return torch.ones(num_edges)
    return torch.from_numpy((generator.random(num_edges) >= probability).astype(np.float32))


def _structure(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> _Structure:
    _, by_column = stable_order(columns, shape[1], np.zeros(0, dtype=np.int64))
    indptr, order = stable_order(rows, shape[0], by_column)
    in_order = bool((order == np.arange(len(order))).all())
    return _Structure(
        torch.from_numpy(indptr),
        torch.from_numpy(columns[order].astype(np.int64, copy=False)),
        None if in_order else torch.from_numpy(order),
        shape,
    )


@compiled
def stable_order(keys: Any, size: Any, before: Any) -> Any:
    """Return where each key begins in order, and the order; equal keys stand as in ``before``.

    Args:
        keys: Shape (n,), integers in 0..size-1; counted, so that time and memory grow with n.
        size: Number of keys.
        before: Shape (n,), int64, an order; shape (0,) for the one in which the keys come.

    Returns:
        bounds: Shape (size + 1,), int64.
        order: Shape (n,), int64.
    """
    bounds = np.zeros(size + 1, dtype=np.int64)
    for key in keys:
        bounds[key + 1] += 1
    for key in range(size):
        bounds[key + 1] += bounds[key]
    reached = bounds[:-1].copy()
    order = np.empty(len(keys), dtype=np.int64)
    for place in range(len(keys)):
        number = before[place] if len(before) else place
        order[reached[keys[number]]] = number
        reached[keys[number]] += 1
    return bounds, order
