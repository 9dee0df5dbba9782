"""Rows that are kept to the last bit by a Neo4j store, and those that it cannot keep."""

from __future__ import annotations

import random

import polars as pl
import pytest
from graph_store_contract import assert_holds, graph_tables, library, random_graph, write

from graph_etl.errors import DataError, StoreError
from graph_etl.store import GraphTables
from graph_etl.store.neo4j_store import MAX_ID_BYTES, Neo4jStore

pytestmark = pytest.mark.neo4j


@pytest.fixture
def store(neo4j_empty):
    with Neo4jStore(neo4j_empty, retry_s=120) as store:
        yield store


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
