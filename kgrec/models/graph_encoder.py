"""Relation-aware propagation over the knowledge graph and over the train interactions.

Gives each item what its neighbours say; fusing that with id, text and numbers is item_tower.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import BoolArray, IntArray, Interactions
from kgrec.models.first_weights import principal_directions
from kgrec.models.graph_blocks import layer_in_blocks
from kgrec.models.graph_layers import attended, graph_rule
from kgrec.models.graph_part import GraphPart, rows_of
from kgrec.models.messages import Messages
from kgrec.models.neighbours import Neighbours, SmallInts
from kgrec.models.propagation import SparseOperator, stable_order, symmetric_values
from kgrec.models.towers_config import TowersConfig


@dataclass(frozen=True)
class RelationalGraph:
    """The triples between nodes; each sends a message both ways.

    Nodes are the items 0..num_items-1, then the other entities that connect something. A message
    against the direction of its triple has a relation of its own (relation + num_relations / 2).

    Attributes:
        num_items, num_nodes, num_relations: Sizes; num_relations counts both directions.
        kept_entities: Shape (num_nodes - num_items,), the entity_idx of each further node.
        head, relation, tail: Shape (num_triples,), int32: node, relation, node.
    """

    num_items: int
    num_nodes: int
    num_relations: int
    kept_entities: IntArray
    head: SmallInts
    relation: SmallInts
    tail: SmallInts

    @classmethod
    def of(cls, graph: KnowledgeGraph, min_entity_degree: int = 2) -> RelationalGraph:
        """Return the triples of a knowledge graph.

        Args:
            graph: The train-time graph.
            min_entity_degree: Entities with fewer triples that are no items are left out with
                their triples: what touches one item alone tells no item about another.
        """
        node_of, kept_entities, kept_triples = _nodes(graph, min_entity_degree)
        num_items = len(graph.item_entity)
        return cls(
            num_items=num_items,
            num_nodes=num_items + len(kept_entities),
            num_relations=2 * len(graph.relations),
            kept_entities=kept_entities,
            head=node_of[graph.head[kept_triples]],
            relation=graph.relation[kept_triples].astype(np.int32),
            tail=node_of[graph.tail[kept_triples]],
        )

    @property
    def num_edges(self) -> int:
        """Number of messages, two for each triple kept."""
        return 2 * len(self.head)

    @cached_property
    def messages(self) -> Messages:
        """All messages, those in the direction of their triple first."""
        target, source, relation = (ends.astype(np.int64) for ends in self._both_ways())
        return Messages.of(target, source, relation, self.num_nodes, self.num_relations)

    @cached_property
    def incoming(self) -> tuple[Neighbours, SmallInts]:
        """The messages by target, in the order of relation and source, and their relations.

        It takes a fifth of the memory of ``messages`` and is all that large graphs need.
        """
        target, source, relation = self._both_ways()
        _, order = stable_order(source, self.num_nodes, np.zeros(0, dtype=np.int64))
        _, order = stable_order(relation, self.num_relations, order)
        indptr, order = stable_order(target, self.num_nodes, order)
        none = np.zeros(0, dtype=np.int64)
        return Neighbours(indptr, source[order], none), relation[order]

    def _both_ways(self) -> tuple[SmallInts, SmallInts, SmallInts]:
        """Return target, source and relation of each message, shape (num_edges,) each."""
        back = self.relation + np.int32(self.num_relations // 2)
        return (
            np.concatenate([self.tail, self.head]),
            np.concatenate([self.head, self.tail]),
            np.concatenate([self.relation, back]),
        )


def _nodes(graph: KnowledgeGraph, min_degree: int) -> tuple[SmallInts, IntArray, BoolArray]:
    """Return entity -> node (-1: left out), the further entities kept, and the triples kept."""
    degree = np.bincount(graph.head, minlength=graph.num_entities)
    degree += np.bincount(graph.tail, minlength=graph.num_entities)
    is_item = np.zeros(graph.num_entities, dtype=np.bool_)
    is_item[graph.item_entity] = True
    kept = is_item | (degree >= max(min_degree, 1))
    triples = kept[graph.head] & kept[graph.tail] & (graph.head != graph.tail)
    further = np.flatnonzero(kept & ~is_item)
    node_of = np.full(graph.num_entities, -1, dtype=np.int32)
    node_of[graph.item_entity] = np.arange(len(graph.item_entity))
    node_of[further] = len(graph.item_entity) + np.arange(len(further))
    return node_of, further, triples


@dataclass(frozen=True)
class EntityNames:
    """Text vectors of the names of a graph's further nodes, each distinct name once.

    Attributes:
        vectors: Shape (num_names, text_dim), float32, centred and of unit length; a zero row for
            the empty name.
        name_of: Shape (num_entities,), int64, the row of each further node.
    """

    vectors: Tensor
    name_of: Tensor


class KnowledgeEncoder(nn.Module):
    """Messages of the knowledge graph to each item.

    Layer l: h_v = sum over triples (u, r, v) of weight(u, r, v) * message(h_u, r), with message and
    weight as the rule has them (graph_layers.py); all layers share a rule. The answer is the mean
    of layers 1..L at the items. With names, a further node starts as its own vector plus the
    projected text vector of its name; its own vector is zero until training moves it, so that an
    entity that nothing was learned of lies where its name says.
    """

    name_vectors: Tensor
    name_of: Tensor

    def __init__(
        self, graph: RelationalGraph, config: TowersConfig, names: EntityNames | None = None
    ) -> None:
        super().__init__()
        self.graph = graph
        self.num_layers = config.graph_layers
        self.temperature = config.temperature
        self.in_blocks = graph.num_edges > config.sampled_above
        self._whole: Messages | None = None
        self.entities = nn.Parameter(
            torch.randn(graph.num_nodes - graph.num_items, config.embedding_dim) * 0.1
        )
        self.rule = graph_rule(config)
        self.relations = nn.Parameter(self.rule.first_relations(graph.num_relations))
        self.names: nn.Parameter | None = None
        if names is not None:
            self.register_buffer("name_vectors", names.vectors, persistent=False)
            self.register_buffer("name_of", names.name_of, persistent=False)
            self.names = nn.Parameter(principal_directions(names.vectors, config.embedding_dim))
            is_named = (names.vectors != 0).any(dim=1)[names.name_of]
            self.entities.data[is_named] = 0.0

    def forward(self, items: Tensor, kept: Tensor | None, part: GraphPart | None = None) -> Tensor:
        """Return the graph's message to each item.

        Args:
            items: Shape (num_items, dim), the items before propagation; those of ``part``.
            kept: Shape (num_edges,), float32, 0 for messages left out; None: none is.
            part: What is propagated over; None: the whole graph.

        Returns:
            Shape (num_items, dim), or (part.num_hearing, dim); zero rows for items that hear
            nothing.
        """
        layers = self.layers(items, kept, part)
        asked = self.graph.num_items if part is None else part.num_hearing
        total = torch.zeros_like(layers[0][:asked])
        for nodes in layers[1:]:
            total = total + nodes[:asked]
        total = total * self._heard(kept, part)[:asked].unsqueeze(1)
        return total / max(self.num_layers, 1)

    def layers(
        self, items: Tensor, kept: Tensor | None, part: GraphPart | None = None
    ) -> list[Tensor]:
        """Return the nodes before propagation and after each layer, each (num_nodes, dim).

        In a part, layer l holds for nodes that are at most L - l steps from those asked for.
        """
        found = [torch.cat([items, self.starts(part)])]
        if part is None and kept is None and self.in_blocks and not torch.is_grad_enabled():
            for _ in range(self.num_layers):
                found.append(
                    layer_in_blocks(*self.graph.incoming, self.rule, self.relations, found[-1])
                )
            return found
        messages = self._messages(part)
        values, kept = self._values(kept, part)
        ones = torch.ones(messages.select.num_edges, device=items.device)
        relations = torch.repeat_interleave(self.relations, messages.pairs_of_relation, dim=0)
        for _ in range(self.num_layers):
            nodes = found[-1]
            said = self.rule.message(messages.select(ones, nodes), relations)
            if self.rule.attends:
                edges = said[messages.pair]
                logits = self.rule.logits(nodes[messages.target], edges)
                told = attended(logits, edges, messages.target, kept, messages.num_nodes)
            else:
                told = messages.aggregate(values, said)
            found.append(self.rule.combine(nodes, told))
        return found

    def link_loss(self, items: Tensor, count: int, part: GraphPart | None = None) -> Tensor:
        """Return how badly some triples are foretold: which node hears what another one says.

        -log softmax over the drawn targets of cos(message(h_u, r), h_v) / temperature, on the nodes
        before propagation: DistMult (Yang et al. 2015) under the rule "scaled".

        Args:
            items: Shape (num_items, dim), the items before propagation; those of ``part``.
            count: Triples drawn, each in one direction.
            part: Where they are drawn; None: in the whole graph.
        """
        messages = self._messages(part)
        if not messages.num_edges:
            return torch.zeros((), device=items.device)
        drawn = torch.randint(messages.num_edges, (count,), device=items.device)
        nodes, target = torch.cat([items, self.starts(part)]), messages.target[drawn]
        source, relation = messages.source[drawn], messages.relation[drawn]
        said = self.rule.message(nodes[source], self.relations[relation])
        said = nn.functional.normalize(said, dim=1, eps=1e-6)
        heard = nn.functional.normalize(nodes[target], dim=1, eps=1e-6)
        logits = said @ heard.T / self.temperature
        same = (target.unsqueeze(0) == target.unsqueeze(1)).fill_diagonal_(False)
        logits = logits.masked_fill(same, -1e9)  # the same node, drawn twice, is no wrong answer
        return nn.functional.cross_entropy(logits, torch.arange(count, device=items.device))

    def starts(self, part: GraphPart | None = None) -> Tensor:
        """Return the further nodes before propagation, shape (num_entities, dim), or those of
        ``part``.
        """
        entities = self.entities if part is None else rows_of(self.entities, part.entities)
        if self.names is None:
            return entities
        if part is None:
            return entities + (self.name_vectors @ self.names.T)[self.name_of]
        return entities + self.name_vectors[self.name_of[part.entities]] @ self.names.T

    def _messages(self, part: GraphPart | None) -> Messages:
        if part is not None:
            return part.messages
        device = self.entities.device
        if self._whole is None or self._whole.target.device != device:
            self._whole = self.graph.messages.to(device)
        return self._whole

    def _values(self, kept: Tensor | None, part: GraphPart | None) -> tuple[Tensor, Tensor]:
        """Return the weight of each message by degrees, and which are kept at all."""
        if part is not None:
            return part.message_values, torch.ones_like(part.message_values)
        whole = self._messages(None)
        if kept is None:
            kept = torch.ones(whole.num_edges, device=whole.target.device)
        shape = (whole.num_nodes, whole.num_nodes)
        return symmetric_values(whole.target, whole.source, kept, shape), kept

    def _heard(self, kept: Tensor | None, part: GraphPart | None) -> Tensor:
        """Return which nodes hear anything, shape (num_nodes,), bool."""
        if part is None and kept is None:
            degree = np.bincount(self.graph.head, minlength=self.graph.num_nodes)
            degree += np.bincount(self.graph.tail, minlength=self.graph.num_nodes)
            return torch.from_numpy(degree > 0).to(self.entities.device)
        messages = self._messages(part)
        return torch.bincount(messages.target, kept, minlength=messages.num_nodes) > 0


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

    def forward(self, items: Tensor, kept: Tensor | None, part: GraphPart | None = None) -> Tensor:
        """Return the message to each item, shape (num_items, dim); zero where no edge is kept.

        Args:
            items: Shape (num_items, dim), or (part.num_hearing, dim).
            kept: Shape (num_positives,), float32, 0 for edges left out (targets of this step);
                None: none is.
            part: What is propagated over; None: all likes. The answer is then of shape
                (part.num_asked, dim).
        """
        if part is not None:
            return part.to_items(part.to_items_values, part.to_users(part.to_users_values, items))
        if kept is None:
            kept = torch.ones(len(self.user_idx), device=self.user_idx.device)
        values = symmetric_values(self.user_idx, self.item_idx, kept, self.shape)
        users = self.operator(values, items)
        return self.operator.transposed(values, users)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.operator = self.operator.to(self.user_idx.device)
        return self
