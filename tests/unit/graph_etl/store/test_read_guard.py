"""The text guard in front of read queries, case by case and against random texts."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_etl.errors import StoreError
from graph_etl.store.read_guard import ALLOWED_PROCEDURES, checked_read_only


@pytest.mark.parametrize(
    "cypher",
    [
        "MATCH (n) RETURN n",
        "MATCH (n) RETURN n;",
        "  \n MATCH (n)\r\nRETURN n ",
        "MATCH (n) WHERE n.name = 'SET; DELETE' RETURN n",
        'MATCH (n) WHERE n.name = "it\'s CREATE" RETURN n',
        "MATCH (n) WHERE n.name = 'a\\'b; MERGE' RETURN n",
        "MATCH (n) RETURN n.set, n.create, n.`delete`",
        "MATCH (n:Load)-[:USE]->(m) RETURN $drop",
        "MATCH (n) RETURN n /* DELETE n */",
        "MATCH (n) // SET n.x = 1\nRETURN n",
        "MATCH (n) RETURN {merge: n.x, `load csv`: 1} AS `create`",
        "MATCH (n) RETURN collect(n)[0].load",
        "MATCH (start)-[r]->(end) RETURN start, end, offset",
        "CALL db.labels() YIELD label RETURN label",
        "CALL DB.LABELS()",
        "MATCH (n) CALL { WITH n MATCH (n)--(m) RETURN m } RETURN m",
        "MATCH (n) CALL (n) { MATCH (n)--(m) RETURN m } RETURN m",
        "MATCH (n) WHERE n.x > 1.5e3 AND n.y % 2 = 0 RETURN -n.x ^ 2 / 3",
        "MATCH (ñ:книга) RETURN ñ.имя",
    ],
)
def test_read_query_passes(cypher):
    assert checked_read_only(cypher).split() == cypher.split()


@pytest.mark.parametrize(
    ("cypher", "reason"),
    [
        ("", "empty text"),
        (" \n ", "empty text"),
        ("x" * 100_001, "at most 100000 characters"),
        ("MATCH (n) DELETE n", "the word DELETE"),
        ("MATCH (n) sEt n.x = 1", "the word SET"),
        ("MATCH (n)SET n.x = 1", "the word SET"),
        ("LOAD\nCSV FROM 'x' AS l RETURN l", "the word LOAD"),
        ("LOAD/* */CSV FROM 'x' AS l RETURN l", "the word LOAD"),
        ("WITH 1.LOAD CSV FROM 'x' AS l RETURN l", "the word LOAD"),
        ("WITH 1 . LOAD CSV FROM 'x' AS l RETURN l", "the word LOAD"),
        ("WITH [1..LOAD] AS x RETURN x", "the word LOAD"),
        ("RETURN 'a' 'b'; MATCH (n) RETURN n", "several joined by ';'"),
        ("RETURN 1; ; RETURN 2", "several joined by ';'"),
        ("RETURN '\\u0027 LOAD CSV'", "unicode escapes"),
        ("L\\u004fAD CSV FROM 'x' AS l", "unicode escapes"),
        ("RETURN 1 // x\rLOAD CSV", "newlines as the only line separators"),
        ("RETURN 1 // x\u2028LOAD CSV", "newlines as the only line separators"),
        ("RETURN 1 // x\x85LOAD CSV", "newlines as the only line separators"),
        ("RETURN '\0'", "newlines as the only line separators"),
        ("RETURN 'open", "unclosed string or comment"),
        ("RETURN `open", "unclosed string or comment"),
        ("RETURN 1 /* open", "unclosed string or comment"),
        ("RETURN 1 /* /* ' */ */ LOAD CSV FROM 'x'", "unclosed string or comment"),
        ("RETURN 1 – 2", "a character that has no place"),
        ("RETURN \\ 1", "a character that has no place"),
        ("CALL apoc.load.json('x')", "CALL of one of .* got 'apoc.load.json'"),
        ("CALL db.labels.more()", "got 'db.labels.more'"),
        ("CALL db . cdc . enable()", "got 'db.cdc.enable'"),
        ("CALL `db`.`labels`()", "got 'no plain name'"),
        ("CALL", "got 'no plain name'"),
        ("MATCH (n) CALL { CREATE (m) } RETURN n", "the word CREATE"),
        ("EXPLAIN MATCH (n) RETURN n", "the word EXPLAIN"),
        ("MATCH (n) RETURN n FORMAT CSV", "the word FORMAT"),
        ("SHOW SETTINGS", "the word SHOW"),
        ("USE system MATCH (n) RETURN n", "the word USE"),
    ],
)
def test_other_query_is_refused_with_the_reason(cypher, reason):
    with pytest.raises(StoreError, match=reason):
        checked_read_only(cypher)


def test_allowed_procedures_are_lower_case_names():
    assert all(re.fullmatch(r"[a-z.]+", name) for name in ALLOWED_PROCEDURES)


PIECES = ["'", '"', "`", "\\", "/*", "*/", "//", "\n", ";", ".", ":", "$", "a", "1", " ", "{", "}"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_clause_after_any_complete_text_is_refused(pieces):
    """Whatever stands before: where it is complete by itself, a clause behind it is seen."""
    before = "RETURN 1 " + "".join(pieces)
    try:
        checked_read_only(before)
    except StoreError:
        return
    with pytest.raises(StoreError):
        checked_read_only(before + "\n(LOAD CSV")
