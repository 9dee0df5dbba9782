"""A part of the graph and the likes round some items: what a sampled step propagates over.

How it is drawn is for part_sampler.py; what is computed over it, for the encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from kgrec.models.messages import Messages
from kgrec.models.propagation import SparseOperator


@dataclass(frozen=True)
class GraphPart:
    """Items asked for, what they hear from, and what these hear from, numbered anew.

    Attributes:
        num_asked: Items whose vectors are wanted; they come first.
        num_hearing: Items that hear of the knowledge graph: those, and what they hear of by likes.
        items: Shape (num_items,), int64, the item_idx of each.
        entities: Shape (num_entities,), int64, rows among the graph's further nodes.
        messages: Between the nodes, the items first.
        message_values: Shape (num_edges,), float32, the weight of each message by degrees.
        to_users: Shape (num_users, num_hearing): what users hear of items.
        to_users_values: Shape (number of its entries,), float32.
        to_items: Shape (num_asked, num_users): what items hear of users.
        to_items_values: Shape (number of its entries,), float32.
    """

    num_asked: int
    num_hearing: int
    items: Tensor
    entities: Tensor
    messages: Messages
    message_values: Tensor
    to_users: SparseOperator
    to_users_values: Tensor
    to_items: SparseOperator
    to_items_values: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the part on ``device``."""
        moved = {
            item.name: getattr(self, item.name).to(device)
            for item in fields(self)
            if not item.name.startswith("num_")
        }
        return replace(self, **moved)


def rows_of(table: Tensor, rows: Tensor) -> Tensor:
    """Return rows of a table of weights; the gradient holds these rows alone."""
    return torch.nn.functional.embedding(rows, table, sparse=True)
