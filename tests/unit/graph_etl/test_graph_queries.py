"""The Graph facade on a tiny graph, and drawing and figures of the same."""

import shutil
from dataclasses import replace

import polars as pl
import pytest
from matplotlib.image import imread

from graph_etl.build_folder import snapshot_path
from graph_etl.drawing import draw_neighborhood
from graph_etl.errors import DataError, SnapshotError, StoreError
from graph_etl.queries import Graph
from graph_etl.snapshot import TABLES, load_snapshot, publish_snapshot, write_snapshot
from graph_etl.statistics import statistics_of
from graph_etl.store import Entity, load_store, open_store

ENTITIES = [
    ("book:1", "book", "Emma"),
    ("book:2", "book", "Persuasion"),
    ("book:3", "book", "Moby $Dick$ 小説"),
    ("person:a", "person", "Jane Austen"),
    ("person:m", "person", "Herman Melville"),
    ("person:e", "person", "Emma"),
    ("subject:n", "subject", "navy"),
]
TRIPLES = [(0, 0, 3), (1, 0, 3), (2, 0, 4), (1, 1, 6), (2, 1, 6)]


def frame(table, rows):
    return pl.DataFrame(rows, schema=dict(TABLES[table]), orient="row")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    tables = {
        "entities": frame("entities", [(i, *row) for i, row in enumerate(ENTITIES)]),
        "relation_types": frame(
            "relation_types",
            [
                (0, "written_by", "book", "person", "was written by"),
                (1, "is_about", "book", "subject", "is about"),
            ],
        ),
        "triples": frame("triples", [(*row, "t", "", "table", 1.0, "r") for row in TRIPLES]),
        "items": frame(
            "items", [(i, str(i + 1), i, ENTITIES[i][2], "" if i else "text") for i in range(3)]
        ),
        "users": frame("users", [(0, "u", ""), (1, "v", "")]),
        "interactions": frame(
            "interactions",
            [
                (0, 0, "buy", None, 5, True),
                (0, 1, "buy", None, 6, True),
                (1, 2, "buy", 1, 1, False),
            ],
        ),
    }
    snapshot = write_snapshot(tables, out / "snapshots", {"dataset": {"name": "tiny"}})
    publish_snapshot(snapshot, out / "snapshots" / "current")
    with open_store("kglite", out) as store:
        assert load_store(snapshot, store).nodes_created == 7
        assert load_store(snapshot, store).writes == 0
    return out


@pytest.fixture
def graph(folder):
    with Graph.open(folder) as graph:
        yield graph


def test_entity_by_id_item_id_or_only_name(graph):
    assert graph.entity("book:1") == Entity("book:1", "book", "Emma")
    assert graph.entity("2").name == "Persuasion"
    assert graph.entity("jane austen").entity_id == "person:a"
    assert graph.entity(graph.find("navy")[0]).entity_id == "subject:n"


def test_entity_by_a_name_of_several_lists_them(graph):
    expected = r"2 entities have it; give one of .* book:1 'Emma', person:e 'Emma'$"
    with pytest.raises(DataError, match=expected):
        graph.entity("emma")


def test_entity_by_what_is_an_item_id_and_a_name_lists_both(graph):
    snapshot = graph.snapshot
    item_ids = pl.when(item_id="1").then(pl.lit("Persuasion")).otherwise("item_id")
    items = snapshot.items.with_columns(item_id=item_ids)
    with pytest.raises(DataError, match="book:1 'Emma', book:2 'Persuasion'"):
        Graph(replace(snapshot, items=items), "nowhere").entity("Persuasion")


@pytest.mark.parametrize(
    ("asked", "near"),
    [("Austen", "person:a 'Jane Austen'$"), ("Persausion", "book:2 'Persuasion'")],
)
def test_entity_unknown_names_near_ones(graph, asked, near):
    with pytest.raises(DataError, match=rf"none has it; near are {near}"):
        graph.entity(asked)


def test_neighbors_and_find_by_name(graph):
    assert [one.entity.name for one in graph.neighbors("navy")] == ["Persuasion", ENTITIES[2][2]]
    assert [one.entity.name for one in graph.neighbors("navy", limit=1)] == ["Persuasion"]
    assert graph.neighbors("person:e") == []
    assert [one.entity_id for one in graph.find("mel")] == ["person:m"]
    assert [one.entity_id for one in graph.find("emma")] == ["book:1", "person:e"]
    assert graph.find("zzz") == []


def test_paths_by_name(graph):
    (path,) = graph.paths("book:1", "navy")
    assert str(path) == (
        "Emma -> was written by -> Jane Austen <- was written by <- Persuasion -> is about -> navy"
    )
    assert path.user_id is None


def test_paths_from_a_user_start_at_liked_items(graph):
    (path,) = graph.paths("u", "3")
    assert str(path) == f"You liked Persuasion -> is about -> navy <- is about <- {ENTITIES[2][2]}"
    assert path.user_id == "u"
    assert path.length == 2
    assert graph.paths("v", "book:1") == []


def test_paths_from_a_user_to_a_liked_item_start_at_the_others(graph):
    assert [str(path) for path in graph.paths("u", "2")] == [
        "You liked Emma -> was written by -> Jane Austen <- was written by <- Persuasion"
    ]


