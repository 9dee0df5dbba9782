"""A tiny BERT with random weights, a small world to read about, and an extractor trained on it."""

from pathlib import Path

import pytest
import torch
from tiny_world import SCHEMA, small_config, world

from graph_etl.extraction.bert import train_extractor

LETTERS = [chr(point) for point in range(33, 127) if not chr(point).isupper()]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """A folder for from_pretrained: 2 layers of 32, words of letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = [
        "anna",
        "bert",
        "clara",
        "dora",
        "emil",
        "paris",
        "rome",
        "oslo",
        "bonn",
        "lima",
        "acme",
        "globex",
        "initech",
    ]
    verbs = ["lives", "works", "in", "at", "for", "and", "the", "film", "plays", "with", ".", ","]
    vocabulary = [*special, *LETTERS, *(f"##{one}" for one in LETTERS), *names, *verbs, *"北京上海"]
    known = {word: place for place, word in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names_of = {f"{one[1:-1].lower()}_token": one for one in special}
    folder = tmp_path_factory.mktemp("tiny-bert")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names_of).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(known),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=256,
            hidden_dropout_prob=0.0,
        )
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trained(tiny_bert, tmp_path_factory) -> Path:
    """The folder of an extractor that has learned the small world by heart."""
    out = tmp_path_factory.mktemp("trained") / "extractor"
    gold = world()
    return train_extractor(gold, gold, small_config(tiny_bert), out, schema=SCHEMA)
