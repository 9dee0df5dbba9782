"""The extractor on a CUDA device: says what it says on the CPU, and can be trained there."""

from __future__ import annotations

import pytest
import torch
from tiny_world import SCHEMA, small_config, world

from graph_etl.extraction.bert import BertExtractor, train_extractor
from graph_etl.extraction.extractor import Request

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def said(folder, device):
    requests = [Request(one.document) for one in world()]
    answers = BertExtractor(folder, device=device).answers(requests)
    return [
        (
            {(one.span, one.entity_type) for one in answer.extraction.mentions},
            {(one.head, one.relation, one.tail) for one in answer.extraction.triples},
        )
        for answer in answers
    ]


def test_a_model_says_the_same_on_both(trained):
    assert said(trained, "cuda") == said(trained, "cpu")


def test_training_on_cuda_learns_the_small_world(tiny_bert, tmp_path):
    gold = world()
    config = small_config(tiny_bert).model_copy(update={"device": "cuda"})
    folder = train_extractor(gold, gold, config, tmp_path / "extractor", schema=SCHEMA)
    found = said(folder, "cpu")
    wanted = sum(len(one.relations) for one in gold)
    assert sum(len(triples) for _, triples in found) >= 0.9 * wanted
