"""Exports of a snapshot: networkx, HeteroData and graph files, counted and turned back."""

import json
import subprocess
import sys
from dataclasses import replace

import networkx as nx
import polars as pl
import pytest

from graph_etl.errors import DataError, MissingDependencyError
from graph_etl.graph_exports import hetero_data, networkx_graph, write_graph
from graph_etl.snapshot import TABLES, publish_snapshot, write_snapshot

ENTITIES = [
    ("person:a", "person", "Jane \x0b Austen"),
    ("book:1", "book", "Emma"),
    ("person:m", "person", "Herman Melville"),
    ("book:2", "book", 'Moby "Dick" & <b>'),
    ("book:3", "book", "Alone"),
    ("person:x", "person", "Nobody"),
]
RELATION_TYPES = [
    (0, "written_by", "book", "person", "was written by"),
    (1, "knows", "person", "person", "knows"),
    (2, "set_in", "book", "place", "is set in"),
]
TRIPLES = [
    (1, 0, 0, "t", "1", "table", 1.0, "r"),
    (3, 0, 2, "t", "2", "llm", 0.4, "r"),
    (3, 0, 2, "t", "2", "table", None, "s"),  # the same triple, said again
    (0, 1, 2, "t", None, "table", 1.0, "r"),
]
INTERACTIONS = [
    (0, 0, "buy", None, 5, True),
    (1, 1, "buy", 2.0, None, False),
    (1, 2, "click", None, 7, True),
]


def frame(table, rows):
    return pl.DataFrame(rows, schema=dict(TABLES[table]), orient="row")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    tables = {
        "entities": frame("entities", [(i, *row) for i, row in enumerate(ENTITIES)]),
        "relation_types": frame("relation_types", RELATION_TYPES),
        "triples": frame("triples", TRIPLES),
        "items": frame(
            "items", [(n, str(n + 1), i, ENTITIES[i][2], "") for n, i in enumerate((1, 3, 4))]
        ),
        "users": frame("users", [(0, "u", ""), (1, "v", ""), (2, "w", "")]),
        "interactions": frame("interactions", INTERACTIONS),
    }
    root = tmp_path_factory.mktemp("exports") / "snapshots"
    snapshot = write_snapshot(tables, root, {"dataset": {"name": "tiny"}})
    publish_snapshot(snapshot, root / "current")
    (root.parent / "store").write_text("none")
    return snapshot


def said(snapshot):
    """The snapshot's triples by ids, each once."""
    ids = snapshot.entities["entity_id"].to_list()
    relations = snapshot.relation_types["relation"].to_list()
    rows = snapshot.triples.select("head_idx", "relation_idx", "tail_idx").rows()
    return {(ids[head], relations[relation], ids[tail]) for head, relation, tail in rows}


def test_networkx_has_every_entity_and_each_triple_once(snapshot):
    graph = networkx_graph(snapshot)
    assert graph.number_of_nodes() == snapshot.entities.height
    edges = [(head, relation, tail) for head, tail, relation in graph.edges(keys=True)]
    assert len(edges) == 3
    assert set(edges) == said(snapshot)
    assert graph.degree("person:x") == graph.degree("book:3") == 0
    assert graph.nodes["book:1"] == {"name": "Emma", "entity_type": "book", "item_id": "1"}
    assert "item_id" not in graph.nodes["person:a"]


def test_networkx_edges_tell_where_the_triple_comes_from(snapshot):
    edge = networkx_graph(snapshot).edges["book:2", "person:m", "written_by"]
    assert edge.pop("confidence") == pytest.approx(0.4)
    assert edge == {
        "phrase": "was written by", "said_in": "t", "doc_id": "2", "engine": "llm", "run_id": "r"
    }  # fmt: skip
    assert "doc_id" not in networkx_graph(snapshot).edges["person:a", "person:m", "knows"]