def test_paths_take_a_user_id_before_an_item_id(graph):
    snapshot = graph.snapshot
    same = replace(snapshot, users=snapshot.users.with_columns(user_id=pl.Series(["1", "v"])))
    with Graph(same, "nowhere") as other:
        assert {path.user_id for path in other.paths("1", "3")} == {"1"}
        assert {path.user_id for path in other.paths("book:1", "3", 4)} == {None}


def test_paths_from_an_entity_to_itself_are_none(graph):
    assert graph.paths("book:1", "1") == []


def test_paths_unknown_ends_are_errors(graph):
    with pytest.raises(DataError, match=r"got 'nobody': none has it.*nor is it a user_id"):
        graph.paths("nobody", "1")
    with pytest.raises(DataError, match="got '77': none has it"):
        graph.paths("u", "77")


@pytest.mark.parametrize("length", [0, 7])
def test_paths_of_a_length_out_of_range_are_an_error(graph, length):
    with pytest.raises(DataError, match=rf"max_length in 1\.\.6, got {length}"):
        graph.paths("u", "3", length)


def test_subgraph_grows_by_hops(graph):
    assert set(graph.subgraph("book:1")) == {"book:1", "person:a"}
    two = graph.subgraph("book:1", hops=2)
    assert set(two.edges(keys=True)) == {
        ("book:1", "person:a", "written_by"),
        ("book:2", "person:a", "written_by"),
    }
    assert two.nodes["book:2"] == {"name": "Persuasion", "entity_type": "book", "item_id": "2"}
    assert two.graph["truncated"] is False


def test_subgraph_of_several_has_all_triples_among_them_and_keeps_the_rare(graph):
    both = graph.subgraph(["book:2", "3"], hops=1, max_nodes=3)
    assert set(both) == {"book:2", "book:3", "person:m"}
    assert both.graph["truncated"] is True
    assert graph.subgraph(["book:2", "navy"], hops=0).number_of_edges() == 1


def test_cypher_is_read_only_and_takes_parameters(graph):
    assert graph.cypher("RETURN $a AS a", a=[1]).rows == ({"a": [1]},)
    with pytest.raises(StoreError, match="read-only"):
        graph.cypher("MATCH (n) DELETE n")


def test_a_closed_graph_opens_no_store(folder):
    with Graph.open(folder) as graph:
        pass
    with pytest.raises(StoreError, match="was closed"):
        graph.cypher("RETURN 1")


def test_without_a_store_all_but_cypher_is_answered(folder, tmp_path):
    shutil.copytree(folder / "snapshots", tmp_path / "snapshots")
    (tmp_path / "store").write_text("none")
    with Graph.open(tmp_path) as graph:
        assert len(graph.paths("u", "3")) == 1
        assert len(graph.neighbors("navy")) == 2
        assert graph.stats().entities == 7
        with pytest.raises(StoreError, match="got one without; build again"):
            graph.cypher("RETURN 1")


def test_open_without_anything_is_an_error(tmp_path):
    with pytest.raises(SnapshotError, match="found none of them"):
        Graph.open(tmp_path)


def test_snapshot_path_of_a_folder_of_snapshots(folder):
    assert snapshot_path(folder) == folder / "snapshots" / "current"
    assert snapshot_path(folder / "snapshots") == folder / "snapshots" / "current"


def test_statistics_of_the_tiny_graph(folder):
    figures = statistics_of(load_snapshot(snapshot_path(folder)), top=1)
    assert (figures.entities, figures.triples, figures.orphans) == (7, 5, 1)
    assert figures.positive_interactions == 2
    person = next(one for one in figures.entity_types if one.entity_type == "person")
    assert (person.count, person.orphans, person.max_degree) == (3, 1, 2)
    assert person.mean_degree == pytest.approx(1.0)
    written, about = figures.relations
    assert (written.triples, written.heads, written.tails) == (3, 3, 2)
    assert about.item_share == pytest.approx(2 / 3)
    assert [(one.entity_id, one.triples) for one in written.top] == [("person:a", 2)]
    bins = {(one.low, one.high): one.entities for one in figures.degrees}
    assert bins[(0, 0)] == 1
    assert bins[(1, 1)] == 2
    assert bins[(2, 4)] == 4
    assert figures.text.with_text == 1


def test_draw_keeps_each_relation_when_there_are_too_many(folder, tmp_path):
    snapshot = load_snapshot(snapshot_path(folder))
    drawn = draw_neighborhood(snapshot, "book:2", tmp_path / "a.png", max_neighbors=1)
    assert (drawn.shown, drawn.neighbors) == (1, 2)
    image = imread(tmp_path / "a.png")
    assert image.shape[0] > 1000
    assert image[..., :3].std() > 0.02


def test_draw_of_an_orphan_and_of_odd_names(folder, tmp_path):
    snapshot = load_snapshot(snapshot_path(folder))
    assert draw_neighborhood(snapshot, "person:e", tmp_path / "a.png").shown == 0
    assert draw_neighborhood(snapshot, "book:3", tmp_path / "b.svg").shown == 2


def test_draw_errors(folder, tmp_path):
    snapshot = load_snapshot(snapshot_path(folder))
    with pytest.raises(DataError, match=r"which 2 have; give one of their ids"):
        draw_neighborhood(snapshot, "EMMA", tmp_path / "a.png")
    with pytest.raises(DataError, match=r"ending in one of .* got 'a\.txt'"):
        draw_neighborhood(snapshot, "book:1", tmp_path / "a.txt")
