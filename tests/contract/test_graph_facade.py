"""The graph for people on both stores: the same answers, and nothing but reading.

The snapshot's arrays, which answer, are held against the Cypher of the store.
"""

from __future__ import annotations

import pytest
from graph_store_contract import FILES_AND_PROCEDURES, WRITES
from night_tables import books, night

from graph_etl import Graph
from graph_etl.errors import StoreError
from graph_etl.store import open_store


@pytest.fixture(params=["kglite", pytest.param("neo4j", marks=pytest.mark.neo4j)])
def graph(request, tmp_path, monkeypatch):
    """60 books by 40 makers about 7 topics, built into each store, open for reading."""
    if request.param == "neo4j":
        server = request.getfixturevalue("neo4j_empty")
        monkeypatch.setenv("NEO4J_URI", server.uri)
        monkeypatch.setenv("NEO4J_USER", server.user)
        monkeypatch.setenv("NEO4J_PASSWORD", server.password)
        monkeypatch.setenv("NEO4J_DATABASE", server.database)
    with open_store(request.param, tmp_path) as store:
        night(tmp_path, books(60), store=store)
    (tmp_path / "store").write_text(request.param)
    with Graph.open(tmp_path) as graph:
        yield graph


def plain(path):
    return [one.entity_id for one in path.entities], [(s.relation, s.outgoing) for s in path.steps]


def test_answers_are_those_of_the_store(graph):
    for name in ("Book 1", "Maker 1", "topic 3", "b44"):
        entity = graph.entity(name)
        assert graph.store.entity(entity.entity_id) == entity
        assert graph.neighbors(entity) == graph.store.neighbors(entity.entity_id)
        assert graph.find(name) == graph.store.find(name)
    counts = graph.store.counts()
    assert (graph.stats().entities, graph.stats().triples) == (
        counts.num_entities,
        counts.num_triples,
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [("book:b1", "book:b41"), ("book:b1", "book:b48"), ("maker:maker 1", "topic:topic 1")],
)
def test_paths_are_those_of_the_store(graph, start, end):
    found = [plain(path) for path in graph.paths(start, end, 4, limit=10_000)]
    expected = [plain(path) for path in graph.store.paths(start, end, 4, limit=10_000)]
    assert len(found) > 0
    assert sorted(found) == sorted(expected)


def test_paths_from_a_user_are_told_in_words(graph):
    liked = graph.snapshot.interactions.filter(positive=True, user_idx=0)["item_idx"]
    titles = set(graph.snapshot.items["title"].gather(liked))
    user = graph.snapshot.users["user_id"][0]
    end = next(f"Book {n}" for n in range(40, 60) if f"Book {n}" not in titles)
    found = graph.paths(user, end, 2)
    assert {path.entities[0].name for path in found} <= titles
    assert all(str(path).startswith("You liked Book ") for path in found)
    assert all(str(path).endswith(f" {end}") for path in found)


def test_cypher_takes_parameters_a_cap_and_a_time(graph):
    result = graph.cypher(
        "MATCH (b:book {name: $name})-[:made_by]->(m) RETURN m.name AS m", name="Book 41"
    )
    assert result.rows == ({"m": "Maker 1"},)
    capped = graph.cypher("MATCH (b:book) RETURN b.name AS name", max_rows=7)
    assert (len(capped.rows), capped.truncated) == (7, True)
    slow = "MATCH (a:book), (b:book), (c:book), (d:book), (e:book) WHERE a.name + b.name + c.name"
    with pytest.raises(StoreError, match="time limit"):
        graph.cypher(f"{slow} + d.name + e.name = 'x' RETURN count(*) AS n", timeout_s=0.2)


def test_cypher_only_reads(graph):
    before = graph.store.counts()
    for text in (*WRITES, *FILES_AND_PROCEDURES):
        with pytest.raises(StoreError, match=r"^Expected"):
            graph.cypher(text)
    assert graph.store.counts() == before
