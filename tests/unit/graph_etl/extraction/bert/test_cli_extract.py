"""graph-etl extract train and evaluate from the outside."""

import json

import pytest
import yaml
from tiny_world import SCHEMA, small_config, world
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.extraction.gold import save_spans


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["extract", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_bert):
    folder = tmp_path_factory.mktemp("files")
    gold = world()
    save_spans(gold[:60], folder / "train.jsonl")
    save_spans(gold[60:], folder / "dev.jsonl")
    settings = small_config(tiny_bert).model_dump(exclude={"encoder", "epochs"})
    (folder / "train.yaml").write_text(yaml.safe_dump(settings))
    (folder / "graph_schema.yaml").write_text(yaml.safe_dump(SCHEMA.model_dump()))
    return folder


def test_train_and_evaluate(files, tiny_bert, tmp_path):
    out, record = tmp_path / "model", tmp_path / "records" / "run.json"
    trained = run(
        "train", "--train", files / "train.jsonl", "--dev", files / "dev.jsonl", "--out", out,
        "--schema", files / "graph_schema.yaml", "--config", files / "train.yaml",
        "--encoder", tiny_bert, "--epochs", 3, "--seed", 5, "--final-fit", "--json",
    )  # fmt: skip
    told = json.loads(trained.stdout)
    assert told["config"]["seed"] == 5
    assert set(told["fits"]) == {"train", "train+dev"}
    assert "epoch 1/3" in trained.stderr
    measured = run(
        "evaluate", "--gold", files / "dev.jsonl", "--model", out, "--model", out,
        "--record", record, "--json",
    )  # fmt: skip
    found = json.loads(measured.stdout)
    assert found == json.loads(record.read_text())
    assert found["documents"] == len(world()) - 60
    assert found["summary"]["agreement"] == {"entities": 1.0, "triples": 1.0}
    first, second = found["runs"]
    assert first["scores"] == second["scores"]
    assert first["training"]["config"]["seed"] == 5
    assert first["sentences_per_s"] > 0
    low, high = first["scores"]["entities"]["strict"]["all"]["f1_interval_95"]
    assert low <= first["scores"]["entities"]["strict"]["all"]["f1"] <= high
    assert len(found["data"]["dev.jsonl"]) == 64


def test_results_are_shown_as_tables_too(files, trained):
    shown = run("evaluate", "--gold", files / "dev.jsonl", "--model", trained).stdout
    assert "sentences/s" in shown
    assert "triples strict f1: mean 1.0000" in shown


def test_what_can_be_mended_is_told_in_one_line(files, trained, tmp_path):
    for arguments, told in (
        (["evaluate", "--gold", files / "dev.jsonl"], "Expected --model for the engine 'bert'"),
        (
            ["evaluate", "--gold", tmp_path / "no.json", "--model", trained],
            "Expected labelled documents in",
        ),
        (
            ["evaluate", "--gold", files / "dev.jsonl", "--model", tmp_path],
            "Expected JSON of a trained extractor in",
        ),
        (
            ["evaluate", "--gold", files / "dev.jsonl", "--engine", "x", "--model", trained],
            "Expected an engine among",
        ),
        (
            ["train", "--train", files / "dev.jsonl", "--out", tmp_path / "m",
             "--config", files / "graph_schema.yaml"],
            "Expected settings of training in",
        ),
        (
            ["train", "--train", files / "dev.jsonl", "--out", tmp_path / "m",
             "--encoder", tmp_path],
            "Expected a BERT encoder at",
        ),
    ):  # fmt: skip
        error = run(*arguments, code=2).stderr
        assert error.startswith("error: ")
        assert told in error
        assert error.count("\n") == 1
