"""The Cypher texts: whitelisted names in backticks, values as parameters only."""

import inspect

import pytest

from graph_etl.errors import SchemaViolationError
from graph_etl.store import cypher_queries as queries

HOSTILE = "x`) DETACH DELETE (n) //"
PATTERN = ("book", "written_by", "person")


@pytest.mark.parametrize(
    "statement",
    [
        queries.merge_entities("book", [{"entity_id": HOSTILE, "name": HOSTILE}]),
        queries.delete_entities("book", [{"entity_id": HOSTILE}]),
        queries.merge_relationships(PATTERN, [{"head_id": HOSTILE, "tail_id": HOSTILE}]),
        queries.delete_relationships(PATTERN, [{"head_id": HOSTILE, "tail_id": HOSTILE}]),
        queries.merge_relation_types([{"key": HOSTILE}]),
        queries.delete_relation_types([{"key": HOSTILE}]),
        queries.entities_by_id([HOSTILE]),
        queries.entities_by_name(HOSTILE, 3),
        queries.neighbors(HOSTILE, outgoing=True, limit=3),
        queries.paths(HOSTILE, HOSTILE, 3, 5),
    ],
    ids=lambda statement: statement.query[:30],
)
def test_values_stand_in_parameters_only(statement):
    assert HOSTILE not in statement.query
    assert HOSTILE in str(statement.parameters)
    for name in statement.parameters:
        assert f"${name}" in statement.query


@pytest.mark.parametrize(
    "build",
    [
        lambda name: queries.unique_entity_ids(name),
        lambda name: queries.merge_entities(name, []),
        lambda name: queries.delete_entities(name, []),
        lambda name: queries.merge_relationships((name, "r", "b"), []),
        lambda name: queries.merge_relationships(("a", name, "b"), []),
        lambda name: queries.delete_relationships(("a", "r", name), []),
        lambda name: queries.all_relationships(("a", name, "b")),
    ],
)
@pytest.mark.parametrize("name", [HOSTILE, "a b", "", "__Entity__", "a\u0060b", "a\\u0060b", "1a"])
def test_names_that_no_schema_may_declare_are_refused(build, name):
    with pytest.raises(SchemaViolationError, match="Expected a label or relationship type"):
        build(name)


def test_names_stand_in_backticks():
    query = queries.merge_relationships(PATTERN, []).query
    for name in PATTERN:
        assert f":`{name}`" in query


def test_static_query_for_each_label_whatever_the_rows():
    one = queries.merge_entities("book", [{"entity_id": "1", "name": "a"}])
    two = queries.merge_entities("book", [{"entity_id": "2", "name": "b"}] * 3)
    assert one.query == two.query


@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_paths_has_one_pattern_part_for_each_relationship(length):
    statement = queries.paths("a", "b", length, 10)
    assert statement.query.count("-[r") == length
    assert statement.query.count("<>") == (length + 1) * length // 2


def test_every_public_function_is_pure():
    functions = [
        one
        for name, one in inspect.getmembers(queries, inspect.isfunction)
        if one.__module__ == queries.__name__ and not name.startswith("_")
    ]
    assert len(functions) > 15
    for one in functions:
        assert inspect.signature(one).return_annotation in {
            "Statement",
            "str",
            "tuple[Statement, Statement]",
        }
