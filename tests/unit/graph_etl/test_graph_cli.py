"""graph-etl from the outside: exit codes, stdout against stderr, JSON, pictures."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from graph_etl.cli import app

DATASET = """\
name: book-shop
license: internal
items:
  table: books.csv
  id: isbn
  title: title
  entity_type: book
  text: [blurb]
  attributes:
    - {column: author, relation: written_by, entity_type: person, phrase: was written by}
    - {column: subjects, separator: "|", relation: is_about, entity_type: subject}
  numeric: [pages]
interactions:
  table: orders.csv
  user: customer
  item: isbn
  timestamp: {column: ordered_at, unit: iso}
"""
BOOKS = """\
isbn,title,author,subjects,blurb,pages
1,Emma,Jane Austen,love|england,A match-maker errs.,400
2,Persuasion,Jane Austen,love|navy,,250
3,Moby Dick,Herman Melville,whales|navy,A whale.,600
4,[red]Bold[/red],,,Nobody knows.,10
"""
ORDERS = """\
customer,isbn,ordered_at
a,1,2024-01-01
a,2,2024-02-01
b,3,2024-03-01
"""


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    for name, text in (("dataset.yaml", DATASET), ("books.csv", BOOKS), ("orders.csv", ORDERS)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def built(shop, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "shop"
    run("build", shop, "--out", out)
    return out


# --- build


def test_build_lays_out_the_folder(built):
    assert (built / "snapshots" / "current").is_file()
    assert (built / "graph.kgl").is_file()


def test_build_again_writes_nothing(shop, built):
    before = (built / "graph.kgl").read_bytes()
    record = json.loads(run("build", shop / "dataset.yaml", "--out", built, "--json").stdout)
    assert record["changed"] is False
    assert record["store"]["writes"] == 0
    assert record["counts"]["triples"] == 9
    assert (built / "graph.kgl").read_bytes() == before
    assert len(list((built / "snapshots").glob("snapshot-*"))) == 1


def test_build_after_a_change_mirrors_it(shop, tmp_path):
    for file in shop.iterdir():
        shutil.copy(file, tmp_path)
    out = tmp_path / "out"
    run("build", tmp_path, "--out", out)
    books = (tmp_path / "books.csv").read_text()
    (tmp_path / "books.csv").write_text(books.replace("love|navy", "navy"))
    record = json.loads(run("build", tmp_path, "--out", out, "--json").stdout)
    assert record["changed"] is True
    assert record["store"]["relationships_deleted"] == 1
    found = run("query", out, "MATCH (:book)-[r:is_about]->() RETURN count(r) AS n", "--json")
    assert json.loads(found.stdout)["rows"] == [{"n": 5}]


def test_build_prints_tables_to_stdout_and_progress_to_stderr(shop, tmp_path):
    result = run("build", shop, "--out", tmp_path / "out", "--store", "none")
    assert "snapshot-" in result.stdout
    assert "positive: 3" in result.stdout
    assert "published" in result.stderr
    assert "published" not in result.stdout
    assert not (tmp_path / "out" / "graph.kgl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml", "--out", "{tmp}/out"], "found nothing"),
        (["{shop}", "--out", "{tmp}/out", "--store", "oracle"], "got 'oracle'"),
        (["{shop}", "--out", "{shop}/books.csv"], "Expected a folder to write to"),
        (["{shop}", "--out", "{tmp}/out", "--data", "{tmp}"], "books.csv"),
    ],
)
def test_build_error_is_one_line_with_exit_code_2(shop, tmp_path, arguments, message):
    filled = [one.format(shop=shop, tmp=tmp_path) for one in arguments]
    result = run("build", *filled, code=2)
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in result.stderr


# --- stats


def test_stats_as_json(built):
    record = json.loads(run("stats", built, "--json", "--top", 2).stdout)
    assert (record["entities"], record["triples"], record["orphans"]) == (10, 9, 1)
    kinds = {row["entity_type"]: row for row in record["entity_types"]}
    assert kinds["book"]["count"] == 4
    assert kinds["book"]["orphans"] == 1
    written = record["relations"][0]
    assert written["relation"] == "written_by"
    assert [one["name"] for one in written["top"]] == ["Jane Austen", "Herman Melville"]
    assert written["item_share"] == pytest.approx(3 / 4)
    assert record["text"]["with_text"] == 3
    assert record["text"]["interaction_share"] == pytest.approx(2 / 3)
    assert sum(one["entities"] for one in record["degrees"]) == 10


def test_stats_as_tables(built):
    output = run("stats", built).stdout
    for word in ("written_by", "Jane Austen (2)", "orphans", "3 of 4", "book-shop"):
        assert word in output


def test_stats_of_a_snapshot_folder_or_pointer(built):
    pointer = built / "snapshots" / "current"
    folder = next((built / "snapshots").glob("snapshot-*"))
    answers = {run("stats", path, "--json").stdout for path in (built, pointer, folder)}
    assert len(answers) == 1


def test_stats_of_nothing_is_an_error(tmp_path):
    result = run("stats", tmp_path / "nowhere", code=2)
    assert "found nothing; make one with 'graph-etl build'" in result.stderr


# --- query


def test_query_with_parameters_as_json(built):
    cypher = "MATCH (b:book)-[:written_by]->({name: $name}) RETURN b.name AS b, $k AS k ORDER BY b"
    result = run("query", built, cypher, "--param", "name=Jane Austen", "--param", "k=2", "--json")
    record = json.loads(result.stdout)
    assert record["rows"] == [{"b": "Emma", "k": 2}, {"b": "Persuasion", "k": 2}]
    assert record["truncated"] is False


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("x=5", 5),
        ('x="5"', "5"),
        ("x=007", "007"),
        ("x=a=b", "a=b"),
        ("x=", ""),
        ("x=[1, 2]", [1, 2]),
        ("x=true", True),
    ],
)
def test_query_parameter_is_json_where_it_parses(built, given, value):
    record = json.loads(run("query", built, "RETURN $x AS x", "--param", given, "--json").stdout)
    assert record["rows"] == [{"x": value}]


def test_query_as_a_table_shows_nodes_and_paths_in_words(built):
    result = run("query", built, "MATCH p = (b:book {name: 'Emma'})-[:written_by]->(a) RETURN p, a")
    assert "Emma (book) -written_by- Jane Austen (person)" in result.stdout
    assert "1 rows" in result.stderr


def test_query_limit_says_that_there_is_more(built):
    result = run("query", built, "MATCH (b:book) RETURN b.name AS name", "--limit", 2)
    assert "2 rows, there are more: raise --limit" in result.stderr


def test_query_never_interprets_names_as_markup(built):
    result = run("query", built, "MATCH (b:book {entity_id: 'book:4'}) RETURN b.name AS name")
    assert "[red]Bold[/red]" in result.stdout


def test_query_remarks_an_unknown_label(built):
    assert "warning: " in run("query", built, "MATCH (n:bok) RETURN n").stderr


@pytest.mark.parametrize(
    ("cypher", "message"),
    [
        ("MATCH (n) DETACH DELETE n", "read-only"),
        ("LOAD CSV FROM 'file:///etc/hostname' AS l RETURN l", "read-only"),
        ("MATCH (n", "refused a statement"),
        ("RETURN $missing", "missing"),
    ],
)
def test_query_error_is_one_line_with_exit_code_2(built, cypher, message):
    result = run("query", built, cypher, code=2)
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_query_parameter_without_a_name_is_an_error(built):
    result = run("query", built, "RETURN 1", "--param", "=5", code=2)
    assert "Expected --param name=value, got '=5'" in result.stderr


def test_query_without_a_store_is_an_error(shop, tmp_path):
    run("build", shop, "--out", tmp_path, "--store", "none")
    result = run("query", tmp_path, "RETURN 1", code=2)
    assert "got one without; build again with 'graph-etl build" in result.stderr


# --- snapshot


def test_snapshot_shows_the_manifest(built):
    record = json.loads(run("snapshot", built, "--json").stdout)
    assert record["manifest"]["counts"]["items"] == 4
    assert record["verified"] == ["manifest.json"]
    output = run("snapshot", built).stdout
    assert "triples.parquet" in output
    assert "internal" in output


def test_snapshot_verify_reads_every_file(built):
    record = json.loads(run("snapshot", built, "--verify", "--json").stdout)
    assert "triples.parquet" in record["verified"]
    assert len(record["verified"]) == 7


def test_snapshot_verify_names_the_damaged_file(built, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    file = next(copy.glob("snapshots/snapshot-*/items.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    run("snapshot", copy)
    result = run("snapshot", copy, "--verify", code=2)
    assert "items.parquet to have sha256" in result.stderr


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_snapshot_export_writes_names(built, tmp_path, file_format):
    out = tmp_path / "tables"
    result = run("snapshot", "export", built, "--out", out, "--format", file_format)
    assert len(result.stdout.splitlines()) == 3
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[file_format]
    assert "Herman Melville" in read(out / f"entities.{file_format}")["name"].to_list()
    triples = read(out / f"triples.{file_format}")
    assert triples.filter(relation="written_by", head_name="Emma")["tail_name"].to_list() == [
        "Jane Austen"
    ]
    assert triples.height == 9


@pytest.mark.parametrize(
    ("file_format", "name"), [("graphml", "graph.graphml"), ("node-link", "graph.json")]
)
def test_snapshot_export_writes_one_graph_file(built, tmp_path, file_format, name):
    result = run("snapshot", "export", built, "--out", tmp_path, "--format", file_format)
    assert result.stdout.split() == [str(tmp_path / name)]
    assert "Herman Melville" in (tmp_path / name).read_text("utf-8")


def test_snapshot_export_of_another_format_is_an_error(built, tmp_path):
    result = run("snapshot", "export", built, "--out", tmp_path, "--format", "xml", code=2)
    assert "got 'xml'" in result.stderr


# --- draw


@pytest.mark.parametrize("name", ["emma.png", "emma.svg"])
def test_draw_writes_a_picture(built, tmp_path, name):
    result = run("draw", built, "emma", "--out", tmp_path / name)
    assert "3 of 3 neighbours" in result.stdout
    assert (tmp_path / name).stat().st_size > 5_000


def test_draw_of_an_unknown_entity_is_an_error(built, tmp_path):
    result = run("draw", built, "Austen", "--out", tmp_path / "x.png", code=2)
    assert "names with it: ['Jane Austen']" in result.stderr


# --- help


def test_help_names_every_command():
    listed = run("--help").stdout
    for command in ("build", "stats", "query", "snapshot", "draw"):
        assert command in listed
    assert "export" in run("snapshot", "--help").stdout
