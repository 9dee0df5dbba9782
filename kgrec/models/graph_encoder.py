"""Relation-aware propagation over the knowledge graph and over the train interactions.

Gives each item what its neighbours say; fusing that with id, text and numbers is item_tower.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import IntArray, Interactions
from kgrec.models.graph_layers import attended, graph_rule
from kgrec.models.propagation import SparseOperator, symmetric_values
from kgrec.models.towers_config import TowersConfig


@dataclass(frozen=True)
class RelationalGraph:
    """The triples as two sparse structures: node -> (node, relation) pair -> node.

    Nodes are the items 0..num_items-1, then the other entities that connect something. Each triple
    sends a message both ways, the reverse under its own relation (relation + num_relations).

    Attributes:
        num_items, num_nodes, num_relations: Sizes; num_relations counts both directions.
        kept_entities: Shape (num_nodes - num_items,), the entity_idx of each further node.
        select: Shape (num_pairs, num_nodes): takes the source node of each pair.
        pairs_of_relation: Shape (num_relations,), int64: pairs stand in the order of relations.
        aggregate: Shape (num_nodes, num_pairs): sums the pairs' messages at their targets.
        pair: Shape (num_edges,), int64, the pair of each message.
        target, source, relation: Shape (num_edges,), int64, of each message.
    """

    num_items: int
    num_nodes: int
    num_relations: int
    kept_entities: IntArray
    select: SparseOperator
    pairs_of_relation: Tensor
    aggregate: SparseOperator
    pair: Tensor
    target: Tensor
    source: Tensor
    relation: Tensor

    @classmethod
    def of(cls, graph: KnowledgeGraph, min_entity_degree: int = 2) -> RelationalGraph:
        """Return the structures of a knowledge graph.

        Args:
            graph: The train-time graph.
            min_entity_degree: Entities with fewer triples that are no items are left out with
                their triples: what touches one item alone tells no item about another.
        """
        num_items = len(graph.item_entity)
        node_of, kept_entities, kept_triples = _nodes(graph, min_entity_degree)
        head, tail = node_of[graph.head[kept_triples]], node_of[graph.tail[kept_triples]]
        relation, count = graph.relation[kept_triples].astype(np.int64), len(graph.relations)
        source = np.concatenate([head, tail])
        target = np.concatenate([tail, head])
        both = np.concatenate([relation, relation + count])
        num_nodes = num_items + len(kept_entities)
        pairs, pair = np.unique(both * num_nodes + source, return_inverse=True)
        pair_source = pairs % max(num_nodes, 1)
        num_pairs = len(pairs)
        return cls(
            num_items=num_items,
            num_nodes=num_nodes,
            num_relations=2 * count,
            kept_entities=kept_entities,
            select=SparseOperator.from_edges(
                np.arange(num_pairs), pair_source, (num_pairs, num_nodes)
            ),
            pairs_of_relation=torch.from_numpy(
                np.bincount(pairs // max(num_nodes, 1), minlength=2 * count)
            ),
            aggregate=SparseOperator.from_edges(target, pair, (num_nodes, num_pairs)),
            pair=torch.from_numpy(pair.reshape(-1).astype(np.int64)),
            target=torch.from_numpy(target),
            source=torch.from_numpy(source),
            relation=torch.from_numpy(both),
        )

    @property
    def num_edges(self) -> int:
        """Number of messages, two for each triple kept."""
        return self.aggregate.num_edges

    def to(self, device: torch.device) -> RelationalGraph:
        """Return the structures on ``device``."""
        moved = {
            item.name: getattr(self, item.name).to(device)
            for item in fields(self)
            if isinstance(getattr(self, item.name), Tensor | SparseOperator)
        }
        return replace(self, **moved)


def _nodes(graph: KnowledgeGraph, min_degree: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return entity -> node (-1: left out), the further entities kept, and the triples kept."""
    degree = np.bincount(np.concatenate([graph.head, graph.tail]), minlength=graph.num_entities)
    is_item = np.zeros(graph.num_entities, dtype=bool)
    is_item[graph.item_entity] = True
    kept = is_item | (degree >= max(min_degree, 1))
    triples = np.flatnonzero(kept[graph.head] & kept[graph.tail] & (graph.head != graph.tail))
    further = np.flatnonzero(kept & ~is_item)
    node_of = np.full(graph.num_entities, -1, dtype=np.int64)
    node_of[graph.item_entity] = np.arange(len(graph.item_entity))
    node_of[further] = len(graph.item_entity) + np.arange(len(further))
    return node_of, further, triples


