"""What a Neo4j store or its server refuses, and what is as it was then."""

from __future__ import annotations

import time

import pytest
from graph_store_contract import assert_holds, library, random_graph, write

from graph_etl.errors import StoreError
from graph_etl.store import StoreCounts
from graph_etl.store.neo4j_store import Neo4jStore

pytestmark = pytest.mark.neo4j

BIG = {"num_entities": 400, "num_triples": 1500}


@pytest.fixture
def store(neo4j_empty):
    with Neo4jStore(neo4j_empty, retry_s=120) as store:
        yield store


def test_refused_load_is_undone(store, ask, small_batches):
    write(store, library())
    ask("CREATE CONSTRAINT foreign FOR ()-[r:edited_by]-() REQUIRE r.run_id IS UNIQUE")
    try:
        with pytest.raises(StoreError, match="refused a statement"):
            write(store, random_graph(1, **BIG), delete_missing=True)
    finally:
        ask("DROP CONSTRAINT foreign")
    assert_holds(store, library())
    assert write(store, library(), delete_missing=True).writes == 0
    write(store, random_graph(1, **BIG), delete_missing=True)
    assert_holds(store, random_graph(1, **BIG))


def test_refused_transaction_leaves_the_old_graph(store, ask):
    write(store, library())
    ask("CREATE CONSTRAINT foreign FOR ()-[r:edited_by]-() REQUIRE r.run_id IS UNIQUE")
    try:
        with pytest.raises(StoreError, match="refused a statement"):
            write(store, random_graph(1, **BIG), delete_missing=True)
    finally:
        ask("DROP CONSTRAINT foreign")
    assert_holds(store, library())


@pytest.mark.parametrize("staged", [False, True])
def test_foreign_node_with_our_id_is_not_taken_over(store, ask, staged, request):
    if staged:
        request.getfixturevalue("small_batches")
    tables = random_graph(1, **BIG)
    kind, entity_id = tables.entities.select("entity_type", "entity_id").row(7)
    ask(f"CREATE (:{kind} {{entity_id: $id, owner: 'somebody'}})", id=entity_id)
    with pytest.raises(StoreError, match="to report Counters"):
        write(store, tables)
    assert store.counts() == StoreCounts({}, {})
    assert ask("MATCH (n {owner: 'somebody'}) RETURN labels(n) AS l")[0]["l"] == [kind]


def test_other_nodes_of_the_database_stay(store, ask):
    ask("CREATE (:Invoice {number: 7})-[:FOR]->(:Customer {name: 'A'})")
    write(store, library())
    write(store, random_graph(0), delete_missing=True)
    store.clear()
    assert ask("MATCH (:Invoice)-[r:FOR]->(:Customer) RETURN count(r) AS n")[0]["n"] == 1


# --- reading only


@pytest.mark.parametrize(
    "cypher",
    [
        "LOAD CSV FROM 'file:///etc/hostname' AS line RETURN line",
        "LOAD CSV FROM 'http://127.0.0.1/x.csv' AS line RETURN line",
        "CALL dbms.listConfig() YIELD name RETURN name",
        "MATCH (n) CALL dbms.components() YIELD name RETURN name, n",
        "CREATE (n:book) RETURN n",
        "CREATE CONSTRAINT x FOR (n:book) REQUIRE n.x IS UNIQUE",
        "CALL { CREATE (n:book) } IN TRANSACTIONS",
    ],
)
def test_server_refuses_without_the_text_guard(store, ask, monkeypatch, cypher):
    write(store, library())
    monkeypatch.setattr("graph_etl.store.cypher_store.checked_read_only", lambda text: text)
    with pytest.raises(StoreError):
        store.query(cypher)
    assert_holds(store, library())


def test_query_is_stopped_on_the_server(store, ask):
    write(store, random_graph(0, num_entities=300, num_triples=10))
    started = time.monotonic()
    with pytest.raises(StoreError, match="within its time limit"):
        store.query(
            "MATCH (a:__Entity__), (b:__Entity__), (c:__Entity__), (d:__Entity__) "
            "WHERE a.name < b.name AND b.name < c.name AND c.name < d.name RETURN count(*)",
            timeout_s=0.3,
        )
    assert time.monotonic() - started < 20
    assert not ask(
        "SHOW TRANSACTIONS YIELD currentQuery WHERE currentQuery CONTAINS 'd.name' "
        "AND NOT currentQuery CONTAINS 'SHOW' RETURN currentQuery"
    )


def test_query_takes_no_more_rows_than_asked(store):
    found = store.query("UNWIND range(1, 100000000) AS i RETURN i", max_rows=3, timeout_s=20)
    assert [row["i"] for row in found.rows] == [1, 2, 3]
    assert found.truncated


def test_query_returns_times_as_pythons(store):
    row = store.query("RETURN date('2024-02-29') AS d, datetime('2024-02-29T12:00:00Z') AS t").rows
    assert row[0]["d"].isoformat() == "2024-02-29"
    assert row[0]["t"].isoformat() == "2024-02-29T12:00:00+00:00"
