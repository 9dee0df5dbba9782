"""Neighbours of nodes in compressed rows, and a seeded draw of some of them.

Which draws a training step makes is for graph_part.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.compiled import compiled
from kgrec.models.propagation import stable_order

SmallInts = npt.NDArray[np.int32]

_NOWHERE: IntArray = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Drawn:
    """Neighbours drawn for n nodes.

    Attributes:
        row: Shape (num_drawn,), int64, ascending: for which of the nodes.
        place: Shape (num_drawn,), int64: which entry of the rows.
        scale: Shape (n,), float32: one over the probability that an entry was drawn, so that
            scaled sums over what was drawn are the sums over all on average; 0 where there is none.
    """

    row: IntArray
    place: IntArray
    scale: FloatArray


@dataclass(frozen=True)
class Neighbours:
    """Edges by the node that they lead to.

    Attributes:
        indptr: Shape (num_nodes + 1,), int64.
        source: Shape (num_edges,), the other end of each edge.
        edge: Shape (num_edges,), the number that the caller gave the edge; shape (0,) where the
            edges stand in the caller's order.
    """

    indptr: IntArray
    source: npt.NDArray[np.integer[Any]]
    edge: npt.NDArray[np.integer[Any]]

    @classmethod
    def of(
        cls,
        target: npt.NDArray[np.integer[Any]],
        source: npt.NDArray[np.integer[Any]],
        num_nodes: int,
    ) -> Self:
        """Return edges, given by their ends, by target; those of one target keep their order."""
        indptr, order = stable_order(target, num_nodes, _NOWHERE)
        if (target[1:] >= target[:-1]).all():
            return cls(indptr, source, _NOWHERE)
        return cls(indptr, _small(source[order]), _small(order))

    def draw(
        self,
        nodes: IntArray,
        fan_out: int,
        dropout: float,
        key: int,
        left_out: BoolArray | None = None,
        less: IntArray | None = None,
    ) -> Drawn:
        """Return at most ``fan_out`` neighbours of each node, drawn without replacement.

        The draw of a node depends on ``key`` and the node alone.

        Args:
            nodes: Shape (n,), int64.
            fan_out: Neighbours wanted; a node with no more gets them all.
            dropout: Share of the drawn ones that is left out again, each by itself.
            key: Seed, in 0..2^63-1.
            left_out: Shape (num_edges,), by the caller's edge number: never drawn; None: no edge.
            less: Shape (n,), int64: how many edges of each node are left out.
        """
        none = np.zeros(0, dtype=np.bool_)
        if less is None:
            less = np.zeros(len(nodes), dtype=np.int64)
        bounds, place, scale = _draw(
            nodes,
            self.indptr,
            self.edge,
            none if left_out is None else left_out,
            less,
            fan_out,
            dropout,
            np.uint64(key),
        )
        row = np.repeat(np.arange(len(nodes)), np.diff(bounds))
        return Drawn(row, place, scale)


def _small(values: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.integer[Any]]:
    """Return indices in four bytes each where they fit."""
    fits = not len(values) or values.max() <= np.iinfo(np.int32).max
    return values.astype(np.int32, copy=False) if fits else values


@compiled
def _draw(
    nodes: Any,
    indptr: Any,
    edge: Any,
    left_out: Any,
    less: Any,
    fan_out: Any,
    dropout: Any,
    key: Any,
) -> Any:
    most = 0
    for row in range(len(nodes)):
        most += min(fan_out, indptr[nodes[row] + 1] - indptr[nodes[row]])
    bounds = np.zeros(len(nodes) + 1, dtype=np.int64)
    place = np.empty(most, dtype=np.int64)
    scale = np.zeros(len(nodes), dtype=np.float32)
    count = 0
    for row in range(len(nodes)):
        first = indptr[nodes[row]]
        degree = indptr[nodes[row] + 1] - first
        free = degree - less[row]
        wanted = min(fan_out, free)
        state = _mixed(key ^ _mixed(np.uint64(nodes[row])))
        start = count
        if free == wanted:
            for at in range(first, first + degree):
                if not _is_left_out(at, edge, left_out):
                    place[count] = at
                    count += 1
        while count - start < wanted:
            state = state + np.uint64(0x9E3779B97F4A7C15)
            at = first + min(np.int64(_share(state) * degree), degree - 1)
            again = _is_left_out(at, edge, left_out)
            for other in range(start, count):
                again |= place[other] == at
            if not again:
                place[count] = at
                count += 1
        if dropout > 0:
            drawn, count = count, start
            for other in range(start, drawn):
                state = state + np.uint64(0x9E3779B97F4A7C15)
                place[count] = place[other]
                count += _share(state) >= dropout
        if wanted > 0:
            scale[row] = free / wanted / (1.0 - dropout)
        bounds[row + 1] = count
    return bounds, place[:count].copy(), scale


@compiled
def _is_left_out(at: Any, edge: Any, left_out: Any) -> Any:
    if len(left_out) == 0:
        return False
    return left_out[edge[at] if len(edge) else at]


@compiled
def _share(state: Any) -> Any:
    """Return a number in [0, 1) made of a state."""
    return (_mixed(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def _mixed(value: Any) -> Any:
    """Return the bits well mixed (splitmix64: Steele, Lea & Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
