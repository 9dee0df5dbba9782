"""What doctor says of a Neo4j server that is not there, not known, or not answering."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgrec.jobs import doctor
from kgrec.jobs.doctor import Finding


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD", "NEO4J_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KGREC_NEO4J_DIR", str(tmp_path))


def found() -> Finding:
    return doctor._neo4j()


def test_no_server_is_no_fault() -> None:
    assert found().status == "absent"
    assert "graph-etl neo4j up" in found().detail


def test_a_server_without_a_password_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
    assert found().status == "failed"
    assert "NEO4J_PASSWORD" in found().detail


def test_a_server_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
    monkeypatch.setenv("NEO4J_PASSWORD", "secret")
    told = found()
    assert told.status == "failed"
    assert "127.0.0.1:1" in told.detail
    assert "secret" not in told.detail
