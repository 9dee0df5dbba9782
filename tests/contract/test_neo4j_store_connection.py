"""A Neo4j store whose connection breaks, whose server restarts, or that finds none."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest
from graph_store_contract import assert_holds, random_graph, write
from neo4j._sync.work.transaction import TransactionBase
from neo4j.exceptions import Neo4jError
from neo4j_fixtures import connection_to

import graph_etl.store.neo4j_session as session_module
from graph_etl.errors import StoreError
from graph_etl.neo4j_server import down, up
from graph_etl.store.neo4j_connection import Neo4jConnection
from graph_etl.store.neo4j_store import Neo4jStore

pytestmark = pytest.mark.neo4j

BIG = {"num_entities": 400, "num_triples": 1500}


def at_batch(monkeypatch, number, act):
    """Call ``act`` before the transaction with this number, counted from one."""
    run, count = session_module.Neo4jSession.run, iter(range(1, 10_000))

    def counted(self, statements, expected=None):
        if next(count) == number:
            act()
        return run(self, statements, expected)

    monkeypatch.setattr(session_module.Neo4jSession, "run", counted)


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


@pytest.mark.parametrize("number", [10, 20, 30, 40])
def test_commit_that_is_refused_though_done_is_not_done_twice(
    neo4j_empty, small_batches, monkeypatch, number
):
    commit, count = TransactionBase._commit, iter(range(1, 10_000))

    def refused(self):
        commit(self)
        if next(count) == number:
            raise Neo4jError._hydrate_neo4j(
                code="Neo.TransientError.General.DatabaseUnavailable", message="going down"
            )

    monkeypatch.setattr(TransactionBase, "_commit", refused)
    with Neo4jStore(neo4j_empty, retry_s=60) as store:
        summary = write(store, random_graph(1, **BIG), delete_missing=True)
        assert summary.nodes_created == 400
        assert_holds(store, random_graph(1, **BIG))
        assert store.counts().num_triples == len(store.export().triples)
        assert write(store, random_graph(1, **BIG), delete_missing=True).writes == 0


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
