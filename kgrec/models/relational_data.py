"""The propagation graph as a torch-geometric data object, for its layers, samplers and plots.

Training itself uses the sparse products of propagation.py, which are faster on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kgrec.errors import MissingDependencyError
from kgrec.models.graph_encoder import RelationalGraph


def hetero_data(graph: RelationalGraph) -> Any:
    """Return a HeteroData with node types "item" and "entity" and every message once.

    Edge types are (source type, "relation_R", target type) with R the relation_idx of the triple,
    or relation_idx + the number of relations for its reverse; edge_index is (2, num_edges) int64,
    numbered within each node type.

    Raises:
        MissingDependencyError: torch-geometric is not installed.
    """
    try:
        from torch_geometric.data import HeteroData
    except ImportError as error:
        raise MissingDependencyError(
            "Expected the library torch-geometric for data objects, found none; "
            "install it with: pip install torch-geometric"
        ) from error
    data = HeteroData()
    data["item"].num_nodes = graph.num_items
    data["entity"].num_nodes = graph.num_nodes - graph.num_items
    messages = graph.messages
    for number in range(graph.num_relations):
        rows = messages.relation == number
        _add_edges(data, graph, number, messages.source[rows], messages.target[rows])
    return data


def _add_edges(
    data: Any, graph: RelationalGraph, relation: int, source: Tensor, target: Tensor
) -> None:
    first = graph.num_items
    for from_type, from_rows in (("item", source < first), ("entity", source >= first)):
        for to_type, to_rows in (("item", target < first), ("entity", target >= first)):
            rows = from_rows & to_rows
            if rows.any():
                index = torch.stack(
                    [
                        source[rows] - (0 if from_type == "item" else first),
                        target[rows] - (0 if to_type == "item" else first),
                    ]
                )
                data[from_type, f"relation_{relation}", to_type].edge_index = index
