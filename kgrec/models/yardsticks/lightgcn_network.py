"""The layers of LightGCN over the user-item graph of the train likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from kgrec.data.interactions import IntArray
from kgrec.models.propagation import SparseOperator, symmetric_values
from kgrec.models.yardsticks.fitting import Network, ranking_loss


class LightGCNNetwork(Network):
    """U_k+1 = A I_k, I_k+1 = A' U_k with A_ui = 1 / sqrt(|N_u| |N_i|), over the likes.

    Args:
        user_idx, item_idx: Shape (num_likes,), int64, each pair once.
        shape: (num_users, num_items).
        embedding_dim: Dimensions of the vectors.
        num_layers: Layers of propagation.
        l2: Weight of the squared first vectors of a step, for each like.
        loss: "pairwise" or "softmax".
    """

    values: Tensor

    def __init__(
        self,
        user_idx: IntArray,
        item_idx: IntArray,
        shape: tuple[int, int],
        embedding_dim: int,
        num_layers: int,
        l2: float,
        loss: str,
    ) -> None:
        super().__init__()
        self.num_layers, self.l2, self.kind = num_layers, l2, loss
        self.users = nn.Parameter(torch.randn(shape[0], embedding_dim) * 0.1)
        self.items = nn.Parameter(torch.randn(shape[1], embedding_dim) * 0.1)
        edges = torch.from_numpy(user_idx), torch.from_numpy(item_idx)
        values = symmetric_values(*edges, torch.ones(len(user_idx)), shape)
        self.register_buffer("values", values, persistent=False)
        self.operator = SparseOperator.from_edges(user_idx, item_idx, shape)

    def layers(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the users' and the items' vectors in each layer, the first ones at 0."""
        users: list[Tensor] = [self.users]
        items: list[Tensor] = [self.items]
        for _ in range(self.num_layers):
            below_users, below_items = users[-1], items[-1]
            users.append(self.operator(self.values, below_items))
            items.append(self.operator.transposed(self.values, below_users))
        return users, items

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Return the vectors that are multiplied: the means of the layers.

        The users' own first vectors are left out of their means, in training too: they are known
        of trained users alone, and whoever asks is known by a history.
        """
        users, items = self.layers()
        weight = 1.0 / (self.num_layers + 1)
        return torch.stack(users[1:]).sum(0) * weight, torch.stack(items).sum(0) * weight

    def loss(self, *batch: Tensor) -> Tensor:
        """Return the loss of (users, liked items, unliked items)."""
        user, liked, unliked = batch
        users, items = self.vectors()
        first = self.users[user].square().sum() + self.items[liked].square().sum()
        if self.kind == "pairwise":
            first = first + self.items[unliked].square().sum()
        penalty = self.l2 * first / (2 * len(user))
        return ranking_loss(users[user], items, liked, unliked, self.kind) + penalty

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.operator = self.operator.to(self.users.device)
        return self
