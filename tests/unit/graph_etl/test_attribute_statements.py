import polars as pl
import pytest

from graph_etl.attributes import Subjects, statements_of
from graph_etl.audit import TableAudit
from graph_etl.dataset_config import AttributeConfig
from graph_etl.entities import graph_tables
from graph_etl.errors import DataError
from graph_etl.graph_schema import RelationType, schema_of
from graph_etl.tables import SourceTable

MISSING = ["n/a", "\\N"]


def statements(frame, *, kinds=None, missing=MISSING, **attribute):
    """Statements of rows that are items 0, 1, 2, ..., and their audit."""
    fields = {"column": "c", "relation": "has", "entity_type": "tag"} | attribute
    audit = TableAudit()
    ids = [str(i) for i in range(frame.height)]
    rows = pl.DataFrame(
        {"row": range(frame.height), "item_id": ids, "doc_id": ids},
        schema={"row": pl.Int64, "item_id": pl.String, "doc_id": pl.String},
    ).with_columns(confidence=pl.lit(1.0, pl.Float32))
    found = statements_of(
        SourceTable("t.csv", frame, kinds or {}),
        AttributeConfig.model_validate(fields),
        Subjects(rows, "film", pl.Series(ids)),
        missing,
        "run",
        audit,
    )
    assert audit.rows_in == found.height + sum(audit.dropped.values())
    return found, audit


def pairs(found):
    return found.select("head_id", "tail_id", "tail_name").rows()


@pytest.mark.parametrize(
    ("column", "options"),
    [
        (["a|b", "c", "", None], {"separator": "|"}),
        (["a, b", " c ", " ", None], {"separator": ", "}),
        ([["a", "b"], ["c"], [], None], {}),
        ([[["a"], ["b"]], [["c"]], [[]], None], {}),
        (["a b", "c", None, ""], {"kinds": {"c": "token_seq"}}),
        ([[{"id": 1, "n": "a"}, {"id": 2, "n": "b"}], [{"id": 3, "n": "c"}], [], None],
         {"field": "n"}),
    ],
)  # fmt: skip
def test_lists_of_every_form_give_one_statement_a_value(column, options):
    found, _ = statements(pl.DataFrame({"c": column}), **options)
    assert pairs(found) == [
        ("film:0", "tag:a", "a"),
        ("film:0", "tag:b", "b"),
        ("film:1", "tag:c", "c"),
    ]


def test_empty_and_missing_values_are_dropped_with_a_count():
    frame = pl.DataFrame({"c": ["x", "", "  ", "N/A", " n/a ", "\\N", "nan"]})
    found, audit = statements(frame)
    assert [row[2] for row in pairs(found)] == ["x", "nan"]
    assert audit.dropped == {"empty": 2, "missing-value word": 3}


def test_values_are_stripped_and_filtered_by_expressions():
    frame = pl.DataFrame({"c": ["Ann Bo (story), Cy", "(screenplay), Ann Bo.", "too long a name"]})
    found, audit = statements(
        frame, separator=", ", strip=[r"\s*\([^)]*\)$"], drop=[r"\.$", ".{9}"]
    )
    assert [row[2] for row in pairs(found)] == ["Ann Bo", "Cy"]
    assert audit.dropped == {"empty": 1, "matches \\.$": 1, "matches .{9}": 1}


def test_numbers_are_values_too():
    assert [row[2] for row in pairs(statements(pl.DataFrame({"c": [7.0, 8.0]}))[0])] == ["7", "8"]


def test_several_columns_feed_one_relation_and_are_told_apart():
    found, _ = statements(pl.DataFrame({"a": ["x"], "b": ["y"]}), column=["a", "b"])
    assert found["source"].to_list() == ["t.csv:a", "t.csv:b"]
    assert found["run_id"].unique().to_list() == ["run"]


