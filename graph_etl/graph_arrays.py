"""The graph of a snapshot as arrays: each triple once, and what every entity is joined to.

What is asked of the arrays is the business of graph_names, graph_paths and graph_exports.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from graph_etl.snapshot import Snapshot

IntArray = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_TRIPLE = ["head_idx", "relation_idx", "tail_idx"]


def unique_triples(snapshot: Snapshot) -> pl.DataFrame:
    """Return a snapshot's triples with each (head, relation, tail) once, in their order.

    Of triples that several sources say the most confident one stays, as in a graph store.

    Returns:
        The columns of triples, and ``row``, the place in the snapshot's table.
    """
    rows = snapshot.triples.with_row_index("row")
    best = rows.sort("confidence", "row", descending=[True, False], nulls_last=True)
    return best.unique(_TRIPLE, keep="first").sort("row")


@dataclass(frozen=True)
class Adjacency:
    """What every entity is joined to, in compressed rows; each triple stands at both its ends.

    Attributes:
        indptr: Shape (num_entities + 1,): the edges of entity i are ``indptr[i]:indptr[i + 1]``,
            outgoing first, then by relation and by the neighbour's entity_id.
        neighbor: Shape (2 * num_triples,), entity_idx of the other end.
        relation: Likewise, relation_idx.
        outgoing: Likewise, whether the entity is the head of the triple.
    """

    indptr: IntArray
    neighbor: IntArray
    relation: IntArray
    outgoing: BoolArray

    @cached_property
    def degree(self) -> IntArray:
        """Shape (num_entities,): edges of each entity; a self loop counts twice."""
        return np.diff(self.indptr)

    def edges_of(self, entities: IntArray) -> tuple[IntArray, IntArray]:
        """Return (entity, edge) of every edge of the given entities, each of shape (n,)."""
        counts = self.degree[entities]
        starts = self.indptr[entities] - (np.cumsum(counts) - counts)
        edges = np.arange(counts.sum(), dtype=np.int64) + np.repeat(starts, counts)
        return np.repeat(entities, counts), edges


def adjacency_of(snapshot: Snapshot) -> Adjacency:
    """Return the adjacency of a snapshot's triples, each once."""
    triples = unique_triples(snapshot)
    head, tail = (triples[name].to_numpy() for name in ("head_idx", "tail_idx"))
    relation = triples["relation_idx"].cast(pl.Int64).to_numpy()
    near, far = np.concatenate([head, tail]), np.concatenate([tail, head])
    both = np.tile(relation, 2)
    incoming = np.repeat([False, True], len(head))
    id_rank = _ranks(snapshot.entities["entity_id"])
    name_rank = _ranks(snapshot.relation_types["relation"])
    order = np.lexsort((id_rank[far], name_rank[both], incoming, near))
    indptr = np.zeros(snapshot.entities.height + 1, dtype=np.int64)
    np.cumsum(np.bincount(near, minlength=snapshot.entities.height), out=indptr[1:])
    return Adjacency(indptr, far[order], both[order], ~incoming[order])


def _ranks(texts: pl.Series) -> IntArray:
    """Return the place of each text in the order of texts; the same text has the same place."""
    return texts.rank("dense").to_numpy().astype(np.int64)
