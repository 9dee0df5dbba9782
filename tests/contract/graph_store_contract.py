"""What every GraphStore has to do; a store's test module inherits the class and makes the store.

The oracle for neighbors and paths is networkx.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import networkx as nx
import polars as pl
import pytest

from graph_etl.errors import DataError, SchemaViolationError, StoreError
from graph_etl.snapshot import TABLES
from graph_etl.store import (
    Entity,
    GraphStore,
    GraphTables,
    Neighbor,
    StoreCounts,
    WriteSummary,
    canonical_tables,
)
from graph_etl.store.read_guard import ALLOWED_PROCEDURES

HOSTILE_NAMES = {
    "backtick": "a`) DETACH DELETE (n) //`",
    "quotes": 'it\'s "quoted" \\\' \\"',
    "cypher": "'}) MATCH (n) DETACH DELETE n //",
    "parameter": "$rows {name: $name}",
    "unicode_escape": "\\u0027}) DETACH DELETE n",
    "control": "\x01\x02\x1b[31m\x7f\t\r\n",
    "ten_kilobytes": "x" * 10_240,
    "emoji": "👩‍👩‍👧 😀",
    "right_to_left": "\u202eעברית العربية",
    "combining": "e\u0301 é \ufeff \uffff",
    "blank": " padded ",
    "empty": "",
    "number": "007",
    "float": "1.0",
    "nan": "NaN",
    "null_word": "null",
    "true_word": "true",
    "date": "2020-01-01",
    "list": "[1, 2]",
}
WRITES = [
    "CREATE (n:book {entity_id: 'x'})",
    "MATCH (n) DETACH DELETE n",
    "MATCH (n) DELETE n",
    "MATCH (n) SET n.name = 'x'",
    "MATCH (n) REMOVE n.name",
    "MERGE (n:book {entity_id: 'x'})",
    "FOREACH (x IN [1] | CREATE (:book))",
    "MATCH (n) RETURN n LIMIT 1; MATCH (m) DETACH DELETE m",
    "CREATE INDEX FOR (n:book) ON (n.name)",
    "DROP INDEX book_name",
    "match (n) detach delete n",
    "MATCH (n)\nSET\nn.name = 'x'",
]
FILES_AND_PROCEDURES = [
    "LOAD CSV FROM 'file:///etc/hostname' AS line RETURN line",
    "load csv with headers from 'file:///etc/hostname' as line return line",
    "// LOAD\nLOAD CSV FROM 'file:///etc/hostname' AS line RETURN line",
    "CALL dbms.procedures()",
    "CALL apoc.load.json('file:///etc/hostname') YIELD value RETURN value",
    "CALL `dbms`.`procedures`()",
    "CALL refresh_stats()",
    "MATCH (n) CALL dbms.procedures() YIELD name RETURN name",
    "SHOW PROCEDURES",
    "USE system MATCH (n) RETURN n",
]


def graph_tables(
    entities: Sequence[tuple[str, str, str]],
    patterns: Sequence[tuple[str, str, str]],
    triples: Sequence[tuple[str, str, str]],
    confidence: float = 1.0,
) -> GraphTables:
    """Frames of a graph from (entity_id, type, name), (head type, relation, tail type) and
    (head id, relation, tail id)."""
    index = {row[0]: i for i, row in enumerate(entities)}
    kind = {row[0]: row[1] for row in entities}
    relation_idx = {pattern: i for i, pattern in enumerate(patterns)}

    def provenance(doc_id: str) -> tuple[str, str, str, float, str]:
        return ("books.csv:column", doc_id, "table", confidence, "run-1")

    return GraphTables(
        entities=pl.DataFrame(
            [(i, *row) for i, row in enumerate(entities)],
            schema=dict(TABLES["entities"]),
            orient="row",
        ),
        relation_types=pl.DataFrame(
            [(i, r, h, t, r.replace("_", " ")) for i, (h, r, t) in enumerate(patterns)],
            schema=dict(TABLES["relation_types"]),
            orient="row",
        ),
        triples=pl.DataFrame(
            [
                (index[h], relation_idx[kind[h], r, kind[t]], index[t], *provenance(h))
                for h, r, t in triples
            ],
            schema=dict(TABLES["triples"]),
            orient="row",
        ),
    )


def library() -> GraphTables:
    """Three books, two people, a subject nothing touches; two patterns share one relation."""
    return graph_tables(
        [
            ("book:1", "book", "Emma"),
            ("book:2", "book", "Persuasion"),
            ("book:3", "book", "Emma, annotated"),
            ("person:austen", "person", "Jane Austen"),
            ("person:ng", "person", "Élodie Ng"),
            ("subject:none", "subject", "Lonely"),
        ],
        [
            ("book", "written_by", "person"),
            ("book", "related_to", "book"),
            ("person", "related_to", "person"),
            ("book", "is_about", "subject"),
        ],
        [
            ("book:1", "written_by", "person:austen"),
            ("book:2", "written_by", "person:austen"),
            ("book:3", "written_by", "person:ng"),
            ("book:3", "related_to", "book:1"),
            ("person:ng", "related_to", "person:austen"),
        ],
    )


def random_graph(seed: int, num_entities: int = 24, num_triples: int = 60) -> GraphTables:
    """A graph with three types, four patterns, parallel edges and self loops."""
    rng = random.Random(seed)
    kinds = ("book", "person", "subject")
    entities = [
        (f"{(kind := rng.choice(kinds))}:{i}", kind, f"Name {i}") for i in range(num_entities)
    ]
    patterns = [
        ("book", "written_by", "person"),
        ("book", "edited_by", "person"),
        ("book", "related_to", "book"),
        ("book", "is_about", "subject"),
    ]
    by_kind = {kind: [row[0] for row in entities if row[1] == kind] for kind in kinds}
    drawn = (rng.choice(patterns) for _ in range(num_triples))
    triples = {(rng.choice(by_kind[h]), r, rng.choice(by_kind[t])) for h, r, t in drawn}
    return graph_tables(entities, patterns, sorted(triples))


def write(store: GraphStore, tables: GraphTables, **options: Any) -> WriteSummary:
    return store.write(tables.entities, tables.relation_types, tables.triples, **options)


def assert_holds(store: GraphStore, tables: GraphTables) -> None:
    """The store's export equals the tables in canonical order, cell by cell."""
    expected = canonical_tables(tables.entities, tables.relation_types, tables.triples)
    found = store.export()
    assert found.entities.equals(expected.entities)
    assert found.relation_types.equals(expected.relation_types)
    assert found.triples.equals(expected.triples)


