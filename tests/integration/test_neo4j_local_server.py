"""graph-etl neo4j up, down and status with a real server, and a build into it by the commands."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path

import polars as pl
import pytest
from neo4j.exceptions import AuthError, ClientError
from neo4j_fixtures import connection_to, driver_of, free_port, started
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.errors import MissingDependencyError, StoreError
from graph_etl.neo4j_server import down, running_servers, status, up
from graph_etl.neo4j_server.java import VERSIONS, jars_of, jdk_for
from graph_etl.store.neo4j_connection import Neo4jConnection, connection_from_environment

pytestmark = pytest.mark.neo4j

DATASET = """\
name: book-shop
license: internal
items:
  table: books.csv
  id: isbn
  title: title
  entity_type: book
  attributes:
    - {column: author, relation: written_by, entity_type: person}
    - {column: subjects, separator: "|", relation: is_about, entity_type: subject}
interactions:
  table: orders.csv
  user: customer
  item: isbn
  timestamp: {column: ordered_at, unit: iso}
"""
BOOKS = """\
isbn,title,author,subjects
1,Emma,Jane Austen,love|england
2,"Persua`sion'}) DETACH DELETE n //",Jane Austen,love|navy
3,Moby Dick,Herman Melville,whales|navy
"""
ORDERS = "customer,isbn,ordered_at\na,1,2024-01-01\na,2,2024-02-01\nb,3,2024-03-01\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server beside that of the session: two at once, on two ports, this one with APOC."""
    server = started(tmp_path_factory.mktemp("second") / "server", apoc=True)
    yield server
    down(server.home)


def port_of(server) -> int:
    return int(server.uri.rpartition(":")[2])


def names_in(server) -> list[str]:
    with driver_of(connection_to(server)) as driver:
        found = driver.execute_query("MATCH (n:Note) RETURN n.text AS t", database_="neo4j")
        return [record["t"] for record in found.records]


def add_note(server, text: str) -> None:
    with driver_of(connection_to(server)) as driver:
        driver.execute_query("CREATE (:Note {text: $text})", text=text, database_="neo4j")


def test_apoc_is_there_where_it_was_asked_for(server, neo4j_server):
    for asked, there in ((server, True), (neo4j_server, False)):
        with driver_of(connection_to(asked)) as driver:
            found = driver.execute_query("SHOW FUNCTIONS YIELD name RETURN collect(name) AS n")
        assert ("apoc.version" in found.records[0]["n"]) == there


def test_up_again_is_the_same_server(server):
    assert up(server.home, port=port_of(server)) == server == status(server.home)


def test_up_on_another_port_is_refused_while_it_runs(server):
    with pytest.raises(StoreError, match=f"but it runs at {server.uri}"):
        up(server.home, port=free_port())


def test_two_servers_keep_apart(server, neo4j_server):
    assert server.uri != neo4j_server.uri
    add_note(server, "second")
    assert names_in(server) == ["second"]
    assert names_in(neo4j_server) == []


def test_password_is_needed_and_on_no_command_line(server):
    assert stat.S_IMODE(server.password_file.stat().st_mode) == 0o600
    for password in ("neo4j", "", server.password()[:-1]):
        wrong = Neo4jConnection(server.uri, "neo4j", password)
        with driver_of(wrong) as driver, pytest.raises((AuthError, ClientError)):
            driver.verify_connectivity()
    line = Path(f"/proc/{server.pid}/cmdline")
    if line.exists():
        assert server.password() not in line.read_text()
    for log in (server.home / "server.log", *(server.home / "logs").glob("*.log")):
        assert server.password() not in log.read_text(errors="replace")


def test_server_listens_on_loopback_alone(server):
    tables = [Path(f"/proc/{server.pid}/net/{name}") for name in ("tcp", "tcp6")]
    if not tables[0].exists():
        pytest.skip("no /proc on this machine to see what listens")
    port = f":{port_of(server):04X}"
    rows = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    hosts = {row[1].rpartition(":")[0] for row in rows if row[1].endswith(port) and row[3] == "0A"}
    assert hosts <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert hosts


