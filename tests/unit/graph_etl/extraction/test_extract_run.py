"""graph-etl extract run: texts to triples without a build; nothing is asked twice."""

import json

import polars as pl
import pytest
import yaml
from llm_fixtures import completion
from scripted_extraction import schema
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.extraction.build_step import LEDGER

SHOP = {
    "name": "shop",
    "items": {
        "table": "items.csv", "id": "id", "title": "title", "text": ["blurb"],
        "entity_type": "film",
        "attributes": [{"column": "place", "relation": "set_in", "entity_type": "place"}],
    },
    "interactions": {"table": "log.csv", "user": "user", "item": "film"},
    "extraction": {
        "schema": "graph_schema.yaml",
        "engines": [{"engine": "gazetteer", "relates": {"place": "set_in"}}],
    },
}  # fmt: skip


def invoke(*arguments, code=0):
    result = CliRunner().invoke(app, ["extract", "run", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def files(tmp_path):
    (tmp_path / "graph_schema.yaml").write_text(yaml.safe_dump(schema().model_dump()))
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(SHOP))
    (tmp_path / "items.csv").write_text(
        "id,title,blurb,place\n1,Dust,Set in Rome.,Rome\n2,Rain,A thief of Rome.,\n3,Snow,,\n"
    )
    (tmp_path / "log.csv").write_text("user,film\nu,1\nv,2\n")
    texts = [
        {"doc_id": str(i), "text": f"A story set in PLACE{i}.", "subject_id": f"film:{i}",
         "subject_type": "film", "subject_name": f"Film {i}"}
        for i in range(6)
    ]  # fmt: skip
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in texts))
    return tmp_path


def llm(files, server, **settings):
    (files / "llm.yaml").write_text(yaml.safe_dump({"base_url": server.url, **settings}))
    return [
        "--texts", files / "texts.jsonl", "--schema", files / "graph_schema.yaml",
        "--engine", "llm=m", "--settings", files / "llm.yaml",
    ]  # fmt: skip


def test_the_texts_of_a_data_set_are_read_without_a_build(files):
    told = invoke(files / "dataset.yaml", "--out", files / "out").stdout
    assert "items_in 2 = extracted 2 + cached 0 + dead_lettered 0" in told
    rows = pl.read_ndjson(files / "out" / "triples.jsonl")
    assert rows.select("head_id", "head_name", "relation", "tail_id", "evidence.text").rows() == [
        ("film:1", "Dust", "set_in", "place:rome", "Set in Rome."),
        ("film:2", "Rain", "set_in", "place:rome", "A thief of Rome."),
    ]
    assert rows["confidence"].to_list() == pytest.approx([1.0, 0.7])
    assert not (files / "out" / "snapshots").exists()


def test_parquet_has_the_same_rows(files):
    for name in ("jsonl", "parquet"):
        invoke(files / "dataset.yaml", "--out", files / "out", "--format", name)
    parquet = pl.read_parquet(files / "out" / "triples.parquet")
    lines = pl.read_ndjson(files / "out" / "triples.jsonl", schema=parquet.schema)
    assert parquet.equals(lines)
    leftover = [path.name for path in (files / "out").iterdir() if path.name.startswith(".")]
    assert leftover == []


def test_a_file_of_texts_is_asked_about_once(files, chat_server):
    prices = {"price_per_million_prompt_tokens": 10.0}
    arguments = [*llm(files, chat_server, budget=prices), "--out", files / "out", "--json"]
    first = json.loads(invoke(*arguments).stdout)
    assert (first["texts"], first["triples"]) == (6, 6)
    assert first["engines"][0]["cost"] == {"amount": pytest.approx(0.006), "currency": "USD"}
    assert json.loads((files / "out" / "run.json").read_text()) == first
    again = json.loads(invoke(*arguments).stdout)
    assert (again["engines"][0]["extracted"], again["engines"][0]["cached"]) == (0, 6)
    assert len(chat_server.calls) == 6


def test_a_dry_run_counts_and_asks_nothing(files, chat_server):
    prices = {"price_per_million_prompt_tokens": 10.0}
    arguments = [*llm(files, chat_server, budget=prices), "--dry-run"]
    [row] = json.loads(invoke(*arguments, "--json").stdout)["engines"]
    assert (row["texts"], row["requests"], row["answered_before"]) == (6, 6, 0)
    assert row["cost_at_most"] >= row["cost"] > 0
    assert "6 requests" in invoke(*arguments).stdout
    assert chat_server.calls == []
    invoke(*arguments[:-1], "--out", files / "out")
    [row] = json.loads(invoke(*arguments, "--out", files / "out", "--json").stdout)["engines"]
    assert (row["requests"], row["answered_before"]) == (0, 6)


def test_too_many_failures_end_with_3_and_keep_what_was_answered(files, chat_server):
    def script(asked, number):
        return completion("no json") if "PLACE1" in asked.text else None

    chat_server.script = script
    arguments = [*llm(files, chat_server), "--out", files / "out"]
    failed = invoke(*arguments, code=3)
    assert "error: Expected at most 5.0% of the texts without a good answer" in failed.stderr
    record = json.loads((files / "out" / "run.json").read_text())
    assert record["engines"][0]["dead_lettered"] == 1
    assert "Expected at most" in record["failed"]
    assert not (files / "out" / "triples.jsonl").exists()
    calls = len(chat_server.calls)
    told = invoke(*arguments, "--max-failed-share", 0.2).stdout
    assert "cached 5 + dead_lettered 1" in told
    assert len(chat_server.calls) == calls


def test_plain_texts_and_names_of_a_table(files):
    (files / "one.txt").write_text("Lost in Oslo.")
    (files / "names.csv").write_text("entity_type,name\nplace,Oslo\n")
    told = invoke(
        "--texts", files / "one.txt", "--schema", files / "graph_schema.yaml",
        "--engine", "gazetteer", "--names", files / "names.csv", "--out", files / "out",
    ).stdout  # fmt: skip
    assert "0 triples, 1 mentions" in told
    assert (files / "out" / LEDGER).is_file()


def test_what_is_missing_is_told(files):
    lone = {**SHOP, "extraction": None}
    (files / "lone.yaml").write_text(yaml.safe_dump(lone))
    (files / "bad.csv").write_text("text,subject_id\nx,film:1\n")
    given = ["--schema", files / "graph_schema.yaml", "--engine", "gazetteer"]
    for arguments, told in (
        ([], "Expected a CONFIG with the section 'extraction'"),
        ([files / "dataset.yaml"], "Expected --out DIR"),
        ([files / "lone.yaml", "--dry-run"], "Expected a section 'extraction'"),
        ([files / "dataset.yaml", "--out", files / "o", "--format", "xml"], "Expected a format"),
        (["--texts", files / "no.csv", *given, "--dry-run"], "Expected a file of texts"),
        (["--texts", files / "bad.csv", *given, "--dry-run"], "Expected a subject_type"),
        (
            [files / "dataset.yaml", "--engine", "bert", "--dry-run"],
            "Expected --model for the engine",
        ),
    ):
        assert told in invoke(*arguments, code=2).stderr
