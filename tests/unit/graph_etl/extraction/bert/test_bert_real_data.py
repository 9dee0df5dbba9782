"""The real encoder on real sentences: a short training reaches what a short training reaches."""

import json

import pytest

from graph_etl.extraction.bert import BertExtractor, TrainConfig, train_extractor
from graph_etl.extraction.evaluation import measured
from graph_etl.extraction.gold import read_gold, schema_of_gold
from graph_etl.fetch import fetch


@pytest.mark.slow
@pytest.mark.data
def test_short_training_on_conll04_lies_in_its_band(data_dir, tmp_path):
    folder = data_dir / "kgx-conll04"
    train = read_gold(folder / "conll04_train.json")
    dev = read_gold(folder / "conll04_dev.json")
    config = TrainConfig(encoder=str(fetch("minilm")), epochs=4, threads=1)
    schema = schema_of_gold(train)
    out = train_extractor(train[:320], dev[:80], config, tmp_path / "m", schema=schema)
    curve = json.loads((out / "training.json").read_text())["fits"]["train"]["curve"]
    losses = [one["loss"] for one in curve]
    assert losses == sorted(losses, reverse=True)
    with BertExtractor(out) as extractor:
        record, said = measured(dev[80:], extractor)
    entities = record["scores"]["entities"]["strict"]["all"]["f1"]
    triples = record["scores"]["triples"]["strict"]["all"]["f1"]
    assert 0.60 < entities < 0.85
    assert 0.20 < triples < 0.60
    texts = {one.document.doc_id: one.document.text for one in dev}
    for one in said:
        for mention in one.mentions:
            assert texts[one.doc_id][mention.start : mention.end].strip()
