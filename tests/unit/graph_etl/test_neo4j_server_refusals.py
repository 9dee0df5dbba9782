"""A local Neo4j server that cannot be started: every reason has its message; none needs Java."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.errors import ConfigError, MissingDependencyError, StoreError
from graph_etl.neo4j_server import docker, down, running_servers, status, up
from graph_etl.neo4j_server.java import apoc_jars_of, jars_of, java_range, jdk_for


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("KGREC_NEO4J_DIR", str(tmp_path / "servers"))
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "cache"))


def command(folder: Path, name: str, script: str) -> Path:
    """A command that stands in for one of the machine's."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def jdk(monkeypatch, tmp_path):
    """Makes a folder look like the only JDK of this machine."""

    def made(major: int, java: str = "exit 0") -> Path:
        home = tmp_path / f"jdk-{major}"
        home.mkdir()
        command(home / "bin", "javac", "exit 0")
        command(home / "bin", "java", java)
        (home / "release").write_text(f'JAVA_VERSION="{major}.0.1"\n')
        monkeypatch.setattr("graph_etl.neo4j_server.java._JDK_FOLDERS", (f"{home}",))
        monkeypatch.setenv("PATH", "/usr/bin/nowhere")
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        return home

    return made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("version", "expected"),
    [("5.26.30", (17, 21)), ("2026.09.0", (21, 25)), ("2025.1.0", (21, 25))],
)
def test_java_range_of_a_version(version, expected):
    assert java_range(version) == expected


@pytest.mark.parametrize("version", ["", "5", "5.26", "../5.26.30", "5.26.30</version>", "latest"])
def test_version_that_is_none_is_an_error(version):
    with pytest.raises(StoreError, match=r"Expected a Neo4j version such as 5\.26\.30"):
        java_range(version)


@pytest.mark.parametrize(
    ("major", "version"), [(17, "5.26.30"), (21, "5.26.30"), (25, "2026.09.0")]
)
def test_jdk_decides_the_version(jdk, major, version):
    home = jdk(major)
    assert jdk_for(None) == (version, home)


@pytest.mark.parametrize(("major", "version"), [(11, None), (17, "2026.09.0"), (25, "5.26.30")])
def test_jdk_that_does_not_fit_is_named(jdk, major, version):
    home = jdk(major)
    with pytest.raises(
        MissingDependencyError, match=rf"found \['{major} in {home}'\]; install one"
    ):
        jdk_for(version)


def test_no_maven_says_how_to_get_it(jdk):
    jdk(17)
    with pytest.raises(MissingDependencyError, match="apt-get install maven"):
        jars_of("5.26.30")


def test_failing_maven_is_told_in_its_own_words(monkeypatch, tmp_path):
    said = "echo '[ERROR] Could not transfer artifact: Connection refused'; exit 1"
    command(tmp_path / "bin", "mvn", said)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(StoreError, match="Connection refused; check the network"):
        jars_of("5.26.30")
    assert list((tmp_path / "cache" / "neo4j").iterdir()) == []


def test_apoc_for_a_version_without_one_is_an_error():
    with pytest.raises(StoreError, match=r"Expected a Neo4j of 5\.26 for APOC, got 2026\.09\.0"):
        apoc_jars_of("2026.09.0")


def test_taken_port_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StoreError, match=f"Expected port {port} of 127.0.0.1 to be free"):
            up(port=port)


def test_server_that_ends_at_once_is_told_with_its_reason(jdk, tmp_path):
    jdk(17, "echo 'Exception in main'; echo 'Caused by: java.io.IOException: disk full'; exit 3")
    (tmp_path / "cache" / "neo4j" / "5.26.30").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"code 3: Caused by: java\.io\.IOException: disk full"):
        up(port=(port := free_port()), way="java")
    assert not status(port=port).running


def test_server_that_is_never_ready_is_stopped(jdk, tmp_path):
    jdk(17, f"echo $$ > {tmp_path}/pid; exec /bin/sleep 100")
    (tmp_path / "cache" / "neo4j" / "5.26.30").mkdir(parents=True)
    port = free_port()
    with pytest.raises(StoreError, match=r"ready within 0\.5 s"):
        up(port=port, way="java", timeout_s=0.5)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    assert not status(port=port).running


def test_password_is_for_the_owner_alone(jdk, tmp_path):
    jdk(17, "exit 1")
    (tmp_path / "cache" / "neo4j" / "5.26.30").mkdir(parents=True)
    home = tmp_path / "home"
    with pytest.raises(StoreError):
        up(home, port=free_port(), way="java")
    assert stat.S_IMODE((home / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert len(status(home).password()) >= 24


def test_data_without_their_password_are_an_error(tmp_path):
    (tmp_path / "home" / "data").mkdir(parents=True)
    with pytest.raises(StoreError, match="Expected the password of the server's data"):
        up(tmp_path / "home", port=free_port(), way="java")


def test_nothing_runs_where_nothing_was_started(tmp_path):
    assert not status(port=7687).running
    assert not down(port=7687).running
    assert running_servers() == []
    assert not (tmp_path / "servers").exists()


def test_unknown_way_is_an_error():
    with pytest.raises(ConfigError, match=r"among .*docker.*got 'podman'"):
        up(way="podman")


@pytest.mark.parametrize("name", ["up", "down", "status"])
def test_commands_explain_themselves(name):
    shown = CliRunner().invoke(app, ["neo4j", name, "--help"])
    assert shown.exit_code == 0
    assert "--port" in shown.output


def test_status_command_prints_json():
    shown = CliRunner().invoke(app, ["neo4j", "status", "--json"])
    assert shown.exit_code == 0
    assert '"running": false' in shown.output


DOCKER = """
echo "$@" >> {log}
case "$1" in
  version) echo 28.2.2;;
  run) cat "$5" > {log}.env; touch {log}.running; echo c0ffee;;
  logs) echo Started.;;
  inspect) if [ -e {log}.running ]; then echo true; else exit 1; fi;;
  stop) rm {log}.running;;
esac
"""


def test_docker_is_given_the_password_in_a_file(monkeypatch, tmp_path):
    """The command docker is a script here; it shows what a daemon would be asked for."""
    log = tmp_path / "log"
    command(tmp_path / "bin", "docker", DOCKER.format(log=log))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    port = free_port()
    server = up(tmp_path / "home", port=port, apoc=True)
    assert (server.way, server.running, server.pid) == ("docker", True, None)
    assert server.uri == f"bolt://127.0.0.1:{port}"
    assert server.password() not in log.read_text()
    assert f"NEO4J_AUTH=neo4j/{server.password()}" in Path(f"{log}.env").read_text()
    assert 'NEO4J_PLUGINS=["apoc"]' in Path(f"{log}.env").read_text()
    assert f"--publish 127.0.0.1:{port}:7687" in log.read_text()
    assert up(tmp_path / "home", port=port) == server
    assert log.read_text().count("run ") == 1
    assert not down(tmp_path / "home").running


def test_docker_without_a_daemon_does_not_answer(monkeypatch, tmp_path):
    command(tmp_path / "bin", "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert not docker.answers()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert not docker.answers()
    with pytest.raises(MissingDependencyError, match="--way java"):
        up(tmp_path / "home", port=free_port(), way="docker")
