"""Training: a small world is learned whole, killed runs go on, seeds repeat, faults are told."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny_world import SCHEMA, document, mention, small_config, world

from graph_etl.errors import ConfigError, DataError
from graph_etl.extraction.bert import BertExtractor, train_extractor
from graph_etl.extraction.bert.artifact import load_model
from graph_etl.extraction.bert.fitting import fit
from graph_etl.extraction.bert.training_data import TrainingWindows
from graph_etl.extraction.extractor import Request
from graph_etl.extraction.gold import GoldDocument, GoldRelation
from graph_etl.extraction.scoring import scores_of


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def f1_of(folder, gold):
    with BertExtractor(folder) as extractor:
        requests = [Request(one.document) for one in gold]
        said = {one.doc_id: one.extraction for one in extractor.answers(requests)}
    scores = scores_of(gold, said)
    return {kind: scores[kind]["strict"].micro.f1 for kind in scores}


def test_training_learns_a_small_world_whole(trained):
    assert f1_of(trained, world()) == {"entities": 1.0, "triples": 1.0}


def test_training_tells_an_uncased_encoder_what_words_look_like(trained):
    settings = load_model(trained).reader.model.settings
    assert settings.forms_at_input
    assert settings.sentences_apart == 0


def test_training_knows_the_subject_from_its_text_alone(trained):
    text = "Emil plays . The film with Anna ."
    with BertExtractor(trained) as extractor:
        about, plain = extractor.answers(
            [Request(document(text, "a", subject=True)), Request(document(text, "b"))]
        )
    said = about.extraction
    triples = [(one.head, one.relation, said.mentions[one.tail].start) for one in said.triples]
    assert triples == [(None, "has_player", 0)]
    assert plain.extraction.mentions == said.mentions
    assert plain.extraction.triples == ()


def test_untrained_model_knows_nothing(tiny_bert, tmp_path):
    gold = world()[:30]
    config = small_config(tiny_bert, epochs=1, encoder_learning_rate=1e-9, head_learning_rate=1e-9)
    folder = train_extractor(gold, gold, config, tmp_path / "m", schema=SCHEMA)
    assert f1_of(folder, gold)["triples"] < 0.3


def test_same_seed_gives_the_same_weights_and_another_seed_others(tiny_bert, tmp_path):
    gold = world()[:24]
    folders = [
        train_extractor(
            gold, gold, small_config(tiny_bert, epochs=2, seed=seed), tmp_path / name, schema=SCHEMA
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, second, third = map(weights, folders)
    assert same(first, second)
    assert not same(first, third)


class _KilledError(Exception):
    pass


def test_killed_training_goes_on_with_the_same_numbers(tiny_bert, tmp_path):
    gold = world()[:24]
    config = small_config(tiny_bert, epochs=4, final_fit=True)
    whole = train_extractor(gold[:16], gold[16:], config, tmp_path / "whole", schema=SCHEMA)
    out = tmp_path / "killed"
    for told_last in ("epoch 2/4", "epoch 4/4", "epoch 1/4"):

        def stop(told, told_last=told_last):
            if told.startswith(told_last):
                raise _KilledError

        with pytest.raises(_KilledError):
            train_extractor(gold[:16], gold[16:], config, out, schema=SCHEMA, progress=stop)
        assert not out.exists()
    heard = []
    train_extractor(gold[:16], gold[16:], config, out, schema=SCHEMA, progress=heard.append)
    assert not any("epoch 1/4" in one for one in heard)
    assert same(weights(whole), weights(out))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_final_fit_keeps_the_threshold_of_the_fit_on_train_alone(tiny_bert, tmp_path):
    gold = world()[:40]
    config = small_config(tiny_bert, epochs=3)
    first = load_model(train_extractor(gold[:30], gold[30:], config, tmp_path / "a", schema=SCHEMA))
    both = load_model(
        train_extractor(
            gold[:30], gold[30:], config.model_copy(update={"final_fit": True}), tmp_path / "b",
            schema=SCHEMA,
        )
    )  # fmt: skip
    assert both.threshold == first.threshold
    assert set(both.training["fits"]) == {"train", "train+dev"}
    best = first.training["fits"]["train"]["best"]["number"]
    assert len(both.training["fits"]["train+dev"]["curve"]) == best
    given = config.model_copy(update={"final_fit": True, "threshold": 0.37})
    kept = load_model(train_extractor(gold, gold, given, tmp_path / "c", schema=SCHEMA))
    assert kept.threshold == 0.37
    assert set(kept.training["fits"]) == {"train+dev"}


def test_fit_without_dev_learns_with_the_encoder_s_dropout(trained, tmp_path):
    reader = load_model(trained).reader
    config = small_config("", epochs=2)
    settings = reader.model.settings
    windows = TrainingWindows(world()[:8], reader.pieces, reader.labels, settings, config)
    learning = []
    fit(
        reader, windows, [], config, tmp_path / "ckpt",
        progress=lambda _: learning.append(reader.model.encoder.training),
    )  # fmt: skip
    assert learning == [True, True]
    assert not reader.model.encoder.training


def test_training_without_dev_sets_a_tenth_apart(tiny_bert, tmp_path):
    config = small_config(tiny_bert, epochs=1)
    folder = train_extractor(world()[:40], [], config, tmp_path / "m")
    training = json.loads((folder / "training.json").read_text())
    assert training["documents"] == {"train": 36, "dev": 4}


def test_training_takes_the_schema_of_the_labels(tiny_bert, tmp_path):
    gold = world()[:4]
    folder = train_extractor(gold, gold, small_config(tiny_bert, epochs=1), tmp_path / "m")
    assert [one.pattern for one in BertExtractor(folder).schema.relation_types] == [
        ("person", "lives_in", "place")
    ]


def test_training_finds_entities_where_there_are_no_relations(tiny_bert, tmp_path):
    gold = [replace(one, relations=()) for one in world()[:40]]
    folder = train_extractor(gold, gold, small_config(tiny_bert, epochs=12), tmp_path / "m")
    assert f1_of(folder, gold)["entities"] > 0.9


def test_training_refuses_labels_that_the_schema_has_not(tiny_bert, tmp_path):
    text = "Anna lives in Paris ."
    strange = GoldDocument(document(text), (mention(text, "Anna", "robot"),))
    config = small_config(tiny_bert)
    with pytest.raises(DataError, match=r"got 'robot' in document 'd'; add it"):
        train_extractor([strange], [strange], config, tmp_path / "m", schema=SCHEMA)
    both = (mention(text, "Anna", "person"), mention(text, "Paris", "place"))
    backwards = GoldDocument(document(text), both, (GoldRelation(1, "lives_in", 0),))
    with pytest.raises(DataError, match=r"\(place, lives_in, person\) in document 'd'"):
        train_extractor([backwards], [backwards], config, tmp_path / "m", schema=SCHEMA)


def test_training_refuses_to_learn_from_nothing(tiny_bert, tmp_path):
    config = small_config(tiny_bert)
    for gold, told in (
        ([GoldDocument(document("Anna"))], "Expected at least 2 training documents"),
        ([GoldDocument(document("", name)) for name in "ab"], "Expected training documents with"),
    ):
        with pytest.raises(DataError, match=told):
            train_extractor(gold, [], config, tmp_path / "m")


def test_training_names_an_encoder_that_is_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    gold = world()[:4]
    with pytest.raises(ConfigError, match=r"Expected a BERT encoder at '.*empty'"):
        train_extractor(gold, gold, small_config(tmp_path / "empty"), tmp_path / "m")
