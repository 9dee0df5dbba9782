"""What a triple's message is and how messages are weighed: the rules of the knowledge encoder.

A rule knows vectors alone; which node sends to which is for graph_encoder.py.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from kgrec.models.towers_config import TowersConfig


class GraphRule(nn.Module):
    """Scaled messages: h_u * w_r, summed with the symmetric norm; the default.

    As CompGCN's "mult" (Vashishth et al. 2020) without weight matrix and non-linearity, as in
    LightGCN (He et al. 2020).
    """

    attends: ClassVar[bool] = False

    def __init__(self, config: TowersConfig) -> None:
        super().__init__()
        self.embedding_dim = config.embedding_dim

    def first_relations(self, num_relations: int) -> Tensor:
        """Return the first weights of each relation, shape (num_relations, width of the rule)."""
        return torch.ones(num_relations, self.embedding_dim)

    def message(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Return the message of each (node, relation), shape (n, dim).

        Args:
            sources: Shape (n, dim), the node that sends.
            relations: Shape (n, width), the relation's weights.
        """
        return sources * relations

    def logits(self, own: Tensor, messages: Tensor) -> Tensor:
        """Return how much each message matters to the node it comes to, shape (n,).

        Args:
            own: Shape (n, dim), the node that hears.
            messages: Shape (n, dim).

        Raises:
            NotImplementedError: The rule does not attend.
        """
        raise NotImplementedError(f"{type(self).__name__} weighs messages by degrees alone")

    def combine(self, own: Tensor, told: Tensor) -> Tensor:
        """Return the nodes of the next layer out of these, shape (n, dim), and what they heard."""
        return told


class AttentionRule(GraphRule):
    """Messages h_u * w_r, weighed by attention of the node that hears.

    pi(u, r, v) = (Q h_v) . tanh(K (h_u * w_r)) / sqrt(dim), softmax over the messages to v. As KGAT
    (Wang et al., KDD 2019, equation 4) with one Q and K for all relations and w_r in place of a
    matrix a relation; the answer is told alone, without the node's own vector.
    """

    attends: ClassVar[bool] = True

    def __init__(self, config: TowersConfig) -> None:
        super().__init__(config)
        self.query = nn.Linear(config.embedding_dim, config.embedding_dim, bias=False)
        self.key = nn.Linear(config.embedding_dim, config.embedding_dim, bias=False)

    def logits(self, own: Tensor, messages: Tensor) -> Tensor:
        """See GraphRule."""
        pull = self.query(own) * torch.tanh(self.key(messages))
        return torch.as_tensor(pull.sum(dim=1) * self.embedding_dim**-0.5)


class BasisRule(GraphRule):
    """Messages W_r h_u with W_r = sum_b a_rb V_b, and the node's own vector beside them.

    h_v' = tanh(sum norm(u, v) W_r h_u + W_0 h_v). R-GCN with basis decomposition (Schlichtkrull et
    al. 2018, equations 2 and 3) with the symmetric norm, and tanh for ReLU since vectors are
    compared by their angle.
    """

    def __init__(self, config: TowersConfig) -> None:
        super().__init__(config)
        dim, self.count = config.embedding_dim, config.graph_bases
        noise = torch.randn(self.count, dim, dim) * (0.3 / dim**0.5)
        self.bases = nn.Parameter(torch.eye(dim) / self.count + noise)
        self.own = nn.Parameter(torch.zeros(dim, dim))

    def first_relations(self, num_relations: int) -> Tensor:
        """See GraphRule."""
        return 1.0 + 0.1 * torch.randn(num_relations, self.count)

    def message(self, sources: Tensor, relations: Tensor) -> Tensor:
        """See GraphRule."""
        told = torch.zeros_like(sources)
        for column, basis in enumerate(self.bases):
            told = told + relations[:, column : column + 1] * (sources @ basis)
        return told

    def combine(self, own: Tensor, told: Tensor) -> Tensor:
        """See GraphRule."""
        return torch.tanh(told + own @ self.own)


RULES: dict[str, type[GraphRule]] = {
    "scaled": GraphRule,
    "attention": AttentionRule,
    "basis": BasisRule,
}


def graph_rule(config: TowersConfig) -> GraphRule:
    """Return the rule that ``config.graph_rule`` names, with its first weights."""
    return RULES[config.graph_rule](config)


def attended(logits: Tensor, messages: Tensor, target: Tensor, kept: Tensor, rows: int) -> Tensor:
    """Return the attention-weighted mean of the messages to each node, shape (rows, dim).

    Args:
        logits: Shape (num_edges,).
        messages: Shape (num_edges, dim).
        target: Shape (num_edges,), int64, the node that hears.
        kept: Shape (num_edges,), float32, 0 for messages left out.
        rows: Number of nodes; one that hears nothing gets zeros.
    """
    high = logits.new_full((rows,), -torch.inf).scatter_reduce(0, target, logits.detach(), "amax")
    weight = torch.exp(logits - high[target]) * kept
    total = torch.zeros_like(high).index_add(0, target, weight)
    share = weight / total.clamp_min(1e-12)[target]
    empty = messages.new_zeros((rows, messages.shape[1]))
    return empty.index_add(0, target, share.unsqueeze(1) * messages)
