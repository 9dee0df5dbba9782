"""Tower vectors of items that came after training: from text, numbers and triples alone.

The trained item tower is asked as for any item without events. What the graph tells a new item is
computed out of the nodes as they stood; that the new item would tell its neighbours something is
left to the next training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.graph_encoder import KnowledgeEncoder, RelationalGraph
from kgrec.models.item_tower import ItemFeatures, ItemTower
from kgrec.models.towers import TowersScorer


@dataclass(frozen=True)
class ColdItem:
    """What is known of a new item.

    Attributes:
        text: Shape (text_dim,), as the tower's own text features; zeros where there is none.
        numeric: Shape (num_numeric,), as the tower's own numeric features.
        relation: Shape (t,), int64: relation_idx of each triple, + the number of relations where
            the item is its head: the direction in which the entity's message comes.
        entity: Shape (t,), int64: entity_idx of the other end.
        given: Shape (D,), as the tower's own given features; zeros where there is none. Not read
            where the towers have none.
    """

    text: FloatArray
    numeric: FloatArray
    relation: IntArray
    entity: IntArray
    given: FloatArray | None = None


class ColdItems:
    """Makes tower vectors of new items.

    Args:
        towers: Fitted.
        graph: The graph that they were trained on.
        text: Shape (num_items, text_dim), text features of the items they were trained on.
        numeric: Shape (num_items, num_numeric), numeric features of these.
        warm: Shape (num_items,), bool: items with train interactions.
        given: Shape (num_items, D), given features of the items, where the towers have any.
    """

    @torch.no_grad()
    def __init__(
        self,
        towers: TowersScorer,
        graph: KnowledgeGraph,
        text: FloatArray,
        numeric: FloatArray,
        warm: BoolArray,
        given: FloatArray | None = None,
    ) -> None:
        self._config = towers.config
        prefix = "items."
        self._weights = {
            name.removeprefix(prefix): value
            for name, value in towers._state.weights.items()
            if name.startswith(prefix)
        }
        if towers._state.entity_starts is not None:
            self._weights["knowledge.entities"] = towers._state.entity_starts
            del self._weights["knowledge.names"]
        self.text_dim = self._weights["text"].shape[1]
        self.given_dim = self._weights["given"].shape[1] if "given" in self._weights else 0
        self._node_of: dict[int, int] = {}
        if "knowledge.entities" in self._weights:
            self._layers(graph, text, numeric, warm, given)

    @torch.no_grad()
    def vectors(self, items: Sequence[ColdItem]) -> FloatArray:
        """Return vectors with the bias as the last number, shape (len(items), dim + 1), float32."""
        features = ItemFeatures(
            text=torch.from_numpy(np.stack([item.text for item in items])),
            numeric=torch.from_numpy(np.stack([item.numeric for item in items])),
            warm=torch.zeros(len(items), dtype=torch.bool),
            given=torch.stack([self._given(item) for item in items]) if self.given_dim else None,
        )
        knowledge = _Told(torch.stack([self._message(item) for item in items]))
        tower = ItemTower(self._config, features, None, None)
        tower.knowledge = knowledge  # type: ignore[assignment]
        known = {
            name: value
            for name, value in self._weights.items()
            if name not in ("ids", "id_bias")
            and not name.startswith(("knowledge.", "interactions."))
        }
        tower.load_state_dict(known, strict=False)
        vectors, bias = tower.eval()(features.warm)
        return np.asarray(torch.cat([vectors, bias.unsqueeze(1)], dim=1).numpy())

    def _layers(
        self,
        graph: KnowledgeGraph,
        text: FloatArray,
        numeric: FloatArray,
        warm: BoolArray,
        given: FloatArray | None,
    ) -> None:
        """Keep the nodes of each layer, as KnowledgeEncoder propagates them."""
        weights = self._weights
        nodes_of = RelationalGraph.of(graph, self._config.min_entity_degree)
        nodes = np.concatenate([graph.item_entity, nodes_of.kept_entities])
        self._node_of = {int(entity): node for node, entity in enumerate(nodes)}
        ends = np.concatenate([nodes_of.head, nodes_of.tail])
        self._degree = torch.from_numpy(np.bincount(ends, minlength=nodes_of.num_nodes))
        numbers = torch.tanh(torch.from_numpy(numeric) @ weights["numbers"].T)
        numbers = numbers @ weights["numeric.weight"].T + weights["numeric.bias"]
        items = torch.from_numpy(text) @ weights["text"].T + numbers
        items = items + weights["ids"] * torch.from_numpy(warm).unsqueeze(1)
        if self.given_dim and given is not None:
            items = items + torch.from_numpy(given) @ weights["given"].T
        self._encoder = KnowledgeEncoder(nodes_of, self._config)
        prefix = "knowledge."
        self._encoder.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in weights.items()
                if name.startswith(prefix)
            }
        )
        self._nodes = self._encoder.layers(items, None)[:-1]

    def _message(self, item: ColdItem) -> Tensor:
        """Return what the graph tells a new item, shape (dim,): the mean over the layers."""
        dim = self._weights["text"].shape[0]
        pairs = [
            (relation, self._node_of[entity])
            for relation, entity in zip(item.relation.tolist(), item.entity.tolist(), strict=True)
            if entity in self._node_of
        ]
        if not pairs:
            return torch.zeros(dim)
        relation, node = (torch.tensor(column) for column in zip(*pairs, strict=True))
        norm = ((self._degree[node] + 1.0) * len(pairs)).rsqrt().unsqueeze(1)
        rule, relations = self._encoder.rule, self._encoder.relations[relation]
        own, heard = self._own(item), []
        for nodes in self._nodes:
            messages = rule.message(nodes[node], relations)
            if rule.attends:
                norm = torch.softmax(rule.logits(own.expand_as(messages), messages), 0).unsqueeze(1)
            own = rule.combine(own, (messages * norm).sum(dim=0))
            heard.append(own)
        return torch.stack(heard).mean(dim=0)

    def _own(self, item: ColdItem) -> Tensor:
        """Return a new item's vector before propagation, shape (dim,): what it has but triples."""
        weights = self._weights
        numbers = torch.tanh(weights["numbers"] @ torch.from_numpy(item.numeric))
        numbers = weights["numeric.weight"] @ numbers + weights["numeric.bias"]
        own = weights["text"] @ torch.from_numpy(item.text) + numbers
        return own + weights["given"] @ self._given(item) if self.given_dim else own

    def _given(self, item: ColdItem) -> Tensor:
        if item.given is None:
            return torch.zeros(self.given_dim)
        return torch.from_numpy(item.given)


class _Told(nn.Module):
    """Stands where the knowledge encoder stands, with its messages computed before."""

    def __init__(self, messages: Tensor) -> None:
        super().__init__()
        self.messages = messages

    def forward(self, items: Tensor, kept: None, part: None) -> Tensor:
        return self.messages


def with_rows(towers: TowersScorer, vectors: FloatArray) -> TowersScorer:
    """Return the towers with further items at the end, shape (n, dim + 1)."""
    wider = copy.copy(towers)
    state = towers._state
    wider._fitted = replace(state, items=torch.cat([state.items, torch.from_numpy(vectors)]))
    return wider
