"""The loss of a step: what adversarial shifts, agreement and teachers add to that of the labels."""

import pytest
import torch
from tiny_world import SCHEMA, small_config, world

from graph_etl.errors import ConfigError
from graph_etl.extraction.bert import train_extractor
from graph_etl.extraction.bert.artifact import load_model
from graph_etl.extraction.bert.losses import joint_loss
from graph_etl.extraction.bert.teachers import teachers_of
from graph_etl.extraction.bert.training_data import TrainingWindows


@pytest.fixture
def reader(trained):
    return load_model(trained).reader


@pytest.fixture
def step(reader):
    config = small_config("", batch_size=8, hidden_pieces=0.0)
    windows = TrainingWindows(world(), reader.pieces, reader.labels, reader.model.settings, config)
    return next(iter(windows.epoch(0)))


def loss_of(reader, step, teachers=(), **changes):
    """Return the loss of a step under settings, drawn with the same dropout each time."""
    torch.manual_seed(5)
    config = small_config("", **changes)
    return joint_loss(reader.model, step, reader.labels.allowed, config, teachers)


def test_loss_rises_under_an_adversarial_shift_and_more_under_a_longer_one(reader, step):
    plain, short, long = (
        loss_of(reader, step, adversarial_size=size).item() for size in (0.0, 1e-3, 1.0)
    )
    assert short == pytest.approx(2 * plain, rel=0.05)
    assert long > short > 2 * plain


def test_adversarial_loss_needs_no_word_embeddings_that_learn(reader, step):
    reader.model.encoder.get_input_embeddings().weight.requires_grad_(False)
    reader.model.settings = reader.model.settings.model_copy(update={"forms_at_input": False})
    loss_of(reader, step, adversarial_size=0.5).backward()
    assert reader.model.word.weight.grad is not None


def test_agreement_costs_nothing_without_dropout_and_something_with_it(reader, step):
    reader.model.eval()
    plain = loss_of(reader, step).item()
    assert loss_of(reader, step, agreement_weight=5.0).item() == pytest.approx(plain, rel=1e-5)
    reader.model.dropout.p = 0.5
    reader.model.train()
    light, heavy = (loss_of(reader, step, agreement_weight=weight).item() for weight in (1e-6, 5.0))
    assert heavy > light


def test_teacher_that_says_the_same_leaves_no_gradient(reader, step):
    model = reader.model.eval()
    loss_of(reader, step, [model], teacher_share=1.0).backward()
    alone = step_gradient(model)
    model.zero_grad()
    loss_of(reader, step).backward()
    assert alone < 1e-3 * max(step_gradient(model), 1.0)


def step_gradient(model):
    return float(sum(one.grad.norm() for one in model.parameters() if one.grad is not None))


def test_student_learns_from_teachers_and_the_record_names_them_without_their_paths(
    tiny_bert, trained, tmp_path
):
    gold = world()[:24]
    config = small_config(tiny_bert, epochs=2, checkpoints=False)
    told = {"teachers": (str(trained), str(trained))}
    plain, taught = (
        load_model(train_extractor(gold, gold, one, tmp_path / name, schema=SCHEMA))
        for name, one in (("a", config), ("b", config.model_copy(update=told)))
    )
    assert taught.training["config"]["teachers"] == [trained.name] * 2
    assert taught.weights_sha256 != plain.weights_sha256


def test_teachers_of_other_labels_are_refused(reader, tiny_bert, tmp_path):
    gold = world()[:4]
    folder = train_extractor(gold, gold, small_config(tiny_bert, epochs=1), tmp_path / "m")
    with pytest.raises(ConfigError, match=r"Expected a teacher with the entity types .*; train it"):
        teachers_of([str(folder)], reader)


def test_training_without_checkpoints_leaves_none_behind(tiny_bert, tmp_path):
    def look(told):
        assert list(tmp_path.rglob("*.ckpt")) == []

    gold = world()[:8]
    config = small_config(tiny_bert, epochs=2, checkpoints=False)
    train_extractor(gold, gold, config, tmp_path / "m", schema=SCHEMA, progress=look)
