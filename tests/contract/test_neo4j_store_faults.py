"""A Neo4j store when things go wrong: kills, restarts, resets, other writers, refusals."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import polars as pl
import pytest
from graph_store_contract import assert_holds, graph_tables, library, random_graph, write
from neo4j.exceptions import TransientError
from neo4j_fixtures import connection_to, driver_of

import graph_etl.store.neo4j_session as session_module
from graph_etl.errors import DataError, StoreError
from graph_etl.neo4j_server import down, up
from graph_etl.store import GraphTables, StoreCounts
from graph_etl.store.neo4j_connection import Neo4jConnection
from graph_etl.store.neo4j_store import MAX_ID_BYTES, Neo4jStore

pytestmark = pytest.mark.neo4j

BIG = {"num_entities": 400, "num_triples": 1500}


@pytest.fixture
def small_batches(monkeypatch):
    """Every write but the smallest is staged, in many transactions."""
    monkeypatch.setattr("graph_etl.store.neo4j_writing.ONE_TRANSACTION_ROWS", 20)
    monkeypatch.setattr("graph_etl.store.change_statements.BATCH_ROWS", 40)


@pytest.fixture
def store(neo4j_empty):
    with Neo4jStore(neo4j_empty, retry_s=120) as store:
        yield store


@pytest.fixture
def ask(neo4j_driver, neo4j_empty):
    """Runs a statement past the store."""

    def asked(query, **parameters):
        return neo4j_driver.execute_query(query, parameters, database_=neo4j_empty.database).records

    return asked


def at_batch(monkeypatch, number, act):
    """Call ``act`` before the transaction with this number, counted from one."""
    run, count = session_module.Neo4jSession.run, iter(range(1, 10_000))

    def counted(self, statements, expected=None):
        if next(count) == number:
            act()
        return run(self, statements, expected)

    monkeypatch.setattr(session_module.Neo4jSession, "run", counted)


# --- staged writes


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


# --- killed


KILLED_WRITER = """
import os, random, sys, threading, time
import graph_etl.store.change_statements as statements
import graph_etl.store.neo4j_session as module
import graph_etl.store.neo4j_writing as writing
from graph_etl.store.neo4j_store import Neo4jStore
from graph_store_contract import random_graph, write
writing.ONE_TRANSACTION_ROWS, statements.BATCH_ROWS = int(sys.argv[2]), 40
run, count = module.Neo4jSession.run, iter(range(1, 10_000))
def die(): os.kill(os.getpid(), 9)
def counted(self, *arguments):
    if sys.argv[1] == f"before {(number := next(count))}": die()
    if sys.argv[1] == f"in {number}": threading.Timer(0.003, die).start()
    rows = run(self, *arguments)
    if sys.argv[1] == f"after {number}": die()
    return rows
module.Neo4jSession.run = counted
if sys.argv[1].startswith("random"): threading.Timer(float(sys.argv[1].split()[1]), die).start()
with Neo4jStore() as store:
    write(store, random_graph(1, num_entities=400, num_triples=1500), delete_missing=True)
