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
import numpy.typing as npt

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.sparse_rows import chains
from kgrec.serving import shared_facts


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
class LikedEdges:
    """The edges of liked items, looked up once for all candidates.

    Attributes:
        rows: Shape (L,), rows of the liked items.
        liked: Shape (e,), for each edge the place of its item in ``rows``, ascending.
        entity: Shape (e,), what the edge leads to.
        triple: Shape (e,), its triple.
        chains: The edges of each entity, as sparse_rows.chains says.
    """

    rows: IntArray
    liked: IntArray
    entity: IntArray
    triple: IntArray
    chains: tuple[IntArray, IntArray, IntArray]


@dataclass(frozen=True)
class Facts:
    """Ways from liked items to one candidate, those that say most first.

    Attributes:
        liked: Shape (n,), row of the liked item.
        entity: Shape (n,), as in SharedFact.
        triples: Shape (n, 3), as in SharedFact, -1 where there are fewer.
        weight: Shape (n,).
    """

    liked: IntArray
    entity: IntArray
    triples: IntArray
    weight: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.liked)

    def of(self, liked: int | None = None) -> list[SharedFact]:
        """Return the ways from one liked item, or all of them, one by one."""
        chosen = slice(None) if liked is None else self.liked == liked
        columns = (self.liked, self.entity, self.triples, self.weight)
        return [
            SharedFact(item, entity, tuple(triple for triple in triples if triple >= 0), weight)
            for item, entity, triples, weight in zip(
                *(column[chosen].tolist() for column in columns), strict=True
            )
        ]


