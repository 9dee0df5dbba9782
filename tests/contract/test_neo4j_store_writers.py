"""A Neo4j store beside other writers and readers of the same database."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest
from graph_store_contract import assert_holds, graph_tables, library, random_graph, write
from neo4j.exceptions import TransientError
from neo4j_fixtures import driver_of

from graph_etl.errors import StoreError
from graph_etl.store.digest import digest_of
from graph_etl.store.graph_rows import canonical_tables
from graph_etl.store.neo4j_store import Neo4jStore

pytestmark = pytest.mark.neo4j

BIG = {"num_entities": 400, "num_triples": 1500}


@pytest.fixture
def store(neo4j_empty):
    with Neo4jStore(neo4j_empty, retry_s=120) as store:
        yield store


def test_second_writer_is_refused(store, neo4j_empty, small_batches, monkeypatch):
    write(store, library())
    with Neo4jStore(neo4j_empty, lock_wait_s=0) as second, store._session.exclusive():
        with pytest.raises(StoreError, match="Expected to be the only writer"):
            write(second, random_graph(1), delete_missing=True)
        with pytest.raises(StoreError, match="Expected to be the only writer"):
            second.clear()
        assert_holds(second, library())
    write(store, random_graph(1), delete_missing=True)


def test_second_writer_waits_for_the_first(store, neo4j_empty):
    write(store, library())
    with Neo4jStore(neo4j_empty, lock_wait_s=60) as second:
        with store._session.exclusive():
            done = threading.Thread(
                target=write, args=(second, random_graph(1)), kwargs={"delete_missing": True}
            )
            done.start()
            time.sleep(1)
            assert_holds(store, library())
        done.join(timeout=60)
        assert_holds(store, random_graph(1))


def test_deadlock_with_another_client_is_retried(store, neo4j_empty, caplog):
    """The other client locks the last node, waits until we lock the first, and wants that one."""
    names = [(f"book:{i}", "book", f"Book {i}") for i in range(2)]
    write(store, graph_tables(names, [], []))
    renamed = graph_tables([(i, t, n + "!") for i, t, n in names], [], [])
    with driver_of(neo4j_empty) as driver, driver.session(database="neo4j") as session:
        other = session.begin_transaction()
        lock = "MATCH (n:book {entity_id: $id}) SET n.touched = true REMOVE n.touched"
        other.run(lock, id="book:1").consume()
        ours = threading.Thread(target=write, args=(store, renamed))
        ours.start()
        time.sleep(2)  # ours holds book:0 and waits for book:1
        with suppress(TransientError):  # the server gives up one of the two, or the other
            other.run(lock, id="book:0").consume()
            other.commit()
        ours.join(timeout=60)
    assert_holds(store, renamed)
    assert not ours.is_alive()


def counted(reader, monkeypatch, first=None):
    """Count readings of the whole graph; ``first`` runs within the first one."""
    readings, rows = [], reader._rows

    def counting():
        readings.append(1)
        if first and len(readings) == 1:
            first()
        return rows()

    monkeypatch.setattr(reader, "_rows", counting)
    return readings


def test_export_reads_again_where_a_writer_came_in_between(store, neo4j_empty, monkeypatch):
    """The server shows a commit step by step: what was read beside a writer does not count."""
    write(store, library())
    lock = store._session.exclusive()

    def writer_comes():
        lock.__enter__()
        threading.Timer(1, lock.__exit__, (None, None, None)).start()

    with Neo4jStore(neo4j_empty) as reader:
        readings = counted(reader, monkeypatch, writer_comes)
        assert_holds(reader, library())
    assert len(readings) == 2


def test_export_beside_a_writer_that_lingers_reads_twice(store, neo4j_empty, monkeypatch):
    write(store, library())
    with Neo4jStore(neo4j_empty, lock_wait_s=0) as reader, store._session.exclusive():
        readings = counted(reader, monkeypatch)
        assert_holds(reader, library())
    assert len(readings) == 2


def test_reader_sees_the_old_or_the_new_graph(store, neo4j_empty):
    """Exports during single-transaction writes are one of the two graphs, never a mix."""
    graphs = [random_graph(seed, **BIG) for seed in (0, 1)]
    write(store, graphs[0], delete_missing=True)
    stop = threading.Event()

    def keep_writing():
        with Neo4jStore(neo4j_empty) as other:
            turn = 1
            while not stop.is_set():
                write(other, graphs[turn], delete_missing=True)
                turn = 1 - turn
                stop.wait(0.3)  # a reader waits for a writer, and is one of many

    writer = threading.Thread(target=keep_writing)
    writer.start()
    wanted = [digest_of(canonical_tables(*parts(one)), None) for one in graphs]
    seen = []
    for _ in range(12):
        with suppress(StoreError):  # where writes came in between each time
            seen.append(digest_of(store.export(), None))
    stop.set()
    writer.join(timeout=60)
    assert seen
    assert set(seen) <= set(wanted)


def parts(tables):
    return tables.entities, tables.relation_types, tables.triples
