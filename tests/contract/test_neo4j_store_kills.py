"""A Neo4j store whose writer is killed: nothing half is shown, the next write completes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from graph_store_contract import assert_holds, library, random_graph, write

from graph_etl.errors import StoreError
from graph_etl.store import StoreCounts, neo4j_writing
from graph_etl.store.neo4j_store import Neo4jStore

pytestmark = pytest.mark.neo4j

BIG = {"num_entities": 400, "num_triples": 1500}


@pytest.fixture
def store(neo4j_empty):
    with Neo4jStore(neo4j_empty, retry_s=120) as store:
        yield store


KILLED_WRITER = """
import os, random, sys, threading, time
import graph_etl.store.change_statements as statements
import graph_etl.store.neo4j_session as module
import graph_etl.store.neo4j_writing as writing
from graph_etl.store.neo4j_store import Neo4jStore
from graph_store_contract import random_graph, write
writing.ONE_TRANSACTION_ROWS = writing.FIRST_TRANSACTION_ROWS = int(sys.argv[2])
statements.BATCH_ROWS = 40
run, count = module.Neo4jSession.run, iter(range(10_000))
def die(): os.kill(os.getpid(), 9)
def counted(self, statements, expected=None):
    if expected is None: return run(self, statements)
    if sys.argv[1] == f"before {(number := next(count))}": die()
    if sys.argv[1] == f"in {number}": threading.Timer(0.003, die).start()
    rows = run(self, statements, expected)
    if sys.argv[1] == f"after {number}": die()
    return rows
module.Neo4jSession.run = counted
with Neo4jStore() as store:
    if sys.argv[1].startswith("random"): threading.Timer(float(sys.argv[1].split()[1]), die).start()
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


# Transaction 0 sets the mark, the load follows; those that define constraints are not counted.
@pytest.mark.parametrize("when", ["before 0", "after 0", "in 4", "after 10", "in 20", "after 35"])
@pytest.mark.parametrize("start", ["empty", "older"])
def test_killed_load_is_hidden_and_completed_by_the_next(store, neo4j_empty, when, start):
    if start == "older":
        write(store, random_graph(0, **BIG), delete_missing=True)
    assert killed(neo4j_empty, when) == -signal.SIGKILL
    if when != "before 0":
        for read in (store.counts, store.export, lambda: store.query("RETURN 1")):
            with pytest.raises(StoreError, match="Expected a finished graph"):
                read()
    write(store, random_graph(1, **BIG), delete_missing=True)
    assert_holds(store, random_graph(1, **BIG))
    assert write(store, random_graph(1, **BIG), delete_missing=True).writes == 0


def test_killed_single_transaction_leaves_the_old_graph(store, neo4j_empty):
    write(store, library())
    assert killed(neo4j_empty, "in 0", one_transaction_rows=100_000) == -signal.SIGKILL
    found = store.counts()
    assert found.num_entities in (6, 400)  # the commit may have been under way
    write(store, random_graph(1, **BIG), delete_missing=True)
    assert_holds(store, random_graph(1, **BIG))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_at_random_moments_end_in_the_same_graph(store, neo4j_empty, kills):
    rng, codes = random.Random(kills), []
    for turn in range(kills):
        known = random_graph(0, **BIG) if turn % 2 else None
        if known:
            write(store, known, delete_missing=True)
        else:
            store.clear()
        codes.append(killed(neo4j_empty, f"random {rng.uniform(0.02, 1.5)}"))
        write(store, random_graph(1, **BIG), delete_missing=True, known=known)
        assert_holds(store, random_graph(1, **BIG))
    assert -signal.SIGKILL in codes


def test_a_commit_of_the_killed_load_that_ends_after_the_store_was_read(
    store, neo4j_empty, monkeypatch
):
    assert killed(neo4j_empty, "after 35") == -signal.SIGKILL
    reads, whole = [], neo4j_writing.read_graph

    def without_the_last_commit(read):
        rows, node_ids = whole(read)
        reads.append(rows.triples.height)
        return (rows if reads[1:] else replace(rows, triples=rows.triples.head(-40))), node_ids

    monkeypatch.setattr(neo4j_writing, "read_graph", without_the_last_commit)
    write(store, random_graph(1, **BIG), delete_missing=True)
    assert len(reads) == 2
    assert reads[0] > 40
    assert_holds(store, random_graph(1, **BIG))


def test_a_constraint_that_a_killed_writer_was_defining_is_waited_for(store, ask):
    write(store, library())
    shown = ask("SHOW CONSTRAINTS YIELD name, labelsOrTypes WHERE 'book' IN labelsOrTypes")
    name = shown[0]["name"]
    store.clear()
    ask(f"DROP CONSTRAINT {name}")
    ask(f"CREATE INDEX {name} FOR (n:book) ON (n.half)")  # its index is there before it
    gone = threading.Timer(1.0, ask, [f"DROP INDEX {name}"])
    gone.start()
    write(store, library())
    gone.join()
    assert_holds(store, library())


def test_half_of_a_killed_load_is_not_added_to(store, neo4j_empty):
    assert killed(neo4j_empty, "after 10") == -signal.SIGKILL
    with pytest.raises(StoreError, match="a load was interrupted; write the whole graph"):
        write(store, library())
    write(store, library(), delete_missing=True)
    assert_holds(store, library())


def test_clear_repairs_an_interrupted_load(store, neo4j_empty):
    assert killed(neo4j_empty, "after 10") == -signal.SIGKILL
    store.clear()
    assert store.counts() == StoreCounts({}, {})
    write(store, library())
    assert_holds(store, library())