"""


def killed(connection, when, one_transaction_rows=20):
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, when, str(one_transaction_rows)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "NEO4J_URI": connection.uri,
            "NEO4J_PASSWORD": connection.password,
        },
        check=False,
    )
    return ended.returncode


# Transactions 1 to 9 define constraints and the record, 10 sets the mark, the load follows.
@pytest.mark.parametrize(
    "when", ["before 10", "after 10", "in 14", "after 20", "in 30", "after 45"]
)
@pytest.mark.parametrize("start", ["empty", "older"])
def test_killed_load_is_hidden_and_completed_by_the_next(store, neo4j_empty, when, start):
    if start == "older":
        write(store, random_graph(0, **BIG), delete_missing=True)
    assert killed(neo4j_empty, when) == -signal.SIGKILL
    if when != "before 10":
        for read in (store.counts, store.export, lambda: store.query("RETURN 1")):
            with pytest.raises(StoreError, match="Expected a finished graph"):
                read()
    write(store, random_graph(1, **BIG), delete_missing=True)
    assert_holds(store, random_graph(1, **BIG))
    assert write(store, random_graph(1, **BIG), delete_missing=True).writes == 0


def test_killed_single_transaction_leaves_the_old_graph(store, neo4j_empty):
    write(store, library())
    assert killed(neo4j_empty, "in 10", one_transaction_rows=100_000) == -signal.SIGKILL
    found = store.counts()
    assert found.num_entities in (6, 400)  # the commit may have been under way
    write(store, random_graph(1, **BIG), delete_missing=True)
    assert_holds(store, random_graph(1, **BIG))


def test_kills_at_random_moments_end_in_the_same_graph(store, neo4j_empty):
    rng, codes = random.Random(0), []
    for _ in range(4):
        write(store, random_graph(0, **BIG), delete_missing=True)
        codes.append(killed(neo4j_empty, f"random {rng.uniform(0.5, 3.0)}"))
        write(store, random_graph(1, **BIG), delete_missing=True)
        assert_holds(store, random_graph(1, **BIG))
    assert -signal.SIGKILL in codes


def test_half_of_a_killed_load_is_not_added_to(store, neo4j_empty):
    assert killed(neo4j_empty, "after 20") == -signal.SIGKILL
    with pytest.raises(StoreError, match="a load was interrupted; write the whole graph"):
        write(store, library())
    write(store, library(), delete_missing=True)
    assert_holds(store, library())


def test_clear_repairs_an_interrupted_load(store, neo4j_empty):
    assert killed(neo4j_empty, "after 20") == -signal.SIGKILL
    store.clear()
    assert store.counts() == StoreCounts({}, {})
    write(store, library())
    assert_holds(store, library())


# --- the connection and the server


class Proxy:
    """Forwards connections to a server, and can cut all of them."""

    def __init__(self, uri: str) -> None:
        self._target = int(uri.rpartition(":")[2])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.uri = f"bolt://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        for one in self._open:
            with suppress(OSError):  # the other side was first
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.mark.parametrize("number", [1, 10, 14, 40])
def test_write_goes_on_after_a_connection_reset(
    neo4j_empty, small_batches, monkeypatch, caplog, number
):
    proxy = Proxy(neo4j_empty.uri)
    where = Neo4jConnection(proxy.uri, neo4j_empty.user, neo4j_empty.password)
    with Neo4jStore(where, retry_s=60) as store:
        at_batch(monkeypatch, number, proxy.cut)
        write(store, random_graph(1, **BIG), delete_missing=True)
        assert_holds(store, random_graph(1, **BIG))
        assert write(store, random_graph(1, **BIG), delete_missing=True).writes == 0
    proxy.close()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_write_goes_on_after_a_restart_of_the_server(neo4j_server, small_batches, monkeypatch, how):
    port = int(neo4j_server.uri.rpartition(":")[2])

    def restart():
        if how == "killed":
            os.kill(neo4j_server_pid(neo4j_server), signal.SIGKILL)
            time.sleep(1)
        else:
            down(neo4j_server.home)
        up(neo4j_server.home, port=port, memory_mb=768, timeout_s=300)

    with Neo4jStore(connection_to(neo4j_server), retry_s=300) as store:
        at_batch(monkeypatch, 30, restart)
        summary = write(store, random_graph(1, **BIG), delete_missing=True)
        assert summary.nodes_created == 400
        assert_holds(store, random_graph(1, **BIG))
        store.clear()


def neo4j_server_pid(server):
    from graph_etl.neo4j_server import status

    return status(server.home).pid


def test_unreachable_server_is_an_error():
    with pytest.raises(StoreError, match="cannot be reached"):
        Neo4jStore(Neo4jConnection("bolt://127.0.0.1:9", "neo4j", "x"), retry_s=1)


def test_wrong_password_is_an_error_without_it(neo4j_empty):
    wrong = Neo4jConnection(neo4j_empty.uri, "neo4j", "wrong-password")
    with pytest.raises(StoreError, match="NEO4J_PASSWORD") as raised:
        Neo4jStore(wrong, retry_s=1)
    assert "wrong-password" not in f"{raised.value}{wrong}"


def test_unknown_database_is_an_error(neo4j_empty):
    nowhere = Neo4jConnection(neo4j_empty.uri, "neo4j", neo4j_empty.password, "nowhere")
    with pytest.raises(StoreError, match="nowhere"):
        Neo4jStore(nowhere, retry_s=1)


@pytest.mark.parametrize("uri", ["ftp://127.0.0.1:1", "nonsense", "bolt://"])
def test_address_that_is_none_is_an_error(uri):
    with pytest.raises(StoreError):
        Neo4jStore(Neo4jConnection(uri, "neo4j", "x"), retry_s=1)


# --- other writers


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

    writer = threading.Thread(target=keep_writing)
    writer.start()
    sizes = {(g.entities.height, g.triples.height) for g in graphs}
    seen = set()
    for _ in range(12):
        with suppress(StoreError):  # where a write came in between three times
            found = store.export()
            seen.add((found.entities.height, found.triples.height))
    stop.set()
    writer.join(timeout=60)
    assert seen
    assert seen <= sizes


# --- refusals


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


@pytest.mark.parametrize("size", [MAX_ID_BYTES, MAX_ID_BYTES + 1])
def test_id_of_the_largest_size_is_kept_and_a_larger_one_refused(store, size):
    tables = graph_tables(
        [("a", "book", "A"), ("é" * (size // 2) + "x" * (size % 2), "book", "")], [], []
    )
    if size == MAX_ID_BYTES:
        write(store, tables)
        assert_holds(store, tables)
    else:
        with pytest.raises(DataError, match=r"at most 8000 bytes.*8001 in row 1 of entities"):
            write(store, tables)
        assert store.counts().num_entities == 0


def test_pages_cut_between_ids_of_any_script(store, monkeypatch):
    monkeypatch.setattr("graph_etl.store.neo4j_queries.PAGE_ENTITIES", 3)
    rng = random.Random(0)
    marks = [
        "a",
        "A",
        "é",
        "e\u0301",
        "ß",
        "中",
        "\uffff",
        "😀",
        "\U0010ffff",
        "\u202e",
        "~",
        " ",
        "\x01",
    ]
    ids = {"".join(rng.choices(marks, k=rng.randint(1, 3))) for _ in range(60)}
    tables = graph_tables(
        [(one, "book", one) for one in sorted(ids)],
        [("book", "related_to", "book")],
        [(rng.choice(sorted(ids)), "related_to", one) for one in sorted(ids)],
    )
    write(store, tables)
    assert_holds(store, tables)


def test_null_provenance_of_single_rows_survives(store):
    tables = library()
    row = pl.int_range(pl.len())
    triples = tables.triples.with_columns(
        doc_id=pl.when(row % 2 == 0).then("doc_id"),
        confidence=pl.when(row % 3 == 0).then("confidence"),
        engine=pl.when(row % 2 == 1).then("engine"),
    )
    mixed = GraphTables(tables.entities, tables.relation_types, triples)
    write(store, mixed)
    assert_holds(store, mixed)


def test_newer_schema_is_refused(store, ask):
    write(store, library())
    ask("MATCH (s:__Store__ {key: 'record'}) SET s.schema_version = 99")
    for attempt in (lambda: write(store, random_graph(0)), store.export):
        with pytest.raises(StoreError, match="schema version 1 or older in the store, got 99"):
            attempt()


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
