import polars as pl
import pytest

from graph_etl.errors import ConfigError, SchemaViolationError
from graph_etl.graph_schema import (
    GraphSchema,
    RelationType,
    load_graph_schema,
    schema_of,
    words_of,
)

WRITTEN = RelationType(relation="written_by", head="book", tail="person", phrase="was written by")
PUBLISHED = RelationType(
    relation="published_by", head="book", tail="firm", phrase="came out at", max_tails_per_head=1
)
COLUMNS = ["head_id", "head_type", "relation", "tail_id", "tail_type"]


def triples(*rows):
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def test_whitelisted_triples_pass_and_others_are_named():
    schema = schema_of([WRITTEN, PUBLISHED], "book")
    good = ("b1", "book", "written_by", "p1", "person")
    schema.check_triples(triples(good), "here")
    schema.check_triples(triples(), "here")
    for bad in [
        ("b1", "book", "written_by", "f1", "firm"),
        ("p1", "person", "written_by", "b1", "book"),
        ("b1", "book", "read_by", "p1", "person"),
    ]:
        with pytest.raises(SchemaViolationError, match=f"got .{bad[1]}, {bad[2]}, {bad[4]}. for "
                           f"{bad[0]} -> {bad[3]} in here, 1 such"):  # fmt: skip
            schema.check_triples(triples(good, bad), "here")


def test_a_head_has_at_most_so_many_tails():
    schema = schema_of([WRITTEN, PUBLISHED], "book")
    one, two = (("b1", "book", "published_by", f, "firm") for f in ("f1", "f2"))
    schema.check_triples(triples(one, one), "here")
    with pytest.raises(SchemaViolationError, match="at most 1 'published_by' for each book, got 2 "
                                                   "for b1 in here"):  # fmt: skip
        schema.check_triples(triples(one, two), "here")


def test_a_derived_schema_names_the_types_in_order():
    schema = schema_of([WRITTEN, PUBLISHED], "book")
    assert [entity.name for entity in schema.entity_types] == ["book", "person", "firm"]
    assert [entity.name for entity in schema_of([], "book").entity_types] == ["book"]


def test_an_inconsistent_schema_is_refused():
    book = {"name": "book"}
    with pytest.raises(ValueError, match=r"each entity type once \(got twice: book\)"):
        GraphSchema.model_validate({"entity_types": [book, book], "relation_types": []})
    with pytest.raises(ValueError, match=r"declared entity types \(got 'person'\)"):
        GraphSchema(entity_types=[{"name": "book"}], relation_types=[WRITTEN])
    with pytest.raises(ValueError, match="each relation type once"):
        schema_of([WRITTEN, WRITTEN], "book")
    with pytest.raises(ValueError, match=r"got '__Entity__'|got '1x'"):
        GraphSchema.model_validate({"entity_types": [{"name": "1x"}], "relation_types": []})


def test_a_schema_file_is_read_or_named(tmp_path):
    path = tmp_path / "graph_schema.yaml"
    path.write_text("entity_types: [{name: a}]\nrelation_types: []\n")
    assert load_graph_schema(path).entity_types[0].name == "a"
    path.write_text("entity_types: 5\n")
    with pytest.raises(ConfigError, match=r"Expected a graph schema in .*graph_schema\.yaml"):
        load_graph_schema(path)
    path.write_text("[")
    with pytest.raises(ConfigError, match=r"Expected a graph schema in .*graph_schema\.yaml"):
        load_graph_schema(path)


@pytest.mark.parametrize(
    ("relation", "words"),
    [("written_by", "written by"), ("music.artist.origin", "music artist origin"), ("r_3", "r 3")],
)
def test_a_relation_in_words(relation, words):
    assert words_of(relation) == words
