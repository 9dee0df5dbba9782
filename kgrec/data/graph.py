"""The knowledge graph as arrays, with its ablations; propagation over it is for kgrec.models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import sparse

from kgrec.data.interactions import BoolArray, IntArray
from kgrec.data.strings import Strings

GraphMode = Literal["on", "off", "shuffled", "random", "tables"]


@dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """Entities and triples; it never holds users or interactions. Equal is only what is the same.

    Attributes:
        entity_ids, entity_types, entity_names: num_entities strings each.
        relations: One name for each relation_idx. A relation may stand more than once, with other
            head and tail types.
        phrases: One phrase for each relation_idx, read as "HEAD <phrase> TAIL".
        head, relation, tail: Shape (num_triples,), int64; narrower in an artifact that serves.
        item_entity: Shape (num_items,), int64: the entity that each item is.
        extracted: Shape (num_triples,): which triples were extracted from text; None: none.
    """

    entity_ids: Strings
    entity_types: Strings
    entity_names: Strings
    relations: tuple[str, ...]
    phrases: tuple[str, ...]
    head: IntArray
    relation: IntArray
    tail: IntArray
    item_entity: IntArray
    extracted: BoolArray | None = None

    @property
    def num_entities(self) -> int:
        """Number of entities, items included."""
        return len(self.entity_ids)

    @property
    def num_triples(self) -> int:
        """Number of triples, each stored in one direction."""
        return len(self.head)

    def ablated(self, mode: GraphMode, seed: int) -> KnowledgeGraph:
        """Return the graph for an ablation.

        Args:
            mode: "on": as it is; "off": no triples; "shuffled": tails permuted within each
                relation (degrees kept); "random": tails drawn uniformly from the tails that occur
                in the relation; "tables": without the triples that were extracted from text.
            seed: Seed of the permutation or draw.
        """
        if mode == "on":
            return self
        if mode == "off":
            return self.with_triples(np.zeros(self.num_triples, dtype=np.bool_))
        if mode == "tables":
            return self if self.extracted is None else self.with_triples(~self.extracted)
        rng = np.random.default_rng(seed)
        tail = self.tail.copy()
        for relation in range(len(self.relations)):
            rows = np.flatnonzero(self.relation == relation)
            if mode == "shuffled":
                tail[rows] = rng.permutation(tail[rows])
            elif len(rows):
                tail[rows] = rng.choice(np.unique(tail[rows]), size=len(rows))
        return replace(self, tail=tail)

    def with_triples(self, rows: BoolArray) -> KnowledgeGraph:
        """Return the graph with these triples alone."""
        extracted = None if self.extracted is None else self.extracted[rows]
        head, relation, tail = self.head[rows], self.relation[rows], self.tail[rows]
        return replace(self, head=head, relation=relation, tail=tail, extracted=extracted)

    def item_entity_matrix(self, relation: int | None = None) -> sparse.csr_matrix:
        """Return which entities each item touches, in either direction of a triple.

        Args:
            relation: Only triples of this relation_idx; None for all.

        Returns:
            Shape (num_items, num_entities), float32; the number of such triples.
        """
        rows = slice(None) if relation is None else self.relation == relation
        head, tail = self.head[rows], self.tail[rows]
        item_of = np.full(self.num_entities, -1, dtype=np.int64)
        item_of[self.item_entity] = np.arange(len(self.item_entity))
        items = np.concatenate([item_of[head], item_of[tail]])
        entities = np.concatenate([tail, head])
        known = items >= 0
        return sparse.csr_matrix(
            (np.ones(known.sum(), dtype=np.float32), (items[known], entities[known])),
            shape=(len(self.item_entity), self.num_entities),
        )
