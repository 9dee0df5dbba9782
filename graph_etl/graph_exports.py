"""A snapshot's graph in the forms of other libraries: networkx, torch-geometric, graph files.

Reads the snapshot alone, never a store: torch and the embedded store need not fit one process.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from graph_etl.errors import DataError, MissingDependencyError
from graph_etl.graph_arrays import IntArray, unique_triples
from graph_etl.snapshot import Snapshot
from graph_etl.store.cypher_queries import PROVENANCE

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric.data import HeteroData

GRAPH_FILES = {"graphml": "graph.graphml", "node-link": "graph.json"}
USER_TYPE = "user"
_EDGE_NAMES = {"source": "said_in"}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def networkx_graph(snapshot: Snapshot, entities: IntArray | None = None) -> nx.MultiDiGraph:
    """Return the graph, or what lies among some of its entities, as a networkx graph.

    Args:
        snapshot: The graph.
        entities: Shape (n,), entity_idx of those to take; None: all.

    Returns:
        Nodes are entity_ids with ``name`` and ``entity_type``, items also with ``item_id``. Edges
        go from head to tail with the relation as key, and with ``phrase``, ``said_in`` (the
        triple's source; "source" is an edge's end in graph files), ``doc_id``, ``engine``,
        ``confidence`` and ``run_id``. What is not known is left out. Of triples that several
        sources say the most confident one is there.

    Raises:
        MissingDependencyError: networkx is not installed.
    """
    try:
        import networkx
    except ModuleNotFoundError as error:
        raise _missing("networkx", "networkx>=3.3") from error
    taken = np.ones(snapshot.entities.height, dtype=bool)
    if entities is not None:
        taken[:] = False
        taken[entities] = True
    graph = networkx.MultiDiGraph()
    item_ids = snapshot.items.select("entity_idx", "item_id")
    nodes = snapshot.entities.filter(pl.Series(taken)).join(
        item_ids, on="entity_idx", how="left", maintain_order="left"
    )
    for row in nodes.iter_rows(named=True):
        values = {name: row[name] for name in ("name", "entity_type", "item_id")}
        graph.add_node(row["entity_id"], **_said(values))
    ids = snapshot.entities["entity_id"]
    triples = unique_triples(snapshot)
    inside = taken[triples["head_idx"].to_numpy()] & taken[triples["tail_idx"].to_numpy()]
    triples = triples.filter(pl.Series(inside))
    kinds = snapshot.relation_types.select("relation", "phrase").rows()
    for row in triples.iter_rows(named=True):
        relation, phrase = kinds[row["relation_idx"]]
        values = {
            "phrase": phrase,
            **{_EDGE_NAMES.get(name, name): row[name] for name in PROVENANCE},
        }
        graph.add_edge(ids[row["head_idx"]], ids[row["tail_idx"]], key=relation, **_said(values))
    return graph


def hetero_data(snapshot: Snapshot, interactions: pl.DataFrame | None = None) -> HeteroData:
    """Return the graph as torch-geometric's HeteroData.

    Every declared entity type and pattern is there, those without an entity or a triple too.

    Args:
        snapshot: The graph.
        interactions: Rows of ``snapshot.interactions`` to add as edges from users to items; None:
            none. A model may see train rows only: give those, never the whole table, to train.

    Returns:
        Node stores by entity type: num_nodes, ``entity_id`` (list of str, by place in the store)
        and ``entity_idx`` (int64, the same in the snapshot). Edge stores by (head type, relation,
        tail type): ``edge_index`` (int64, shape (2, num_edges), places in the node stores) and
        ``triple_idx`` (int64, rows of snapshot.triples, where a triple's source and confidence
        stand). With interactions also the node store "user" (num_nodes, ``user_id``) and edge
        stores ("user", event, item's type) with ``edge_index`` and ``positive`` (bool).

    Raises:
        DataError: The graph has an entity type "user" of its own, and interactions are given.
        MissingDependencyError: torch-geometric is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on what torch-geometric calls
            import torch
            from torch_geometric.data import HeteroData
    except ModuleNotFoundError as error:
        raise _missing("torch-geometric", "torch-geometric>=2.6") from error
    data = HeteroData()
    kinds = snapshot.entities["entity_type"]
    patterns = snapshot.relation_types.select("head_type", "relation", "tail_type").rows()
    declared = [name for head, _, tail in patterns for name in (head, tail)]
    place = np.zeros(snapshot.entities.height, dtype=np.int64)
    for kind in dict.fromkeys([*kinds.unique(maintain_order=True), *declared]):
        own = (kinds == kind).arg_true().cast(pl.Int64)
        place[own.to_numpy()] = np.arange(len(own))
        data[kind].num_nodes = len(own)
        data[kind].entity_id = snapshot.entities["entity_id"].gather(own).to_list()
        data[kind].entity_idx = torch.tensor(own.to_list(), dtype=torch.int64)
    triples = unique_triples(snapshot)
    for relation_idx, pattern in enumerate(patterns):
        own_triples = triples.filter(relation_idx=relation_idx)
        ends = [place[own_triples[name].to_numpy()] for name in ("head_idx", "tail_idx")]
        data[pattern].edge_index = torch.from_numpy(np.stack(ends))
        rows = own_triples["row"].cast(pl.Int64).to_list()
        data[pattern].triple_idx = torch.tensor(rows, dtype=torch.int64)
    if interactions is not None:
        _add_interactions(data, snapshot, interactions, place)
    return data


def write_graph(snapshot: Snapshot, out: Path, file_format: str) -> Path:
    """Write the graph as one file for other tools, and return it.

    Args:
        snapshot: The graph.
        out: Folder, made where it is not there; a file of the same name is replaced.
        file_format: "graphml" (characters that XML cannot hold are written as U+FFFD), or
            "node-link", the JSON that networkx and d3 read.

    Raises:
        MissingDependencyError: networkx is not installed.
    """
    graph = networkx_graph(snapshot)
    import networkx

    out.mkdir(parents=True, exist_ok=True)
    path = out / GRAPH_FILES[file_format]
    if file_format == "node-link":
        record = networkx.node_link_data(graph, edges="edges")
        path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    else:
        networkx.write_graphml(_for_xml(graph, networkx.MultiDiGraph()), path)
    return path


def _add_interactions(
    data: HeteroData, snapshot: Snapshot, interactions: pl.DataFrame, place: IntArray
) -> None:
    import torch

    if USER_TYPE in data.node_types:
        raise DataError(
            f"Expected no entity type '{USER_TYPE}' beside users, got one in {snapshot.path}; name "
            "it otherwise in dataset.yaml, or leave interactions out"
        )
    data[USER_TYPE].num_nodes = snapshot.users.height
    data[USER_TYPE].user_id = snapshot.users["user_id"].to_list()
    entity = snapshot.items["entity_idx"].gather(interactions["item_idx"])
    rows = interactions.with_columns(
        entity_idx=entity, item_type=snapshot.entities["entity_type"].gather(entity)
    )
    for (event, item_type), own in rows.group_by(["event", "item_type"], maintain_order=True):
        store = data[USER_TYPE, str(event), str(item_type)]
        ends = [own["user_idx"].to_numpy(), place[own["entity_idx"].to_numpy()]]
        store.edge_index = torch.from_numpy(np.stack(ends))
        store.positive = torch.tensor(own["positive"].to_list(), dtype=torch.bool)


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _for_xml(graph: nx.MultiDiGraph, clean: nx.MultiDiGraph) -> nx.MultiDiGraph:
    """Fill ``clean`` with the graph, without characters that XML 1.0 cannot hold."""

    def of(value: Any) -> Any:
        return _NO_XML.sub("\ufffd", value) if isinstance(value, str) else value

    for node, values in graph.nodes(data=True):
        clean.add_node(of(node), **{name: of(value) for name, value in values.items()})
    for head, tail, relation, values in graph.edges(keys=True, data=True):
        told = {name: of(value) for name, value in values.items()}
        clean.add_edge(of(head), of(tail), key=relation, **told)
    return clean


def _missing(library: str, requirement: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"Expected the library {library} for this form of the graph, found none; install it with: "
        f"pip install '{requirement}'"
    )
