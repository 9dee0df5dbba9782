"""Parts of the Neo4j store that need no server: digest, connection, names in Cypher."""

from __future__ import annotations

import polars as pl
import pytest

from graph_etl.errors import ConfigError, SchemaViolationError, StoreError
from graph_etl.snapshot import TABLES
from graph_etl.store import GraphTables, neo4j_queries
from graph_etl.store.digest import digest_of
from graph_etl.store.neo4j_connection import connection_from_environment


def tables(names=("Emma", "Persuasion"), confidence=1.0) -> GraphTables:
    entities = [(i, f"book:{i}", "book", name) for i, name in enumerate(names)]
    triples = [(0, 0, 1, "s", None, "table", confidence, "run")]
    return GraphTables(
        pl.DataFrame(entities, schema=dict(TABLES["entities"]), orient="row"),
        pl.DataFrame(
            [(0, "related_to", "book", "book", "is related to")],
            schema=dict(TABLES["relation_types"]),
            orient="row",
        ),
        pl.DataFrame(triples, schema=dict(TABLES["triples"]), orient="row"),
    )


def test_digest_is_that_of_equal_frames():
    whole = tables()
    chunked = whole.entities.head(1).vstack(whole.entities.slice(1))
    again = GraphTables(chunked, whole.relation_types.clone(), whole.triples)
    assert digest_of(again, None) == digest_of(whole, None) == digest_of(tables(), ())


@pytest.mark.parametrize(
    "other",
    [
        digest_of(tables(("Emma", "persuasion")), None),
        digest_of(tables(("EmmaP", "ersuasion")), None),
        digest_of(tables(confidence=0.5), None),
        digest_of(tables(confidence=None), None),
        digest_of(tables(), ["book"]),
        digest_of(GraphTables(tables().entities.reverse(), *list(vars(tables()).values())[1:]), ()),
    ],
)
def test_digest_differs_where_a_cell_does(other):
    assert other != digest_of(tables(), None)


def test_digest_of_many_slices_sees_the_last_row(monkeypatch):
    monkeypatch.setattr("graph_etl.store.digest._SLICE_ROWS", 3)
    names = [str(i) for i in range(10)]
    assert digest_of(tables(names), None) != digest_of(tables([*names[:9], "x"]), None)


def test_connection_of_the_environment_never_shows_its_password():
    given = {"NEO4J_URI": "neo4j+s://graph:7687", "NEO4J_USER": "me", "NEO4J_PASSWORD": "secret"}
    found = connection_from_environment(given)
    assert (found.uri, found.user, found.password) == ("neo4j+s://graph:7687", "me", "secret")
    assert found.database == "neo4j"
    assert "secret" not in repr(found)
    assert connection_from_environment({**given, "NEO4J_DATABASE": "films"}).database == "films"


def test_connection_without_password_is_an_error():
    with pytest.raises(ConfigError, match="NEO4J_PASSWORD for the server bolt://x"):
        connection_from_environment({"NEO4J_URI": "bolt://x"})


def test_connection_without_any_server_says_how_to_start_one(monkeypatch, tmp_path):
    monkeypatch.setenv("KGREC_NEO4J_DIR", str(tmp_path))
    with pytest.raises(StoreError, match="graph-etl neo4j up"):
        connection_from_environment({})


@pytest.mark.parametrize("name", ["a`b", "x) DETACH DELETE (n", "", "__Entity__", "n\n"])
def test_names_that_no_schema_declares_do_not_reach_cypher(name):
    with pytest.raises(SchemaViolationError):
        neo4j_queries.merge_entities(name, {})
    for make in (neo4j_queries.create_relationships, neo4j_queries.merge_relationships):
        with pytest.raises(SchemaViolationError):
            make(name, {})


def test_values_stand_in_parameters_only():
    text = "'}) DETACH DELETE n //"
    made = (
        neo4j_queries.create_entities("book", {"entity_id": [text], "name": [text]}),
        neo4j_queries.create_relationships("b", {"doc_id": [text]}),
        neo4j_queries.entities_page(text),
        neo4j_queries.finish_write(text, 0),
    )
    assert not any(text in statement.query for statement in made)
