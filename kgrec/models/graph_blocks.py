"""One layer over a graph whose messages do not fit into memory together; without gradients."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from kgrec.data.interactions import IntArray
from kgrec.models.graph_layers import GraphRule, attended
from kgrec.models.neighbours import Neighbours, SmallInts
from kgrec.models.propagation import SparseOperator

_MESSAGES = 250_000  # of 64 numbers: 64 MB, a few times


def layer_in_blocks(
    incoming: Neighbours, relation: SmallInts, rule: GraphRule, weights: Tensor, nodes: Tensor
) -> Tensor:
    """Return the nodes of the next layer, shape (num_nodes, dim), a block of targets at a time.

    Memory is bounded by the nodes, a block and the messages to the one that hears most.

    Args:
        incoming: Messages by target.
        relation: Shape (num_edges,), of each message.
        rule: What a message says and weighs.
        weights: Shape (num_relations, width), the relations' weights.
        nodes: Shape (num_nodes, dim).
    """
    degree = torch.from_numpy(np.diff(incoming.indptr))
    parts = []
    for first, stop in _blocks(incoming.indptr):
        begin, end = incoming.indptr[first], incoming.indptr[stop]
        source = torch.from_numpy(incoming.source[begin:end].astype(np.int64))
        kind = torch.from_numpy(relation[begin:end].astype(np.int64))
        target = torch.repeat_interleave(degree[first:stop])
        own, device = nodes[first:stop], nodes.device
        messages = rule.message(nodes[source.to(device)], weights[kind.to(device)])
        if rule.attends:
            hears = target.to(device)
            logits = rule.logits(own[hears], messages)
            told = attended(logits, messages, hears, torch.ones_like(logits), stop - first)
        else:
            product = (degree[first:stop][target] * degree[source]).to(torch.float64)
            values = product.rsqrt().to(torch.float32)
            rows = SparseOperator.of_rows(incoming.indptr[first : stop + 1] - begin).to(device)
            told = rows(values.to(device), messages)
        parts.append(rule.combine(own, told))
    return torch.cat(parts)


def _blocks(indptr: IntArray) -> list[tuple[int, int]]:
    """Return ranges of targets with about _MESSAGES messages each, or one target with more."""
    numbers = np.arange(1, indptr[-1] // _MESSAGES + 1) * _MESSAGES
    inner = np.searchsorted(indptr, numbers)
    bounds = np.unique(np.concatenate([[0], inner, [len(indptr) - 1]])).tolist()
    return list(pairwise(bounds))