def as_networkx(tables: GraphTables) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    ids = tables.entities["entity_id"].to_list()
    graph.add_nodes_from(ids)
    relations = tables.relation_types["relation"].to_list()
    for head, relation, tail in tables.triples.select(
        "head_idx", "relation_idx", "tail_idx"
    ).iter_rows():
        graph.add_edge(ids[head], ids[tail], key=relations[relation])
    return graph


class GraphStoreContract:
    """Inherit, and give the fixtures ``store`` (open, empty) and ``reopen``."""

    max_id_bytes: int | None = None  # longer ids are refused

    @pytest.fixture
    def store(self) -> GraphStore:
        """An open, empty store."""
        raise NotImplementedError

    @pytest.fixture
    def reopen(self) -> Callable[[GraphStore], AbstractContextManager[GraphStore]]:
        """Closes the given store and opens what it kept, for reading."""
        raise NotImplementedError

    # --- an empty graph

    def test_empty_graph_answers(self, store):
        assert store.counts() == StoreCounts({}, {})
        assert store.find("anything") == []
        assert store.query("MATCH (n) RETURN n").rows == ()
        assert_holds(store, graph_tables([], [], []))

    def test_empty_graph_write_of_nothing_changes_nothing(self, store):
        assert write(store, graph_tables([], [], [])).writes == 0

    def test_empty_graph_clear_does_nothing(self, store):
        store.clear()
        assert store.counts().num_entities == 0

    # --- writing

    def test_write_reports_what_it_created(self, store):
        summary = write(store, library())
        assert summary == WriteSummary(
            nodes_created=6, relationships_created=5, relation_types_changed=4
        )
        assert store.counts() == StoreCounts(
            {"book": 3, "person": 2, "subject": 1},
            {"is_about": 0, "related_to": 2, "written_by": 3},
        )

    def test_write_again_changes_nothing(self, store):
        write(store, library())
        for delete_missing in (False, True):
            summary = write(store, library(), delete_missing=delete_missing)
            assert summary == WriteSummary(unchanged=11)
            assert summary.writes == 0
        assert_holds(store, library())

    def test_write_in_another_row_order_changes_nothing(self, store):
        write(store, library())
        tables = library()
        order = [5, 3, 1, 0, 2, 4]
        shuffled = tables.entities[order].with_columns(entity_idx=pl.int_range(6, dtype=pl.Int64))
        place = pl.Series([order.index(i) for i in range(6)], dtype=pl.Int64)
        triples = tables.triples.with_columns(
            head_idx=place.gather(tables.triples["head_idx"]),
            tail_idx=place.gather(tables.triples["tail_idx"]),
        ).reverse()
        assert store.write(shuffled, tables.relation_types, triples).writes == 0

    def test_write_updates_what_differs(self, store):
        write(store, library())
        tables = library()
        renamed = tables.entities.with_columns(name=pl.col("name").str.replace("^Emma$", "Émma"))
        surer = tables.triples.with_columns(
            confidence=pl.when(pl.col("tail_idx") == 3).then(0.5).otherwise(1).cast(pl.Float32)
        )
        summary = store.write(renamed, tables.relation_types, surer)
        assert (summary.nodes_updated, summary.relationships_updated) == (1, 3)
        assert summary.writes == 4
        assert_holds(store, GraphTables(renamed, tables.relation_types, surer))

    def test_write_without_delete_missing_keeps_what_it_was_not_given(self, store):
        write(store, library())
        more = graph_tables(
            [("book:9", "book", "Nine"), ("person:austen", "person", "Jane Austen")],
            [("book", "written_by", "person")],
            [("book:9", "written_by", "person:austen")],
        )
        summary = write(store, more)
        assert (summary.nodes_created, summary.relationships_created) == (1, 1)
        assert summary.nodes_deleted == summary.relationships_deleted == 0
        assert store.counts().num_entities == 7
        assert store.counts().num_triples == 6

    def test_write_with_delete_missing_mirrors(self, store):
        write(store, library())
        less = graph_tables(
            [("book:1", "book", "Emma"), ("person:austen", "person", "Jane Austen")],
            [("book", "written_by", "person")],
            [("book:1", "written_by", "person:austen")],
        )
        summary = write(store, less, delete_missing=True)
        assert (summary.nodes_deleted, summary.relationships_deleted) == (4, 4)
        assert_holds(store, less)

    def test_write_moves_an_entity_to_another_type(self, store):
        write(store, library())
        moved = graph_tables(
            [("book:1", "novel", "Emma"), ("person:austen", "person", "Jane Austen")],
            [("novel", "written_by", "person")],
            [("book:1", "written_by", "person:austen")],
        )
        write(store, moved, delete_missing=True)
        assert_holds(store, moved)

    def test_write_refuses_another_type_without_delete_missing(self, store):
        write(store, library())
        moved = graph_tables([("book:1", "novel", "Emma")], [], [])
        with pytest.raises(DataError, match="'book:1' to keep its type 'book', got 'novel'"):
            write(store, moved)
        assert_holds(store, library())

    def test_write_keeps_the_surest_of_equal_triples_and_counts_the_others(self, store):
        tables = library()
        twice = pl.concat(
            [
                tables.triples,
                tables.triples.head(2).with_columns(
                    confidence=pl.lit(0.25, dtype=pl.Float32), source=pl.lit("weaker")
                ),
            ]
        )
        summary = store.write(tables.entities, tables.relation_types, twice)
        assert summary.duplicates == 2
        assert summary.relationships_created == 5
        assert_holds(store, tables)

    def test_write_of_relation_types_keeps_their_order_and_phrases(self, store):
        tables = library()
        write(store, tables)
        types = tables.relation_types.reverse().with_columns(
            relation_idx=pl.int_range(4, dtype=pl.Int32), phrase=pl.lit("`'\"")
        )
        triples = tables.triples.with_columns(relation_idx=3 - pl.col("relation_idx"))
        summary = store.write(tables.entities, types, triples, delete_missing=True)
        assert (summary.relation_types_changed, summary.writes) == (4, 4)
        assert_holds(store, GraphTables(tables.entities, types, triples))

    @pytest.mark.parametrize("seed", range(3))
    def test_write_of_any_change_equals_a_fresh_build(self, store, seed):
        for step in (seed, seed + 10, seed + 20):
            write(store, random_graph(step), delete_missing=True)
            assert_holds(store, random_graph(step))

    @pytest.mark.parametrize("known", ["right", "wrong", "none"])
    def test_write_is_the_same_whatever_is_known(self, store, known):
        write(store, random_graph(0), delete_missing=True)
        told = {"right": random_graph(0), "wrong": random_graph(2), "none": None}[known]
        write(store, random_graph(1), delete_missing=True, known=told)
        assert_holds(store, random_graph(1))
        assert write(store, random_graph(1), delete_missing=True, compare=True).writes == 0

    def test_write_keeps_null_provenance(self, store):
        tables = library()
        triples = tables.triples.with_columns(
            source=pl.lit(None, dtype=pl.String), confidence=pl.lit(None, dtype=pl.Float32)
        )
        bare = GraphTables(tables.entities, tables.relation_types, triples)
        write(store, tables)
        write(store, bare)
        assert_holds(store, bare)
        assert write(store, bare).writes == 0

    def test_clear_leaves_nothing_and_the_store_usable(self, store):
        write(store, library())
        store.clear()
        assert store.counts() == StoreCounts({}, {})
        assert write(store, library()).nodes_created == 6

    # --- hostile data

    @pytest.mark.parametrize("kind", HOSTILE_NAMES)
    def test_hostile_text_is_kept_verbatim(self, store, reopen, kind):
        text = HOSTILE_NAMES[kind]
        book = text[: self.max_id_bytes] or "id"  # the long one is all ASCII
        tables = graph_tables(
            [(book, "book", text), ("person:1", "person", text)],
            [("book", "written_by", "person")],
            [(book, "written_by", "person:1")],
        )
        triples = tables.triples.with_columns(
            source=pl.lit(text), doc_id=pl.lit(text), run_id=pl.lit(text)
        )
        hostile = GraphTables(tables.entities, tables.relation_types, triples)
        write(store, hostile)
        assert write(store, hostile).writes == 0
        assert store.neighbors(book)[0].entity.name == text
        found = store.query("MATCH (n:book {name: $name}) RETURN n.name AS name", {"name": text})
        assert found.rows == ({"name": text},)
        with reopen(store) as kept:
            assert_holds(kept, hostile)

    @pytest.mark.parametrize("column", ["entity_id", "name"])
    def test_nul_in_an_entity_is_refused_with_its_row(self, store, column):
        tables = library()
        rows = pl.int_range(pl.len())
        bad = tables.entities.with_columns(
            pl.when(rows == 4).then(pl.lit("a\0b")).otherwise(pl.col(column)).alias(column)
        )
        with pytest.raises(DataError, match=rf"NUL.*'{column}' of entities, got row 4"):
            store.write(bad, tables.relation_types, tables.triples)
        assert store.counts().num_entities == 0

    def test_nul_in_provenance_is_refused_with_its_row(self, store):
        tables = library()
        bad = tables.triples.with_columns(
            doc_id=pl.when(pl.col("head_idx") == 4).then(pl.lit("\0")).otherwise("doc_id")
        )
        with pytest.raises(DataError, match=r"NUL.*'doc_id' of triples, got row 4"):
            store.write(tables.entities, tables.relation_types, bad)

    def test_repeated_entity_id_is_refused_with_its_row(self, store):
        tables = graph_tables(
            [("a", "book", "A"), ("b", "book", "B"), ("b", "person", "B")], [], []
        )
        with pytest.raises(DataError, match=r"each entity_id once in entities, got row 1.*'b'"):
            write(store, tables)

    @pytest.mark.parametrize("column", ["entity_id", "name"])
    def test_missing_text_is_refused_with_its_row(self, store, column):
        tables = library()
        bad = tables.entities.with_columns(
            pl.when(pl.col("entity_idx") == 2).then(None).otherwise(pl.col(column)).alias(column)
        )
        with pytest.raises(DataError, match=rf"a text in column '{column}' of entities, got row 2"):
            store.write(bad, tables.relation_types, tables.triples)

    @pytest.mark.parametrize("column", ["head_idx", "relation_idx", "tail_idx"])
    def test_index_outside_is_refused_with_its_row(self, store, column):
        tables = library()
        bad = tables.triples.with_columns(
            pl.when(pl.int_range(pl.len()) == 3)
            .then(99)
            .otherwise(pl.col(column))
            .cast(TABLES["triples"][column])
            .alias(column)
        )
        with pytest.raises(DataError, match=rf"'{column}' of triples in 0\.\.\d+, got row 3"):
            store.write(tables.entities, tables.relation_types, bad)

    # --- labels

    @pytest.mark.parametrize(
        "label", ["bo`ok", "book) DETACH DELETE (n", "", "__Entity__", "1st", "a b", "böok"]
    )
    def test_label_that_no_schema_may_declare_is_refused(self, store, label):
        tables = graph_tables([("a", label, "A")], [], [])
        with pytest.raises((SchemaViolationError, DataError), match=r"Expected a (label|text)"):
            write(store, tables)
        patterned = graph_tables([], [("book", label, "book")], [])
        with pytest.raises(SchemaViolationError, match="Expected a label or relationship type"):
            write(store, patterned)

    def test_undeclared_entity_type_is_refused(self, store):
        with pytest.raises(SchemaViolationError, match=r"got 'subject'.*declared are"):
            write(store, library(), entity_types=["book", "person"])
        assert store.counts().num_entities == 0

    def test_undeclared_pattern_is_refused_with_its_row(self, store):
        tables = library()
        bad = tables.triples.with_columns(tail_idx=pl.lit(5, dtype=pl.Int64))
        with pytest.raises(SchemaViolationError, match=r"\(book, written_by, subject\) in row 0"):
            store.write(tables.entities, tables.relation_types, bad)

    def test_every_name_a_schema_may_declare_is_accepted(self, store):
        tables = graph_tables(
            [("a", "film.film", "A"), ("b", "made-by/Co_1", "B"), ("c", "Film", "C")],
            [("film.film", "film.film.actor", "made-by/Co_1"), ("Film", "Set", "film.film")],
            [("a", "film.film.actor", "b"), ("c", "Set", "a")],
        )
        write(store, tables)
        assert_holds(store, tables)
        assert [n.relation for n in store.neighbors("a")] == ["film.film.actor", "Set"]

    # --- reading

    def test_persistence_over_reopen(self, store, reopen):
        write(store, library())
        with reopen(store) as kept:
            assert_holds(kept, library())
            assert kept.counts().num_triples == 5

    def test_reopened_for_reading_refuses_writes(self, store, reopen):
        write(store, library())
        with reopen(store) as kept:
            with pytest.raises(StoreError, match="opened with read_only=True"):
                kept.clear()
            with pytest.raises(StoreError, match="opened with read_only=True"):
                write(kept, random_graph(0))
            assert_holds(kept, library())

    def test_closed_store_says_so(self, store):
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.counts()
        store.close()

    @pytest.mark.parametrize("seed", range(3))
    def test_export_round_trip(self, store, seed):
        tables = random_graph(seed)
        write(store, tables)
        found = store.export()
        assert found.entities["entity_id"].is_sorted()
        assert found.triples.sort("head_idx", "relation_idx", "tail_idx").equals(found.triples)
        for name in ("entities", "relation_types", "triples"):
            assert dict(getattr(found, name).schema) == dict(TABLES[name])
        assert_holds(store, tables)
        assert write(store, found, delete_missing=True).writes == 0

    @pytest.mark.parametrize("seed", range(3))
    def test_neighbors_equal_networkx(self, store, seed):
        tables = random_graph(seed)
        write(store, tables)
        graph = as_networkx(tables)
        names = dict(tables.entities.select("entity_id", "name").iter_rows())
        for entity_id in graph:
            found = store.neighbors(entity_id)
            outgoing = sorted((r, t) for _, t, r in graph.out_edges(entity_id, keys=True))
            incoming = sorted((r, h) for h, _, r in graph.in_edges(entity_id, keys=True))
            assert [(n.relation, n.entity.entity_id) for n in found] == outgoing + incoming
            assert [n.outgoing for n in found] == [True] * len(outgoing) + [False] * len(incoming)
            assert all(n.entity.name == names[n.entity.entity_id] for n in found)
            assert store.neighbors(entity_id, limit=2) == found[:2]

    @pytest.mark.parametrize("seed", range(2))
    def test_paths_equal_networkx(self, store, seed):
        tables = random_graph(seed, num_entities=14, num_triples=24)
        write(store, tables)
        directed = as_networkx(tables)
        graph = nx.MultiGraph()
        graph.add_nodes_from(directed)
        for head, tail, relation in directed.edges(keys=True):
            if head != tail:
                graph.add_edge(head, tail, key=(relation, head))
        for start in graph:
            for end in graph:
                found = store.paths(start, end, 3, limit=10_000)
                steps = [
                    tuple(
                        (before.entity_id, step.relation, step.outgoing, after.entity_id)
                        for before, step, after in zip(
                            path.entities, path.steps, path.entities[1:], strict=False
                        )
                    )
                    for path in found
                ]
                expected = set()
                if start != end:
                    expected = {
                        tuple((a, r, head == a, b) for a, b, (r, head) in path)
                        for path in nx.all_simple_edge_paths(graph, start, end, cutoff=3)
                    }
                assert set(steps) == expected
                assert len(steps) == len(expected)
                assert [path.length for path in found] == sorted(path.length for path in found)
                assert store.paths(start, end, 3, limit=3) == found[:3]

    def test_find_ignores_case_and_puts_whole_names_first(self, store):
        write(store, library())
        assert [entity.name for entity in store.find("EMMA")] == ["Emma", "Emma, annotated"]
        assert [entity.name for entity in store.find("EMMA", limit=1)] == ["Emma"]
        assert store.find("élodie") == [Entity("person:ng", "person", "Élodie Ng")]
        assert store.find("' OR 1=1 //") == []

    def test_entity_by_id(self, store):
        write(store, library())
        assert store.entity("book:2") == Entity("book:2", "book", "Persuasion")

    @pytest.mark.parametrize(
        "ask",
        [
            lambda store: store.entity("book:77"),
            lambda store: store.neighbors("book:77"),
            lambda store: store.paths("book:1", "book:77"),
            lambda store: store.paths("book:77", "book:1"),
        ],
    )
    def test_unknown_entity_is_an_error(self, store, ask):
        write(store, library())
        with pytest.raises(StoreError, match="an entity_id of the graph, got 'book:77'"):
            ask(store)

    @pytest.mark.parametrize("max_length", [0, 7])
    def test_path_length_out_of_range_is_an_error(self, store, max_length):
        write(store, library())
        with pytest.raises(StoreError, match=rf"max_length in 1\.\.6, got {max_length}"):
            store.paths("book:1", "book:2", max_length)

    def test_neighbor_of_both_directions(self, store):
        write(store, library())
        assert store.neighbors("book:1") == [
            Neighbor("written_by", True, Entity("person:austen", "person", "Jane Austen")),
            Neighbor("related_to", False, Entity("book:3", "book", "Emma, annotated")),
        ]

    # --- queries

    def test_query_takes_values_as_parameters(self, store):
        write(store, library())
        found = store.query(
            "MATCH (b:book)-[:written_by]->(p:person {name: $name}) RETURN b.name AS b ORDER BY b",
            {"name": "Jane Austen"},
        )
        assert found.columns == ("b",)
        assert found.rows == ({"b": "Emma"}, {"b": "Persuasion"})
        assert not found.truncated

    def test_query_returns_nodes_relationships_and_paths_as_plain_values(self, store):
        write(store, library())
        row = store.query(
            "MATCH p = (b:book {entity_id: 'book:3'})-[r:written_by]->(a) RETURN b, r, p, [b] AS l"
        ).rows[0]
        assert sorted(row["b"]["labels"]) == ["__Entity__", "book"]
        assert row["b"]["properties"] == {"entity_id": "book:3", "name": "Emma, annotated"}
        assert row["r"]["type"] == "written_by"
        assert row["r"]["properties"]["doc_id"] == "book:3"
        assert [n["properties"]["entity_id"] for n in row["p"]["nodes"]] == ["book:3", "person:ng"]
        assert row["p"]["relationships"] == [row["r"]]
        assert row["l"] == [row["b"]]

    def test_query_row_cap(self, store):
        write(store, library())
        found = store.query("MATCH (n:book) RETURN n.name AS name ORDER BY name", max_rows=2)
        assert [row["name"] for row in found.rows] == ["Emma", "Emma, annotated"]
        assert found.truncated
        assert not store.query("MATCH (n:book) RETURN n.name AS name", max_rows=3).truncated

    def test_query_timeout(self, store):
        write(store, random_graph(0, num_entities=300, num_triples=10))
        with pytest.raises(StoreError, match="within its time limit"):
            store.query(
                "MATCH (a:__Entity__), (b:__Entity__), (c:__Entity__), (d:__Entity__) "
                "WHERE a.name < b.name AND b.name < c.name AND c.name < d.name "
                "RETURN count(*)",
                timeout_s=0.1,
            )
        assert store.query("RETURN 1 AS one").rows == ({"one": 1},)

    @pytest.mark.parametrize(("timeout_s", "max_rows"), [(0, 1), (-1, 1), (1, 0)])
    def test_query_limits_must_be_positive(self, store, timeout_s, max_rows):
        with pytest.raises(StoreError, match="Expected timeout_s above 0"):
            store.query("RETURN 1", timeout_s=timeout_s, max_rows=max_rows)

    @pytest.mark.parametrize("cypher", WRITES + FILES_AND_PROCEDURES)
    def test_query_that_is_not_read_only_is_refused(self, store, cypher):
        write(store, library())
        with pytest.raises(StoreError, match="Expected"):
            store.query(cypher)
        assert_holds(store, library())

    @pytest.mark.parametrize("cypher", WRITES)
    def test_query_that_writes_is_refused_by_the_engine_too(self, store, cypher, monkeypatch):
        write(store, library())
        monkeypatch.setattr("graph_etl.store.cypher_store.checked_read_only", lambda text: text)
        with pytest.raises(StoreError):
            store.query(cypher)
        assert_holds(store, library())

    def test_query_may_name_things_like_clauses(self, store):
        write(store, library())
        found = store.query(
            "MATCH (b:book) WHERE b.name <> 'DELETE; LOAD CSV' AND b.set IS NULL "
            "RETURN b.name AS `create`, $merge AS m, {load: 1} AS l // DROP\n LIMIT 1;",
            {"merge": "x"},
        )
        assert found.rows[0]["m"] == "x"

    def test_query_may_use_subqueries_and_allowed_procedures(self, store):
        write(store, library())
        labels = store.query("CALL db.labels() YIELD label RETURN label")
        assert {"book", "person"} <= {row["label"] for row in labels.rows}
        assert "db.labels" in ALLOWED_PROCEDURES
        rows = store.query(
            "MATCH (p:person) CALL (p) { MATCH (p)<-[:written_by]-(b) RETURN count(b) AS n } "
            "RETURN p.name AS name, n ORDER BY name"
        ).rows
        assert rows == ({"name": "Jane Austen", "n": 2}, {"name": "Élodie Ng", "n": 1})

    @pytest.mark.parametrize("cypher", ["MATCH (n", "MATCH (n:book) RETUR n", "RETURN $missing"])
    def test_query_that_is_wrong_is_an_error(self, store, cypher):
        with pytest.raises(StoreError):
            store.query(cypher)