def test_references_lead_to_items_that_exist():
    frame = pl.DataFrame({"c": ["1,9", "0", "2"]})
    found, audit = statements(frame, entity_type=None, references="items", separator=",")
    assert pairs(found) == [("film:0", "film:1", "1"), ("film:1", "film:0", "0")]
    assert audit.dropped == {"unknown item": 1, "item names itself": 1}


def test_records_need_a_field_that_they_have():
    frame = pl.DataFrame({"c": [[{"id": 1, "name": "a"}]]})
    with pytest.raises(DataError, match=r"'field' to be one of id, name for column 'c' of t\.csv"):
        statements(frame)


def graph(*frames, names=None):
    relations = [RelationType(relation="has", head="film", tail="tag", phrase="has")]
    ids = sorted({head for frame in frames for head in frame["head_id"]})
    items = pl.DataFrame({"entity_id": ids}).with_columns(
        entity_type=pl.lit("film"), title=pl.col("entity_id").str.replace("film:", "Film ")
    )
    none = pl.DataFrame(schema=dict.fromkeys(("entity_id", "entity_type", "name"), pl.String))
    audit = TableAudit()
    tables = graph_tables(
        items, pl.concat(frames), none if names is None else names, schema_of(relations, "film"),
        audit,
    )  # fmt: skip
    assert audit.rows_in == audit.rows_kept + sum(audit.dropped.values())
    return tables, audit


def test_spellings_are_one_entity_named_by_the_most_frequent():
    spellings = ["al  pacino", "Al Pacino", "AL PACINO", "Al Pacino", "Ａl Pacino", "Al Pacino Jr"]
    found, _ = statements(pl.DataFrame({"c": spellings}))
    tables, _ = graph(found)
    tags = tables.entities.filter(entity_type="tag")
    assert tags.select("entity_id", "name").rows() == [
        ("tag:al pacino", "Al Pacino"),
        ("tag:al pacino jr", "Al Pacino Jr"),
    ]
    assert tables.triples.height == 6


def test_equal_frequency_is_decided_by_the_alphabet_not_by_the_order_of_rows():
    one, _ = statements(pl.DataFrame({"c": ["jazz", "Jazz", "b"]}))
    two, _ = statements(pl.DataFrame({"c": ["Jazz", "jazz", "b"]}))
    first, second = graph(one)[0], graph(two)[0]
    assert first.entities.equals(second.entities)
    assert first.entities["name"].to_list() == ["Film 0", "Film 1", "Film 2", "b", "Jazz"]


def test_duplicate_triples_are_kept_once_with_the_surest_source():
    weak, _ = statements(pl.DataFrame({"c": ["x"]}))
    weak = weak.with_columns(confidence=pl.lit(0.5, pl.Float32), source=pl.lit("weak"))
    strong, _ = statements(pl.DataFrame({"c": ["X"]}))
    tables, audit = graph(weak, strong, strong)
    assert tables.triples["source"].to_list() == ["t.csv:c"]
    assert audit.dropped == {"duplicate triple": 2}


def test_a_type_keeps_equal_names_apart():
    one, _ = statements(pl.DataFrame({"c": ["Paris"]}))
    other = one.with_columns(tail_id=pl.lit("film:paris"), tail_type=pl.lit("film"))
    relations = [
        RelationType(relation="has", head="film", tail=tail, phrase="has")
        for tail in ("tag", "film")
    ]
    items = pl.DataFrame({"entity_id": ["film:0"], "entity_type": ["film"], "title": ["Heat"]})
    none = pl.DataFrame(schema=dict.fromkeys(("entity_id", "entity_type", "name"), pl.String))
    tables = graph_tables(
        items, pl.concat([one, other]), none, schema_of(relations, "film"), TableAudit()
    )
    assert tables.entities["entity_id"].to_list() == ["film:0", "film:paris", "tag:paris"]
    assert tables.triples.select("relation_idx", "tail_idx").rows() == [(0, 2), (1, 1)]
