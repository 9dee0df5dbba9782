"""Nights on a real Neo4j server: what is written, refused and rolled back."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from night_tables import books, night
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.errors import GateError
from graph_etl.store import canonical_tables
from graph_etl.store.neo4j_store import Neo4jStore
from graph_etl.versions import rollback, verify_store

pytestmark = pytest.mark.neo4j


def same(store, snapshot):
    """Whether the store holds the snapshot, every row."""
    found = store.export()
    expected = canonical_tables(snapshot.entities, snapshot.relation_types, snapshot.triples)
    return (
        found.entities.equals(expected.entities)
        and found.relation_types.equals(expected.relation_types)
        and found.triples.equals(expected.triples)
    )


def test_an_unchanged_night_writes_nothing_and_a_changed_one_only_its_change(
    neo4j_empty, tmp_path, monkeypatch
):
    renamed = books().with_columns(
        title=pl.when(pl.col("id") == "b7").then(pl.lit("Book VII")).otherwise("title")
    )
    with Neo4jStore(neo4j_empty) as store:
        night(tmp_path, books(), store=store)
        assert night(tmp_path, books(), store=store).store.writes == 0
        monkeypatch.setattr("graph_etl.store.neo4j_writing.read_graph", None)  # it is not read
        assert night(tmp_path, renamed, store=store).store.writes == 1
        assert store.entity("book:b7").name == "Book VII"


def test_a_refused_night_leaves_the_server_alone(neo4j_empty, tmp_path):
    with Neo4jStore(neo4j_empty) as store:
        first = night(tmp_path, books(), store=store).snapshot
        with pytest.raises(GateError, match="count_drop"):
            night(tmp_path, books(100), store=store)
        assert same(store, first)


def test_rollback_brings_the_server_back(neo4j_empty, tmp_path, monkeypatch):
    monkeypatch.setenv("NEO4J_URI", neo4j_empty.uri)
    monkeypatch.setenv("NEO4J_PASSWORD", neo4j_empty.password)
    (tmp_path / "store").write_text("neo4j")
    with Neo4jStore(neo4j_empty) as store:
        first = night(tmp_path, books(), store=store).snapshot
        night(tmp_path, books(199), store=store)
        monkeypatch.setattr("graph_etl.store.neo4j_writing.read_graph", None)  # it is not read
        rollback(tmp_path)
        assert same(store, first)


def test_verify_finds_and_mends_what_another_client_edited(neo4j_empty, ask, tmp_path, monkeypatch):
    monkeypatch.setenv("NEO4J_URI", neo4j_empty.uri)
    monkeypatch.setenv("NEO4J_PASSWORD", neo4j_empty.password)
    (tmp_path / "store").write_text("neo4j")
    with Neo4jStore(neo4j_empty) as store:
        night(tmp_path, books(), store=store)
        ask("MATCH (n:book {entity_id: 'book:b7'}) SET n.name = 'edited'")
        shown = CliRunner().invoke(app, ["neo4j", "verify", str(tmp_path), "--json"])
        assert json.loads(shown.stdout)["nodes_updated"] == 1
        assert store.entity("book:b7").name != "edited"
    assert verify_store(tmp_path).writes == 0


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(nights=st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=1, max_size=4))
def test_nights_one_after_another_equal_the_last_alone(neo4j_empty, tmp_path_factory, nights):
    folder = tmp_path_factory.mktemp("nights")
    with Neo4jStore(neo4j_empty) as store:
        for chosen in nights:
            table = books(12).filter(pl.col("id").is_in([f"b{i}" for i in chosen]))
            last = night(folder, table, store=store, gated=False).snapshot
            assert same(store, last)
    alone = night(tmp_path_factory.mktemp("alone"), table, gated=False).snapshot
    assert last.entities.equals(alone.entities)
    assert last.triples.drop("run_id").equals(alone.triples.drop("run_id"))