class GraphPaths:
    """Looks up the ways between items, by arrays made once.

    Args:
        graph: The train-time graph.
        generic_factor: "Many items" are more than this factor times sqrt(num_items): 31 of 1,682
            items, 2,371 of 10 million.
        generic_floor: No more than this many items are never many.
        common_share: A generic fact about more than this share of all items says nothing.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        generic_factor: float,
        generic_floor: int,
        common_share: float,
    ) -> None:
        self.graph = graph
        num_items = len(graph.item_entity)
        self._is_item = np.zeros(graph.num_entities, dtype=bool)
        self._is_item[graph.item_entity] = True
        # entities can have very many edges: those of items, and between entities, are enough
        of_items = [np.where(self._is_item[ends], ends, -1) for ends in (graph.head, graph.tail)]
        self._of_items = _Edges(graph, *of_items)
        joins = ~(self._is_item[graph.head] | self._is_item[graph.tail])
        between = [np.where(joins, ends, -1) for ends in (graph.head, graph.tail)]
        self._between = _Edges(graph, *between)
        degree = self._degree()
        self.idf: FloatArray = np.log((num_items + 1) / np.maximum(degree, 1)).astype(np.float32)
        limit = max(generic_floor, int(generic_factor * np.sqrt(num_items)))
        self._relation_of = np.unique(np.array(graph.relations, dtype=str), return_inverse=True)[1]
        self._is_generic = self._generic_triples(degree, limit)
        self._sure = float(np.log(num_items + 1))
        self._least_idf = -float(np.log(common_share))

    def edges(self, liked: IntArray) -> LikedEdges:
        """Return the edges of liked items, for ``ways``."""
        start, entity, triple = self._of_items.of(self.graph.item_entity[liked])
        return LikedEdges(liked, start, entity, triple, chains(entity))

    def facts(self, liked: IntArray, candidate: int, *, generic: bool) -> list[SharedFact]:
        """Return all ways from liked items to a candidate, those that say most first.

        Ways of one triple (the items stand in a triple together), of two (they touch the same
        entity), and, only where those are none, of three (they touch entities that stand in a
        triple together).

        Args:
            liked: Shape (n,), rows of liked items.
            candidate: Row of the item to explain.
            generic: True: only ways with a generic fact, but for those that most items share;
                False: only ways without one.
        """
        kept = np.ones(len(liked), dtype=np.bool_)
        found = self.ways(self.edges(liked), kept, candidate, generic=generic).of()
        return [fact for fact in found if not generic or self.idf[fact.entity] >= self._least_idf]

    def ways(self, edges: LikedEdges, kept: BoolArray, candidate: int, *, generic: bool) -> Facts:
        """Return the ways of ``facts`` from those liked items whose place in ``kept`` is True.

        Generic ones that most items share are among them.
        """
        graph, node = self.graph, self.graph.item_entity[candidate]
        places = self._of_items.places(node)
        liked, *rest = shared_facts.shared_ways(
            places,
            graph.head,
            graph.tail,
            graph.relation,
            self._relation_of,
            node,
            generic,
            kept,
            edges.liked,
            edges.triple,
            *edges.chains,
            self._is_generic,
            self.idf,
            0.0 if generic else 2.0 * self._sure,
        )
        facts = Facts(edges.rows[liked], *rest)
        if not len(facts) and not generic and len(self._between):
            facts = self._three_steps(edges, kept, *self._of_items.of_one(node))
        # equal ways stand in the order of the file, so that two runs give the same reason
        order = np.lexsort((*facts.triples.T[::-1], facts.liked, -facts.weight))
        return Facts(
            facts.liked[order], facts.entity[order], facts.triples[order], facts.weight[order]
        )

    def touched(self, item: int, relation: str) -> IntArray:
        """Return the entities that an item touches by the relations of one name, each once."""
        near, triples = self._of_items.of_one(self.graph.item_entity[item])
        names = np.array(self.graph.relations, dtype=object)[self.graph.relation[triples]]
        return np.unique(near[names == relation])

    def _three_steps(
        self, edges: LikedEdges, kept: BoolArray, near: IntArray, near_triple: IntArray
    ) -> Facts:
        """Return ways item - entity - entity - item, no entity of them generic."""
        good = ~self._is_generic[near_triple] & ~self._is_item[near]
        near, near_triple = near[good], near_triple[good]
        start, far, joint = self._between.of(near)
        plain = kept[edges.liked] & ~self._is_generic[edges.triple]
        liked, entity, triples, weight = [], [], [], []
        for edge in np.flatnonzero(np.isin(far, edges.entity[plain])):
            middle = int(near[start[edge]])
            worth = float(min(self.idf[middle], self.idf[far[edge]]))
            for hit in np.flatnonzero((edges.entity == far[edge]) & plain):
                liked.append(edges.rows[edges.liked[hit]])
                entity.append(middle)
                triples.append((edges.triple[hit], joint[edge], near_triple[start[edge]]))
                weight.append(worth)
        return Facts(
            np.array(liked, dtype=np.int64),
            np.array(entity, dtype=np.int64),
            np.array(triples, dtype=np.int64).reshape(-1, 3),
            np.array(weight, dtype=np.float64),
        )

    def _degree(self) -> IntArray:
        """Return how many items touch each entity, shape (num_entities,)."""
        touching = self.graph.item_entity_matrix()  # repeated pairs are summed: one entry each
        touching.sum_duplicates()
        return np.bincount(touching.indices, minlength=self.graph.num_entities)

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


class _Edges:
    """Edges of both directions by the node that they leave; a node of -1 leaves the edge out."""

    def __init__(self, graph: KnowledgeGraph, head: IntArray, tail: IntArray) -> None:
        self._graph = graph
        self._indptr, self._place = shared_facts.grouped(
            np.concatenate([head, tail]), graph.num_entities
        )

    def __len__(self) -> int:
        return len(self._place)

    def places(self, node: int) -> IntArray:
        """Return where the edges of a node stand in heads, then tails."""
        return self._place[self._indptr[node] : self._indptr[node + 1]]

    def of_one(self, node: int) -> tuple[IntArray, IntArray]:
        """Return (neighbour, triple) of every edge of a node."""
        return self._told(self.places(node))

    def of(self, nodes: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Return (place in nodes, neighbour, triple) of every edge of these nodes."""
        counts = self._indptr[nodes + 1] - self._indptr[nodes]
        start = np.repeat(np.arange(len(nodes)), counts)
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return start, *self._told(self._place[np.repeat(self._indptr[nodes], counts) + offsets])

    def _told(self, places: IntArray) -> tuple[IntArray, IntArray]:
        found: tuple[IntArray, IntArray] = shared_facts.edges_of_one(
            places, self._graph.head, self._graph.tail
        )
        return found