def test_local_server_is_found_without_environment(server, monkeypatch):
    monkeypatch.setenv("KGREC_NEO4J_DIR", str(server.home.parent))
    assert running_servers() == [server]
    assert connection_from_environment({}) == connection_to(server)


def test_restart_keeps_data_and_password(server):
    password = server.password()
    add_note(server, "kept")
    stopped = down(server.home)
    assert not stopped.running
    assert stopped.pid is None
    assert not down(server.home).running
    again = up(server.home, port=port_of(server), timeout_s=300)
    assert again.running
    assert again.pid != server.pid
    assert again.password() == password
    assert "kept" in names_in(again)


def test_killed_server_is_not_taken_for_running_and_recovers(server):
    add_note(server, "before the kill")
    pid = status(server.home).pid
    os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if not status(server.home).running:
            break
        time.sleep(0.1)
    state = json.loads((server.home / "server.json").read_text())
    assert state["pid"] == pid
    # The pid of the dead server now belongs to somebody else: to this very process.
    (server.home / "server.json").write_text(json.dumps({**state, "pid": os.getpid()}))
    assert not status(server.home).running
    assert not down(server.home).running
    again = up(server.home, port=port_of(server), timeout_s=300)
    assert again.running
    assert "before the kill" in names_in(again)


def test_every_version_that_a_jdk_here_runs_starts(tmp_path):
    """5.26 is started by the session; the newer ones where there is a JDK for them."""
    for version in VERSIONS[1:]:
        try:
            jdk_for(version)
        except MissingDependencyError:
            continue
        jars_of(version)
        server = started(tmp_path / version, version=version)
        add_note(server, version)
        assert names_in(server) == [version]
        assert down(server.home).version == version


@pytest.fixture
def shop(tmp_path, neo4j_empty, monkeypatch):
    for name, text in (("dataset.yaml", DATASET), ("books.csv", BOOKS), ("orders.csv", ORDERS)):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("NEO4J_URI", neo4j_empty.uri)
    monkeypatch.setenv("NEO4J_PASSWORD", neo4j_empty.password)
    return tmp_path


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result


def test_build_query_stats_and_draw_on_neo4j(shop):
    out = shop / "out"
    build = ("build", shop / "dataset.yaml", "--out", out, "--store", "neo4j", "--json")
    first = json.loads(run(*build).stdout)
    assert first["store"]["nodes_created"] == 9
    assert json.loads(run(*build).stdout)["store"]["writes"] == 0
    counts = json.loads(run("stats", out, "--store", "--json").stdout)
    assert counts["entities"] == {"book": 3, "person": 2, "subject": 4}
    found = run("query", out, "MATCH (n:book) RETURN n.name AS name ORDER BY name", "--json")
    names = [row["name"] for row in json.loads(found.stdout)["rows"]]
    assert "Persua`sion'}) DETACH DELETE n //" in names
    assert "9 rows" not in run("draw", out, "Emma", "--out", shop / "emma.png").output
    refused = run("query", out, "MATCH (n) DETACH DELETE n", code=2)
    assert "read-only" in refused.stderr


def test_build_after_a_changed_name_renames_one_node(shop):
    out = shop / "out"
    run("build", shop / "dataset.yaml", "--out", out, "--store", "neo4j")
    books = pl.read_csv(shop / "books.csv")
    books.with_columns(title=pl.col("title").str.replace("Emma", "Emma!")).write_csv(
        shop / "books.csv"
    )
    again = run("build", shop / "dataset.yaml", "--out", out, "--store", "neo4j", "--json")
    store = json.loads(again.stdout)["store"]
    assert (store["nodes_updated"], store["nodes_created"], store["nodes_deleted"]) == (1, 0, 0)
    assert (store["relationships_created"], store["relationships_deleted"]) == (0, 0)


def test_query_of_a_build_without_store_says_so(shop):
    run("build", shop / "dataset.yaml", "--out", shop / "out", "--store", "none")
    refused = run("query", shop / "out", "MATCH (n) RETURN n", code=2)
    assert "got one without" in refused.stderr
