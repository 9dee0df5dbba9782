"""graph-etl extract tune-llm and evaluate --engine llm, from files to files."""

import json

import pytest
import torch
from scripted_extraction import film, mention
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.extraction.gold import GoldDocument, GoldRelation, save_spans

TEMPLATE = "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}\n{% endfor %}answer:"


def gold(number):
    document = film(number, f"A story set in PLACE{number}")
    place = mention(document, f"PLACE{number}", "place")
    return GoldDocument(document, (place,), (GoldRelation(None, "set_in", 0),))


def invoke(*arguments):
    result = CliRunner().invoke(app, ["extract", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture
def chat_model(tmp_path):
    """A folder with a tiny model over bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate([*letters, "<end>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    whole.chat_template = TEMPLATE
    whole.save_pretrained(tmp_path / "base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, eos_token_id=256, pad_token_id=256,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_tune_llm_writes_a_model_and_what_was_done(tmp_path, chat_model):
    for name, numbers in (("train", range(12)), ("dev", range(12, 16))):
        save_spans([gold(number) for number in numbers], tmp_path / f"{name}.jsonl")
    (tmp_path / "tune.yaml").write_text("learning_rate: 0.01\nmax_tokens: 600\nbatch_examples: 4\n")
    code, told = invoke(
        "tune-llm", "--train", tmp_path / "train.jsonl", "--dev", tmp_path / "dev.jsonl",
        "--base", chat_model, "--out", tmp_path / "mine", "--config", tmp_path / "tune.yaml",
        "--epochs", 3, "--json",
    )  # fmt: skip
    assert code == 0, told
    record = json.loads((tmp_path / "mine" / "tuning.json").read_text())
    assert [row["epoch"] for row in record["dev_loss"]] == [1, 2, 3]
    assert record["dev_loss"][2]["loss"] < record["dev_loss"][0]["loss"]
    assert (record["documents"], record["examples"]) == (12, 12)
    AutoModelForCausalLM.from_pretrained(tmp_path / "mine" / "model")
    assert sorted(path.name for path in tmp_path.iterdir() if "mine" in path.name) == ["mine"]


def test_wrong_settings_of_tuning_are_told(tmp_path):
    save_spans([gold(1)], tmp_path / "train.jsonl")
    (tmp_path / "tune.yaml").write_text("learning_rates: 1\n")
    code, told = invoke(
        "tune-llm", "--train", tmp_path / "train.jsonl", "--out", tmp_path / "mine",
        "--config", tmp_path / "tune.yaml",
    )  # fmt: skip
    assert code == 2
    assert "learning_rates" in told


def test_evaluate_measures_a_language_model(tmp_path, chat_server):
    save_spans([gold(number) for number in range(5)], tmp_path / "test.jsonl")
    (tmp_path / "llm.yaml").write_text(f"base_url: {chat_server.url}\n")
    code, told = invoke(
        "evaluate", "--gold", tmp_path / "test.jsonl", "--engine", "llm", "--model", "m",
        "--model", "m", "--config", tmp_path / "llm.yaml", "--record", tmp_path / "record.json",
    )  # fmt: skip
    assert code == 0, told
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["summary"]["triples strict f1"]["mean"] == 1.0
    assert record["summary"]["agreement"]["triples"] == 1.0
    assert record["runs"][0]["usage"] == {
        "requests": 5, "prompt_tokens": 500, "completion_tokens": 100
    }  # fmt: skip
    assert len(chat_server.calls) == 10
