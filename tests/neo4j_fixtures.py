"""A Neo4j server for the tests marked neo4j, started once and stopped at the end.

Without a JDK or Maven those tests skip; where KGREC_STRICT_SKIPS is set, that fails them.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(home: Path, **options):
    """A running LocalServer with its files in a folder."""
    from graph_etl.errors import MissingDependencyError
    from graph_etl.neo4j_server import up

    options = {"port": free_port(), "memory_mb": 768, "timeout_s": 300, **options}
    try:
        return up(home, **options)
    except MissingDependencyError as error:
        pytest.skip(f"no Neo4j server can be started here: {error}")


def connection_to(server):
    from graph_etl.store.neo4j_connection import Neo4jConnection

    return Neo4jConnection(server.uri, server.user, server.password())


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory):
    """A running server; tests that stop it start it again on the same port."""
    from graph_etl.neo4j_server import down

    server = started(tmp_path_factory.mktemp("neo4j") / "server")
    yield server
    down(server.home)


@pytest.fixture(scope="session")
def neo4j_connection(request):
    """The server that NEO4J_URI names, whose database must be empty, else one of our own."""
    if not os.environ.get("NEO4J_URI"):
        return connection_to(request.getfixturevalue("neo4j_server"))
    from graph_etl.store.neo4j_connection import connection_from_environment

    where = connection_from_environment()
    with driver_of(where) as driver:
        found = driver.execute_query("MATCH (n) RETURN count(n) AS n", database_=where.database)
    if found.records[0]["n"]:
        pytest.fail(f"expected an empty database at {where.uri} to test in, found nodes")
    return where


def driver_of(connection):
    """A driver of the tests' own, to look past the store."""
    import neo4j

    return neo4j.GraphDatabase.driver(
        connection.uri, auth=(connection.user, connection.password), max_connection_lifetime=60
    )


@pytest.fixture(scope="session")
def neo4j_driver(neo4j_connection):
    with driver_of(neo4j_connection) as driver:
        yield driver


@pytest.fixture
def neo4j_empty(neo4j_connection, neo4j_driver):
    """The connection to a database without nodes."""
    yield neo4j_connection
    neo4j_driver.execute_query("MATCH (n) DETACH DELETE n", database_=neo4j_connection.database)


@pytest.fixture
def ask(neo4j_driver, neo4j_empty):
    """Runs a statement past the store."""

    def asked(query, **parameters):
        return neo4j_driver.execute_query(query, parameters, database_=neo4j_empty.database).records

    return asked


@pytest.fixture
def small_batches(monkeypatch):
    """Every write but the smallest is staged, in many transactions."""
    monkeypatch.setattr("graph_etl.store.neo4j_writing.ONE_TRANSACTION_ROWS", 20)
    monkeypatch.setattr("graph_etl.store.neo4j_writing.FIRST_TRANSACTION_ROWS", 20)
    monkeypatch.setattr("graph_etl.store.change_statements.BATCH_ROWS", 40)
