"""graph-etl extract evaluate: engines and the cascade of a dataset.yaml side by side."""

import json

import pytest
import yaml
from scripted_extraction import film, mention, schema
from test_extract_run import SHOP
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.extraction.gold import GoldDocument, GoldRelation, save_spans


def invoke(*arguments, code=0):
    result = CliRunner().invoke(app, ["extract", "evaluate", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def gold(number, text, place):
    document = film(number, text)
    said = (mention(document, place, "place"),)
    return GoldDocument(document, said, (GoldRelation(None, "set_in", 0),))


@pytest.fixture
def files(tmp_path, chat_server):
    config = json.loads(json.dumps(SHOP))
    config["extraction"]["engines"].append(
        {"engine": "llm", "model": "m", "base_url": chat_server.url,
         "budget": {"price_per_million_prompt_tokens": 10.0}}
    )  # fmt: skip
    (tmp_path / "graph_schema.yaml").write_text(yaml.safe_dump(schema().model_dump()))
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "items.csv").write_text("id,title,blurb,place\n1,Dust,-,Rome\n2,Rain,-,\n")
    (tmp_path / "log.csv").write_text("user,film\nu,1\nv,2\n")
    texts = [gold(1, "Set in Rome.", "Rome"), gold(2, "Lost in OSLO.", "OSLO")]
    save_spans(texts, tmp_path / "gold.jsonl")
    return tmp_path


def test_a_cascade_stands_beside_its_engines(files, chat_server):
    record = files / "record.json"
    told = invoke(
        "--gold", files / "gold.jsonl", "--config", files / "dataset.yaml", "--engine", "gazetteer",
        "--runs", 2, "--record", record,
    ).stdout  # fmt: skip
    found = json.loads(record.read_text())
    names = {row["name"]: row for row in found["engines"]}
    recall = {
        name: row["scores"]["triples"]["strict"]["all"]["recall"] for name, row in names.items()
    }
    assert recall == {"gazetteer": 0.5, "cascade": 1.0}
    assert names["cascade"]["stability"] == {"entities": 1.0, "triples": 1.0}
    # 100 tokens in for each text, at 10 a million
    assert names["cascade"]["cost_per_1000_texts"] == {
        "amount": pytest.approx(1.0), "currency": "USD"
    }  # fmt: skip
    assert names["gazetteer"]["cost_per_1000_texts"] is None
    assert [run["name"] for run in found["runs"]] == [
        "gazetteer 1", "gazetteer 2", "cascade 1", "cascade 2"
    ]  # fmt: skip
    assert "1 USD" in told
    assert "no requests" in told
    assert len(chat_server.calls) == 4


def test_a_gazetteer_without_names_is_refused(files):
    refused = invoke("--gold", files / "gold.jsonl", "--engine", "gazetteer", code=2)
    assert "Expected names for the gazetteer" in refused.stderr
    settings = files / "bad.yaml"
    settings.write_text("gazetteer: {fuzy: 1}\n")
    arguments = ["--gold", files / "gold.jsonl", "--engine", "gazetteer", "--config", settings]
    assert "fuzy" in invoke(*arguments, code=2).stderr