class KnowledgeEncoder(nn.Module):
    """Messages of the knowledge graph to each item.

    Layer l: h_v = sum over triples (u, r, v) of weight(u, r, v) * message(h_u, r), with message and
    weight as the rule has them (graph_layers.py); all layers share a rule. The answer is the mean
    of layers 1..L at the items.
    """

    def __init__(self, graph: RelationalGraph, config: TowersConfig) -> None:
        super().__init__()
        self.graph = graph
        self.num_layers = config.graph_layers
        self.temperature = config.temperature
        self.entities = nn.Parameter(
            torch.randn(graph.num_nodes - graph.num_items, config.embedding_dim) * 0.1
        )
        self.rule = graph_rule(config)
        self.relations = nn.Parameter(self.rule.first_relations(graph.num_relations))

    def forward(self, items: Tensor, kept: Tensor) -> Tensor:
        """Return the graph's message to each item.

        Args:
            items: Shape (num_items, dim), the items before propagation.
            kept: Shape (num_edges,), float32, 0 for messages left out.

        Returns:
            Shape (num_items, dim); zero rows for items without triples.
        """
        layers = self.layers(items, kept)
        total = torch.zeros_like(items)
        for nodes in layers[1:]:
            total = total + nodes[: self.graph.num_items]
        heard = torch.bincount(self.graph.target, weights=kept, minlength=self.graph.num_nodes) > 0
        total = total * heard[: self.graph.num_items].unsqueeze(1)
        return total / max(self.num_layers, 1)

    def layers(self, items: Tensor, kept: Tensor) -> list[Tensor]:
        """Return the nodes before propagation and after each layer, each (num_nodes, dim)."""
        graph = self.graph
        values = symmetric_values(
            graph.target, graph.source, kept, (graph.num_nodes, graph.num_nodes)
        )
        ones = torch.ones(graph.select.num_edges, device=items.device)
        relations = torch.repeat_interleave(self.relations, graph.pairs_of_relation, dim=0)
        found = [torch.cat([items, self.entities])]
        for _ in range(self.num_layers):
            nodes = found[-1]
            messages = self.rule.message(graph.select(ones, nodes), relations)
            if self.rule.attends:
                edges = messages[graph.pair]
                logits = self.rule.logits(nodes[graph.target], edges)
                told = attended(logits, edges, graph.target, kept, graph.num_nodes)
            else:
                told = graph.aggregate(values, messages)
            found.append(self.rule.combine(nodes, told))
        return found

    def link_loss(self, items: Tensor, count: int) -> Tensor:
        """Return how badly some triples are foretold: which node hears what another one says.

        -log softmax over the drawn targets of cos(message(h_u, r), h_v) / temperature, on the nodes
        before propagation: DistMult (Yang et al. 2015) under the rule "scaled".

        Args:
            items: Shape (num_items, dim), the items before propagation.
            count: Triples drawn, each in one direction.
        """
        graph = self.graph
        drawn = torch.randint(graph.num_edges, (count,), device=items.device)
        nodes, target = torch.cat([items, self.entities]), graph.target[drawn]
        said = self.rule.message(nodes[graph.source[drawn]], self.relations[graph.relation[drawn]])
        said = nn.functional.normalize(said, dim=1, eps=1e-6)
        heard = nn.functional.normalize(nodes[target], dim=1, eps=1e-6)
        logits = said @ heard.T / self.temperature
        same = (target.unsqueeze(0) == target.unsqueeze(1)).fill_diagonal_(False)
        logits = logits.masked_fill(same, -1e9)  # the same node, drawn twice, is no wrong answer
        return nn.functional.cross_entropy(logits, torch.arange(count, device=items.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.graph = self.graph.to(self.entities.device)
        return self


class InteractionEncoder(nn.Module):
    """Messages item -> user -> item over train positives; users hold no parameters of their own.

    g = A^T A x with A the symmetric-normalised user-item matrix over the edges kept: the second
    layer of LightGCN with the users' own embeddings taken away, so that users stay inductive.
    """

    user_idx: Tensor
    item_idx: Tensor

    def __init__(self, positives: Interactions, num_users: int, num_items: int) -> None:
        super().__init__()
        self.shape = (num_users, num_items)
        self.register_buffer("user_idx", torch.from_numpy(positives.user_idx), persistent=False)
        self.register_buffer("item_idx", torch.from_numpy(positives.item_idx), persistent=False)
        self.operator = SparseOperator.from_edges(
            positives.user_idx, positives.item_idx, self.shape
        )

    def forward(self, items: Tensor, kept: Tensor) -> Tensor:
        """Return the message to each item, shape (num_items, dim); zero where no edge is kept.

        Args:
            items: Shape (num_items, dim).
            kept: Shape (num_positives,), float32, 0 for edges left out (targets of this step).
        """
        values = symmetric_values(self.user_idx, self.item_idx, kept, self.shape)
        users = self.operator(values, items)
        return self.operator.transposed(values, users)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.operator = self.operator.to(self.user_idx.device)
        return self
