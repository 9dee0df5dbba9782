"""The layers of KGIN: relation-weighted facts for items, intents of relations for users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec.data.interactions import IntArray
from kgrec.models.graph_encoder import RelationalGraph
from kgrec.models.propagation import SparseOperator
from kgrec.models.yardsticks.fitting import Network, ranking_loss


@dataclass(frozen=True)
class KGINSizes:
    """What shapes the network: see KGINConfig."""

    embedding_dim: int
    num_layers: int
    num_intents: int
    message_dropout: float
    l2: float
    independence: float
    loss: str


class KGINNetwork(Network):
    """Items: h_i' = norm(mean over facts (r, v) of w_r * h_v); users: u' = norm(m * sum_p b_p e_p).

    m is the mean of a user's liked items in the layer below, e_p = sum_r softmax_r(a_pr) w_r an
    intent, b = softmax_p(u . e_p). * multiplies by element.

    Args:
        user_idx, item_idx: Shape (num_likes,), int64, each pair once.
        num_users: Number of users.
        graph: The facts, both ways.
        sizes: Dimensions and weights.
    """

    mean_values: Tensor
    fact_values: Tensor
    likes: Tensor

    def __init__(
        self,
        user_idx: IntArray,
        item_idx: IntArray,
        num_users: int,
        graph: RelationalGraph,
        sizes: KGINSizes,
    ) -> None:
        super().__init__()
        self.sizes, self.num_items, self.messages = sizes, graph.num_items, graph.messages
        dim = sizes.embedding_dim
        self.nodes = nn.Parameter(torch.randn(graph.num_nodes, dim) * 0.1)
        self.relations = nn.Parameter(1.0 + 0.1 * torch.randn(graph.num_relations, dim))
        self.intent_weights = nn.Parameter(
            torch.randn(sizes.num_intents, graph.num_relations) * 0.1
        )
        shape = (num_users, graph.num_items)
        self.operator = SparseOperator.from_edges(user_idx, item_idx, shape)
        likes = torch.from_numpy(np.bincount(user_idx, minlength=num_users).astype(np.float32))
        self.register_buffer("likes", likes, persistent=False)
        self._keep("mean_values", user_idx, num_users)
        self._keep("fact_values", self.messages.target.numpy(), graph.num_nodes)

    def _keep(self, name: str, rows: IntArray, num_rows: int) -> None:
        """Register the values that make a product the mean over each row's entries."""
        degree = np.maximum(np.bincount(rows, minlength=num_rows), 1)
        values = torch.from_numpy((1.0 / degree[rows]).astype(np.float32))
        self.register_buffer(name, values, persistent=False)

    def facts(self, nodes: Tensor) -> Tensor:
        """Return the mean of w_r * h_v over the facts of each node, shape (num_nodes, dim)."""
        facts = self.messages
        ones = torch.ones(facts.select.num_edges, device=nodes.device)
        scale = torch.repeat_interleave(self.relations, facts.pairs_of_relation, dim=0)
        return facts.aggregate(self.fact_values, facts.select(ones, nodes) * scale)

    def intents(self) -> Tensor:
        """Return the intents, shape (num_intents, dim)."""
        return functional.softmax(self.intent_weights, dim=1) @ self.relations

    def node_layers(self) -> list[Tensor]:
        """Return the nodes' vectors in each layer, the first ones at 0; items come first."""
        layers: list[Tensor] = [self.nodes]
        for _ in range(self.sizes.num_layers):
            layers.append(functional.normalize(self._dropped(self.facts(layers[-1]))))
        return layers

    def vectors(self, user: Tensor, liked: Tensor) -> tuple[Tensor, Tensor]:
        """Return a vector for each like's user, made of the user's other likes, and the items'.

        A user's vector that holds the item asked for would find it by itself.

        Args:
            user: Shape (n,), int64, the user of each like.
            liked: Shape (n,), int64, its item.

        Returns:
            Shapes (n, dim) and (num_items, dim), the sums of their layers.
        """
        layers = self.node_layers()
        num_items = self.num_items
        count = self.likes[user].unsqueeze(1)
        means = [
            (self.operator(self.mean_values, layer[:num_items])[user] * count - layer[liked])
            / (count - 1).clamp_min(1)
            for layer in layers[:-1]
        ]
        users = user_vectors(means, self.intents(), self._dropped)
        return users, torch.stack(layers).sum(0)[:num_items]

    def loss(self, *batch: Tensor) -> Tensor:
        """Return the loss of (users, liked items, unliked items)."""
        user, liked, unliked = batch
        users, items = self.vectors(user, liked)
        first = self.nodes[liked].square().sum() + self.nodes[unliked].square().sum()
        penalty = self.sizes.l2 * first / (2 * len(user))
        penalty = penalty + self.sizes.independence * likeness(self.intents())
        return ranking_loss(users, items, liked, unliked, self.sizes.loss) + penalty

    def _dropped(self, message: Tensor) -> Tensor:
        return functional.dropout(message, self.sizes.message_dropout, self.training)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.operator = self.operator.to(self.nodes.device)
        self.messages = self.messages.to(self.nodes.device)
        return self


def user_vectors(
    means: list[Tensor], intents: Tensor, dropped: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return users from the means of their liked items in layers 0..L-1, shape (B, dim).

    Args:
        means: L tensors of shape (B, dim).
        intents: Shape (num_intents, dim).
        dropped: Dropout on each message.
    """
    user = total = means[0]
    for mean in means:
        mixed = functional.softmax(user @ intents.T, dim=1) @ intents
        user = functional.normalize(dropped(mean * mixed))
        total = total + user
    return total


def likeness(intents: Tensor) -> Tensor:
    """Return the mean squared cosine of pairs of different intents, a scalar; 0 for one intent."""
    unit = functional.normalize(intents)
    squares = (unit @ unit.T).square()
    pairs = len(intents) * (len(intents) - 1)
    return (squares.sum() - squares.diagonal().sum()) / max(pairs, 1)
