"""A Neo4j store that writes in many transactions, and what a second write does."""

from __future__ import annotations

import polars as pl
import pytest
from graph_store_contract import assert_holds, library, random_graph, write
from neo4j_fixtures import driver_of

from graph_etl.store.neo4j_store import Neo4jStore

pytestmark = pytest.mark.neo4j

BIG = {"num_entities": 400, "num_triples": 1500}


@pytest.fixture
def store(neo4j_empty):
    with Neo4jStore(neo4j_empty, retry_s=120) as store:
        yield store


@pytest.mark.parametrize("writers", [1, 2, 3])
def test_staged_writes_equal_a_fresh_build(store, neo4j_empty, small_batches, writers):
    with Neo4jStore(neo4j_empty, writers=writers) as staged:
        for seed in range(3):
            write(staged, random_graph(seed, **BIG), delete_missing=True)
            assert_holds(staged, random_graph(seed, **BIG))
        write(staged, library(), delete_missing=True)
        assert_holds(staged, library())


def test_staged_write_reports_what_one_transaction_would(store, small_batches):
    tables = random_graph(0, **BIG)
    summary = write(store, tables)
    assert summary.nodes_created == tables.entities.height
    assert summary.relationships_created == tables.triples.height
    again = write(store, random_graph(1, **BIG), delete_missing=True)
    assert again.nodes_deleted
    assert again.relationships_deleted


def last_transaction(connection) -> frozenset[str]:
    """The server's own bookmark of the newest transaction in the database."""
    with driver_of(connection) as driver, driver.session(database=connection.database) as session:
        session.execute_read(lambda transaction: transaction.run("RETURN 1").consume())
        return session.last_bookmarks().raw_values


def test_second_write_is_no_transaction_by_the_server(store, neo4j_empty):
    tables = random_graph(0, **BIG)
    write(store, tables, delete_missing=True)
    before = last_transaction(neo4j_empty)
    for delete_missing in (True, False):
        assert write(store, tables, delete_missing=delete_missing).writes == 0
    assert last_transaction(neo4j_empty) == before
    renamed = tables.entities.with_columns(name=pl.col("name") + "!")
    assert store.write(renamed, tables.relation_types, tables.triples).nodes_updated == 400
    assert last_transaction(neo4j_empty) != before


def test_changed_graph_of_another_client_is_put_right(store, ask):
    write(store, library(), delete_missing=True)
    ask("MATCH (:book {entity_id: 'book:1'})-[r]->() DELETE r")
    assert write(store, library(), delete_missing=True).relationships_created == 1
    assert_holds(store, library())


def test_partial_write_is_not_taken_for_the_whole(store):
    write(store, random_graph(0))
    write(store, library())
    assert write(store, library()).writes == 0
    assert write(store, library(), delete_missing=True).nodes_deleted > 0
    assert_holds(store, library())
