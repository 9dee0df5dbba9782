"""What a liked item and a candidate share in the graph, and how specific that is.

Finds facts; which of them becomes the reason is for explanations.py, the words for narration.py.
Everything comes from degrees, nothing from names. A fact is generic if many items touch its
entity, or if its relation mostly leads to such entities: a rare language is still a language. A
fact that is not says the more the fewer items touch its entity; it
says more where several liked items touch it; and a fact that is one of few of its kind about an
item (its one director) says more than one of many (a name out of a long cast).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class SharedFact:
    """One way by the graph from a liked item to a candidate.

    Attributes:
        liked: Row of the liked item.
        entity: The entity in the middle, -1 where one triple joins the two items.
        triples: Rows of the triples, from the liked item to the candidate.
        weight: How much the fact says: idf * (1 + log(liked items that touch the entity)) /
            sqrt(1 + log(facts of this kind about the candidate)), with idf =
            log((num_items + 1) / items that touch the entity), the least over the way.
    """

    liked: int
    entity: int
    triples: tuple[int, ...]
    weight: float


@dataclass(frozen=True)
class _LikedEdges:
    """The edges of the liked items, parallel arrays: item row, entity at the end, triple row."""

    liked: IntArray
    entity: IntArray
    triple: IntArray

    def support(self, entity: int) -> float:
        """Return 1 + log(liked items that touch the entity)."""
        return 1.0 + float(np.log(len(np.unique(self.liked[self.entity == entity]))))


class GraphPaths:
    """Looks up the ways between items, by arrays made once.

    Args:
        graph: The train-time graph.
        generic_factor: "Many items" are more than this factor times sqrt(num_items): 31 of 1,682
            items, 2,371 of 10 million.
        generic_floor: No more than this many items are never many.
    """

    def __init__(self, graph: KnowledgeGraph, generic_factor: float, generic_floor: int) -> None:
        self.graph = graph
        ends = np.concatenate([graph.head, graph.tail])
        order = np.argsort(ends, kind="stable")
        self._indptr = np.searchsorted(ends[order], np.arange(graph.num_entities + 1))
        self._neighbour = np.concatenate([graph.tail, graph.head])[order]
        self._triple = np.tile(np.arange(graph.num_triples), 2)[order]
        touching = graph.item_entity_matrix()
        num_items = touching.shape[0]
        degree = np.asarray((touching > 0).sum(axis=0)).ravel()
        self.idf: FloatArray = np.log((num_items + 1) / np.maximum(degree, 1)).astype(np.float32)
        limit = max(generic_floor, int(generic_factor * np.sqrt(num_items)))
        self._relation_of = np.unique(np.array(graph.relations, dtype=str), return_inverse=True)[1]
        self._is_item = np.zeros(graph.num_entities, dtype=bool)
        self._is_item[graph.item_entity] = True
        self._is_generic = self._generic_triples(degree, limit)
        self._sure = float(np.log(num_items + 1))

    def facts(self, liked: IntArray, candidate: int, *, generic: bool) -> list[SharedFact]:
        """Return all ways from liked items to a candidate, those that say most first.

        Ways of one triple (the items stand in a triple together), of two (they touch the same
        entity), and, only where those are none, of three (they touch entities that stand in a
        triple together).

        Args:
            liked: Shape (n,), rows of liked items.
            candidate: Row of the item to explain.
            generic: True: only ways with a generic fact; False: only ways without one.
        """
        node = int(self.graph.item_entity[candidate])
        liked_nodes = self.graph.item_entity[liked]
        start, entity, triple = self._edges_of(liked_nodes)
        near, near_triple = self._neighbours(node)
        edges = _LikedEdges(liked[start], entity, triple)
        facts = self._shared(edges, near, near_triple, node, generic)
        if not generic:
            facts += self._direct(edges, node)
            if not facts:
                facts = self._three_steps(edges, near, near_triple)
        # equal ways stand in the order of the file, so that two runs give the same reason
        return sorted(facts, key=lambda fact: (-fact.weight, fact.liked, fact.triples))

    def touched(self, item: int, relation: str) -> IntArray:
        """Return the entities that an item touches by the relations of one name, each once."""
        near, triples = self._neighbours(int(self.graph.item_entity[item]))
        names = np.array(self.graph.relations, dtype=object)[self.graph.relation[triples]]
        return np.unique(near[names == relation])

    def _neighbours(self, node: int) -> tuple[IntArray, IntArray]:
        rows = slice(self._indptr[node], self._indptr[node + 1])
        return self._neighbour[rows], self._triple[rows]

    def _edges_of(self, nodes: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Return (position in nodes, neighbour, triple) of every edge of these nodes."""
        counts = self._indptr[nodes + 1] - self._indptr[nodes]
        start = np.repeat(np.arange(len(nodes)), counts)
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        edges = np.repeat(self._indptr[nodes], counts) + offsets
        return start, self._neighbour[edges], self._triple[edges]

    def _direct(self, edges: _LikedEdges, node: int) -> list[SharedFact]:
        hits = np.flatnonzero(edges.entity == node)
        return [
            SharedFact(int(edges.liked[hit]), -1, (int(edges.triple[hit]),), 2.0 * self._sure)
            for hit in hits
        ]

    def _shared(
        self,
        edges: _LikedEdges,
        near: IntArray,
        near_triple: IntArray,
        node: int,
        generic: bool,
    ) -> list[SharedFact]:
        fan_out = self._fan_out(near_triple)
        wanted = np.isin(edges.entity, near) & (edges.entity != node)
        if not generic:
            wanted &= ~self._is_generic[edges.triple]
        facts = []
        for hit in np.flatnonzero(wanted):
            middle = int(edges.entity[hit])
            worth = float(self.idf[middle]) * edges.support(middle)
            for place in np.flatnonzero(near == middle):
                way = (int(edges.triple[hit]), int(near_triple[place]))
                if self._is_generic[list(way)].any() != generic:
                    continue
                weight = worth / float(np.sqrt(1.0 + np.log(fan_out[place])))
                facts.append(SharedFact(int(edges.liked[hit]), middle, way, weight))
        return facts

    def _three_steps(
        self, edges: _LikedEdges, near: IntArray, near_triple: IntArray
    ) -> list[SharedFact]:
        """Return ways item - entity - entity - item, no entity of them generic."""
        good = ~self._is_generic[near_triple] & ~self._is_item[near]
        near, near_triple = near[good], near_triple[good]
        start, far, joint = self._edges_of(near)
        plain = edges.entity[~self._is_generic[edges.triple]]
        usable = ~self._is_item[far] & np.isin(far, plain)
        facts = []
        for edge in np.flatnonzero(usable):
            middle = int(near[start[edge]])
            weight = float(min(self.idf[middle], self.idf[far[edge]]))
            for hit in np.flatnonzero(
                (edges.entity == far[edge]) & ~self._is_generic[edges.triple]
            ):
                way = (int(edges.triple[hit]), int(joint[edge]), int(near_triple[start[edge]]))
                facts.append(SharedFact(int(edges.liked[hit]), middle, way, weight))
        return facts

    def _generic_triples(self, degree: IntArray, limit: int) -> BoolArray:
        """Return which triples state a generic fact of an item, shape (num_triples,)."""
        graph = self.graph
        ends_in_item = self._is_item[graph.head] ^ self._is_item[graph.tail]
        entity = np.where(self._is_item[graph.head], graph.tail, graph.head)
        reach = np.where(ends_in_item, degree[entity], 0)
        generic = np.asarray(reach > limit)
        kind = self._relation_of[graph.relation]
        for relation in np.unique(kind[ends_in_item]):
            rows = (kind == relation) & ends_in_item
            generic[rows] |= bool(np.median(reach[rows]) > limit)
        return generic

    def _fan_out(self, triples: IntArray) -> IntArray:
        """Return for each triple of one item how many of its triples have the same relation."""
        _, kind, count = np.unique(
            self._relation_of[self.graph.relation[triples]], return_inverse=True, return_counts=True
        )
        return np.asarray(count[kind], dtype=np.int64)
