"""The best paths between entities of a graph: shorter first, then by rarer entities in between.

Works on arrays alone; who liked what and what a path is called in words is queries.py's business.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass

import numpy as np

from graph_etl.errors import DataError
from graph_etl.graph_arrays import Adjacency, BoolArray, IntArray
from graph_etl.store.base import MAX_PATH_LENGTH
from graph_etl.store.records import GraphPath

_UNREACHED = np.iinfo(np.int64).max // 4
_WEIGHT_SCALE = 1000  # weights are whole numbers, so that sums are exact and ties are ties


@dataclass(frozen=True)
class EntityPath(GraphPath):
    """A simple path that can be read: ``str(path)``.

    Attributes:
        entities, steps: As GraphPath has them.
        phrases: ``phrases[i]`` is the relation of ``steps[i]`` in words.
        user_id: Whose liked item the path starts at; None between entities.
    """

    phrases: tuple[str, ...]
    user_id: str | None = None

    def __str__(self) -> str:
        """Return "You liked X -> was directed by -> P <- was directed by <- Y"."""
        told = ("" if self.user_id is None else "You liked ") + self.entities[0].name
        for step, phrase, entity in zip(self.steps, self.phrases, self.entities[1:], strict=True):
            arrow = "->" if step.outgoing else "<-"
            told += f" {arrow} {phrase} {arrow} {entity.name}"
        return told


@dataclass(frozen=True)
class FoundPath:
    """A path in indexes: length + 1 entities, and the edges of Adjacency that join them."""

    entities: tuple[int, ...]
    edges: tuple[int, ...]


class PathSearch:
    """Finds the best simple paths from any of several entities to one."""

    def __init__(self, adjacency: Adjacency) -> None:
        self._edges = adjacency
        # log(degree): of two ways, the one whose entities have the smaller product of degrees
        logs = np.log(np.maximum(adjacency.degree, 1))
        self._weight = np.round(_WEIGHT_SCALE * logs).astype(np.int64)

    def best(
        self, sources: IntArray, target: int, *, max_length: int, limit: int, timeout_s: float
    ) -> list[FoundPath]:
        """Return the best paths, best first; equal ones in the order of their entities' indexes.

        No source stands in between: the shorter path from that one says more.

        Args:
            sources: Shape (n,), entities where paths may start; the target is none of them.
            target: Where paths end.
            max_length: Longest path in edges, 1 to MAX_PATH_LENGTH.
            limit: At most so many.
            timeout_s: Seconds after which the search gives up.

        Raises:
            DataError: max_length is out of range, or the search took too long.
        """
        if not 1 <= max_length <= MAX_PATH_LENGTH:
            raise DataError(
                f"Expected max_length in 1..{MAX_PATH_LENGTH}, got {max_length}; longer paths are "
                "too many to be of use"
            )
        deadline = time.monotonic() + timeout_s
        sources = np.unique(sources[sources != target])
        inner = np.ones(len(self._edges.degree), dtype=bool)
        inner[sources] = False
        inner[target] = False
        found: list[FoundPath] = []
        costs = [self._last_step(target)]
        for length in range(1, max_length + 1):
            if len(found) >= limit or not len(sources):
                break
            if length > 2:
                costs.append(self._one_step_earlier(costs[-1], inner))
            found += self._of_length(
                length, sources, target, inner, costs, limit - len(found), deadline
            )
        return found

    def _last_step(self, target: int) -> IntArray:
        """Return 0 for the entities that an edge joins to the target, _UNREACHED for others."""
        cost = np.full(len(self._edges.degree), _UNREACHED, dtype=np.int64)
        _, edges = self._edges.edges_of(np.array([target]))
        cost[self._edges.neighbor[edges]] = 0
        return cost

    def _one_step_earlier(self, cost: IntArray, inner: BoolArray) -> IntArray:
        """Return the least cost of walks to the target that are one edge longer than ``cost``'s.

        The cost of a walk is the sum of the weights of what stands in between.
        """
        reached = np.flatnonzero((cost < _UNREACHED) & inner)
        entity, edge = self._edges.edges_of(reached)
        longer = np.full_like(cost, _UNREACHED)
        np.minimum.at(longer, self._edges.neighbor[edge], (cost + self._weight)[entity])
        return longer

    def _of_length(
        self,
        length: int,
        sources: IntArray,
        target: int,
        inner: BoolArray,
        costs: list[IntArray],
        limit: int,
        deadline: float,
    ) -> list[FoundPath]:
        """Return the best paths of one length: A*, with the cost of the best walk as the bound.

        ``costs[i]`` is that cost over i + 1 edges. The bound is never above the true cost, so
        that paths come out in their order.
        """
        heap: list[tuple[int, tuple[int, ...], tuple[int, ...], int]] = []
        found: list[FoundPath] = []

        def extend(entities: tuple[int, ...], edges: tuple[int, ...], spent: int) -> None:
            left = length - len(edges)
            row = self._edges.indptr[entities[-1]]
            near = self._edges.neighbor[row : self._edges.indptr[entities[-1] + 1]]
            if left == 1:
                for place in np.flatnonzero(near == target):
                    path = ((*entities, target), (*edges, int(row + place)))
                    heapq.heappush(heap, (spent, *path, spent))
                return
            cost = costs[left - 2][near]
            for place in np.flatnonzero(inner[near] & (cost < _UNREACHED)):
                entity = int(near[place])
                if entity not in entities:
                    now = spent + int(self._weight[entity])
                    path = ((*entities, entity), (*edges, int(row + place)))
                    heapq.heappush(heap, (now + int(cost[place]), *path, now))

        for source in sources:
            extend((int(source),), (), 0)
        while heap and len(found) < limit:
            _, entities, edges, spent = heapq.heappop(heap)
            if entities[-1] == target:
                found.append(FoundPath(entities, edges))
                continue
            if time.monotonic() > deadline:
                raise DataError(
                    f"Expected the search for paths of {length} relationships to end within its "
                    "time, but it did not; ask for a smaller max_length or limit, or raise "
                    "timeout_s"
                )
            extend(entities, edges, spent)
        return found
