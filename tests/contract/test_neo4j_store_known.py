"""A Neo4j store that is told what it holds: it writes the difference, reads back in doubt alone."""

from __future__ import annotations

import pytest
from graph_store_contract import assert_holds, graph_tables, library, random_graph, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph_etl.store import WriteSummary
from graph_etl.store.neo4j_store import Neo4jStore

pytestmark = pytest.mark.neo4j

BIG = {"num_entities": 400, "num_triples": 1500}


@pytest.fixture
def store(neo4j_empty):
    with Neo4jStore(neo4j_empty) as store:
        yield store


@pytest.fixture
def reads(monkeypatch):
    """Counts how often a whole graph is read back."""
    import graph_etl.store.neo4j_writing as writing

    read_graph, counted = writing.read_graph, []

    def counting(read):
        counted.append(1)
        return read_graph(read)

    monkeypatch.setattr(writing, "read_graph", counting)
    return counted


def renamed(tables, *, entity_id="book:1", name="Emma!"):
    rows = [(i, t, name if i == entity_id else n) for _, i, t, n in tables.entities.iter_rows()]
    entities = graph_tables(rows, [], []).entities
    return type(tables)(entities, tables.relation_types, tables.triples)


def test_known_graph_is_not_read_back(store, reads):
    write(store, library())
    summary = write(store, renamed(library()), delete_missing=True, known=library())
    assert summary == WriteSummary(nodes_updated=1, unchanged=10)
    assert reads == []
    assert_holds(store, renamed(library()))
    assert write(store, renamed(library()), delete_missing=True).writes == 0


@pytest.mark.parametrize("staged", [False, True])
def test_known_graph_gives_the_graph_and_the_summary_of_a_comparison(store, reads, staged, request):
    if staged:
        request.getfixturevalue("small_batches")
    graphs = [random_graph(seed, **BIG) for seed in (0, 1)]
    write(store, graphs[0], delete_missing=True)
    known = write(store, graphs[1], delete_missing=True, known=graphs[0])
    assert reads == []
    assert_holds(store, graphs[1])
    store.clear()
    write(store, graphs[0], delete_missing=True)
    assert write(store, graphs[1], delete_missing=True) == known
    assert len(reads) == 1


def test_known_graph_with_a_new_type_gets_its_constraint(store, ask):
    write(store, library())
    more = graph_tables(
        [(i, t, n) for _, i, t, n in library().entities.iter_rows()] + [("g", "genre", "Novel")],
        [("book", "written_by", "person")],
        [],
    )
    ask("DROP CONSTRAINT genre_ids IF EXISTS")
    write(store, more, delete_missing=True, known=library())
    assert_holds(store, more)
    labels = [row["l"] for row in ask("SHOW CONSTRAINTS YIELD labelsOrTypes AS l")]
    assert ["genre"] in labels


def test_graph_that_is_known_wrongly_is_read_back(store, reads):
    write(store, library())
    write(store, random_graph(1), delete_missing=True, known=random_graph(0))
    assert reads == [1]
    assert_holds(store, random_graph(1))


CHANGES = {
    "entity deleted": "MATCH (n:book {entity_id: 'book:2'}) DETACH DELETE n",
    "relationship deleted": "MATCH (:book {entity_id: 'book:1'})-[r]->() DELETE r",
    "relationship added": "MATCH (a {entity_id: 'book:1'}), (b {entity_id: 'book:2'}) "
    "CREATE (a)-[:related_to]->(b)",
    "relationship doubled": "MATCH (a {entity_id: 'book:1'})-[:written_by]->(b) "
    "CREATE (a)-[:written_by]->(b)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_another_client_in_numbers_is_noticed_and_put_right(store, ask, reads, change):
    write(store, library())
    ask(CHANGES[change])
    write(store, renamed(library()), delete_missing=True, known=library())
    assert reads == [1]
    assert_holds(store, renamed(library()))


@pytest.mark.parametrize("staged", [False, True])
def test_change_that_keeps_the_numbers_is_noticed_where_the_write_meets_it(
    store, ask, reads, staged, request
):
    """An entity went and another came: the server then counts other than planned."""
    write(store, library())
    ask(
        "MATCH (n:book {entity_id: 'book:1'}) DETACH DELETE n WITH count(*) AS one "
        "CREATE (a:book:__Entity__ {entity_id: 'book:x', name: 'x'}) WITH a "
        "MATCH (p:person {entity_id: 'person:ng'}) CREATE (a)-[:written_by]->(p), "
        "(a)-[:related_to]->(a)"
    )
    if staged:
        request.getfixturevalue("small_batches")
    target = renamed(library())
    if staged:
        target = random_graph(1, **BIG)
    write(store, target, delete_missing=True, known=library())
    assert len(reads) == 1
    assert_holds(store, target)


def test_edited_name_is_found_by_comparing_alone(store, ask):
    write(store, library())
    ask("MATCH (n:book {entity_id: 'book:2'}) SET n.name = 'Persuaded'")
    assert write(store, library(), delete_missing=True, known=library()).writes == 0
    assert write(store, library(), delete_missing=True, compare=True).nodes_updated == 1
    assert_holds(store, library())
    assert write(store, library(), delete_missing=True, compare=True).writes == 0


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=4))
def test_known_or_not_every_sequence_ends_in_its_last_graph(neo4j_empty, neo4j_driver, steps):
    neo4j_driver.execute_query("MATCH (n) DETACH DELETE n", database_=neo4j_empty.database)
    with Neo4jStore(neo4j_empty) as store:
        before = None
        for seed, told in steps:
            graph = random_graph(seed)
            write(store, graph, delete_missing=True, known=before if told else None)
            assert_holds(store, graph)
            before = graph
