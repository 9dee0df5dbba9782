"""The messages of a graph, or of a part of it, as sparse structures: node -> pair -> node.

What a message says is for graph_layers.py; which messages there are is for graph_encoder.py and
graph_part.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from kgrec.data.interactions import IntArray
from kgrec.models.propagation import SparseOperator


@dataclass(frozen=True)
class Messages:
    """Who says something to whom; what a (node, relation) pair says is computed once.

    Attributes:
        num_nodes: Nodes that speak or hear.
        select: Shape (num_pairs, num_nodes): takes the source node of each pair.
        pairs_of_relation: Shape (num_relations,), int64: pairs stand in the order of relations.
        aggregate: Shape (num_nodes, num_pairs): sums the pairs' messages at their targets.
        pair: Shape (num_edges,), int64, the pair of each message.
        target, source, relation: Shape (num_edges,), int64, of each message.
    """

    num_nodes: int
    select: SparseOperator
    pairs_of_relation: Tensor
    aggregate: SparseOperator
    pair: Tensor
    target: Tensor
    source: Tensor
    relation: Tensor

    @classmethod
    def of(
        cls,
        target: IntArray,
        source: IntArray,
        relation: IntArray,
        num_nodes: int,
        num_relations: int,
    ) -> Self:
        """Return the structures of messages, each of shape (num_edges,), int64."""
        pairs, pair = np.unique(relation * num_nodes + source, return_inverse=True)
        pair = pair.reshape(-1).astype(np.int64)
        num_pairs, nodes = len(pairs), max(num_nodes, 1)
        return cls(
            num_nodes=num_nodes,
            select=SparseOperator.from_edges(
                np.arange(num_pairs), pairs % nodes, (num_pairs, num_nodes)
            ),
            pairs_of_relation=torch.from_numpy(
                np.bincount(pairs // nodes, minlength=num_relations)
            ),
            aggregate=SparseOperator.from_edges(target, pair, (num_nodes, num_pairs)),
            pair=torch.from_numpy(pair),
            target=torch.from_numpy(target),
            source=torch.from_numpy(source),
            relation=torch.from_numpy(relation),
        )

    @property
    def num_edges(self) -> int:
        """Number of messages."""
        return self.aggregate.num_edges

    def to(self, device: torch.device) -> Self:
        """Return the structures on ``device``."""
        moved = {
            item.name: getattr(self, item.name).to(device)
            for item in fields(self)
            if item.name != "num_nodes"
        }
        return replace(self, **moved)