def test_hetero_data_counts_and_turns_back_into_triples(snapshot):
    data = hetero_data(snapshot)
    assert data.validate()
    assert {kind: data[kind].num_nodes for kind in data.node_types} == {
        "person": 3, "book": 3, "place": 0
    }  # fmt: skip
    assert {kind: data[kind].edge_index.shape[1] for kind in data.edge_types} == {
        ("book", "written_by", "person"): 2,
        ("person", "knows", "person"): 1,
        ("book", "set_in", "place"): 0,
    }
    back = {
        (data[head].entity_id[i], relation, data[tail].entity_id[j])
        for head, relation, tail in data.edge_types
        for i, j in data[head, relation, tail].edge_index.T.tolist()
    }
    assert back == said(snapshot)
    places = data["book"].entity_idx.tolist()
    assert [ENTITIES[place][0] for place in places] == data["book"].entity_id
    rows = data["book", "written_by", "person"].triple_idx.tolist()
    assert [snapshot.triples["engine"][row] for row in rows] == ["table", "llm"]


def test_hetero_data_of_an_empty_graph_has_its_declared_types(snapshot):
    data = hetero_data(
        replace(snapshot, entities=snapshot.entities.clear(), triples=snapshot.triples.clear())
    )
    assert data.validate()
    assert data.num_nodes == data.num_edges == 0
    assert sorted(data.node_types) == ["book", "person", "place"]


def test_hetero_data_adds_the_interactions_that_are_given_and_no_others(snapshot):
    train = snapshot.interactions.head(2)
    data = hetero_data(snapshot, train)
    assert data.validate()
    assert data["user"].num_nodes == 3
    assert data["user"].user_id == ["u", "v", "w"]
    buys = data["user", "buy", "book"]
    pairs = [(i, data["book"].entity_id[j]) for i, j in buys.edge_index.T.tolist()]
    assert pairs == [(0, "book:1"), (1, "book:2")]
    assert buys.positive.tolist() == [True, False]
    assert ("user", "click", "book") not in data.edge_types
    assert ("user", "click", "book") in hetero_data(snapshot, snapshot.interactions).edge_types


def test_hetero_data_refuses_users_beside_entities_of_that_name(snapshot):
    kinds = pl.when(entity_type="person").then(pl.lit("user")).otherwise("entity_type")
    other = replace(snapshot, entities=snapshot.entities.with_columns(entity_type=kinds))
    with pytest.raises(DataError, match="no entity type 'user' beside users"):
        hetero_data(other, snapshot.interactions)


def test_node_link_file_is_read_back_by_networkx(snapshot, tmp_path):
    record = json.loads(write_graph(snapshot, tmp_path, "node-link").read_text("utf-8"))
    back = nx.node_link_graph(record, edges="edges")
    assert nx.utils.graphs_equal(back, networkx_graph(snapshot))


def test_graphml_file_is_read_back_by_networkx(snapshot, tmp_path):
    back = nx.read_graphml(
        write_graph(snapshot, tmp_path / "new", "graphml"), force_multigraph=True
    )
    assert {(head, key, tail) for head, tail, key in back.edges(keys=True)} == said(snapshot)
    assert back.nodes["person:a"]["name"] == "Jane \ufffd Austen"
    assert back.nodes["book:2"]["name"] == ENTITIES[3][2]
    assert set(back) == {row[0] for row in ENTITIES}


@pytest.mark.parametrize(
    ("library", "export", "command"),
    [
        ("networkx", networkx_graph, r"pip install 'networkx>="),
        ("torch_geometric", hetero_data, r"pip install 'torch-geometric>="),
    ],
)
def test_a_missing_library_is_told_with_its_command(
    snapshot, monkeypatch, library, export, command
):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=command):
        export(snapshot)


@pytest.mark.parametrize(
    "export", ["to_networkx", pytest.param("to_hetero_data", marks=pytest.mark.slow)]
)
def test_the_facade_exports_without_the_store_s_library(snapshot, export):
    code = (
        "import sys; from graph_etl import Graph\n"
        "with Graph.open(sys.argv[1]) as graph:\n"
        f"    nodes = graph.{export}()\n"
        "print('kglite' in sys.modules, sys.argv[2] in sys.modules)"
    )
    folder = str(snapshot.path.parents[1])
    needed = "networkx" if export == "to_networkx" else "torch_geometric"
    run = subprocess.run(
        [sys.executable, "-c", code, folder, needed], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["False", "True"]
