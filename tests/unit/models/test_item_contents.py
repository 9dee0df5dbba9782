"""Entities known by name, items by vectors from outside, and items of which a part is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from towers_data import COLD, NUM_ITEMS, WORDS, cold_task, make_tiny_bert, planted, recall, taste_of

from kgrec.data.given_vectors import about_mean
from kgrec.data.interactions import FloatArray
from kgrec.models.cold_items import ColdItem, ColdItems
from kgrec.models.scorer import TrainingData
from kgrec.models.text.encoder import TextEncoder
from kgrec.models.tower_inputs import assemble, entity_names
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.retrieval.content_kernel import ContentKernel
from kgrec.retrieval.content_ridge import ContentRidge

SMALL = TowersConfig(
    embedding_dim=16, steps=60, users_per_step=120, hidden_items=0.3, threads=1, device="cpu"
)
BLIND = 0.45  # recall of cold items by chance is .25
DIM = 12


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "encoded"))


def named() -> TrainingData:
    """Two items share an entity, cold ones with cold ones: its name alone tells their taste."""
    train = planted()
    items = np.arange(NUM_ITEMS)
    entity = 4 * (items // 8) + taste_of(items)
    names = [f"a story about the {WORDS[one % 4]} {one // 4}" for one in range(40)]
    graph = replace(
        train.graph,
        entity_ids=np.array([f"e{n}" for n in range(NUM_ITEMS + 40)], dtype=object),
        entity_types=np.array(["item"] * NUM_ITEMS + ["series"] * 40, dtype=object),
        entity_names=np.array([f"Item {n}" for n in items] + names, dtype=object),
        tail=NUM_ITEMS + entity,
    )
    return replace(train, graph=graph)


def pictured(*, texts: bool = False, without: np.ndarray | None = None) -> TrainingData:
    """Each item has a vector near its taste's, in no unit and far from the origin."""
    rng = np.random.default_rng(5)
    tastes = rng.standard_normal((4, DIM))
    noise = 0.4 * rng.standard_normal((NUM_ITEMS, DIM))
    vectors = (100 + 9 * (tastes[taste_of(np.arange(NUM_ITEMS))] + noise)).astype(np.float32)
    if without is not None:
        vectors[without] = 0.0
    train = planted(texts=texts, triples=False)
    items = replace(train.dataset.items, vectors=vectors)
    return replace(train, dataset=replace(train.dataset, items=items))


def found(towers: TowersScorer, train: TrainingData) -> float:
    task = cold_task(train)
    return recall(towers.scores(task.histories), task)


def fitted(train: TrainingData, **settings: object) -> TowersScorer:
    return TowersScorer(SMALL.model_copy(update=settings)).fit(train)


def test_names_tell_of_entities_that_no_event_reached(bert: Path) -> None:
    train = named()
    reads = {"text_model": str(bert), "steps": 100}
    assert found(fitted(train, **reads), train) < BLIND
    assert found(fitted(train, **reads, entity_names=True), train) > 0.8


@pytest.mark.parametrize("settings", [{"sampled_above": 0, "neighbours": 3}, {"link_weight": 0.1}])
def test_names_are_read_in_drawn_parts_and_while_foretelling_triples(
    bert: Path, settings: dict[str, object]
) -> None:
    train = named()
    towers = fitted(train, text_model=str(bert), steps=100, entity_names=True, **settings)
    assert found(towers, train) > 0.8


def test_names_without_an_encoder_change_nothing() -> None:
    train = named()
    plain, asked = (fitted(train, steps=5, entity_names=names) for names in (False, True))
    np.testing.assert_array_equal(plain.item_vectors(), asked.item_vectors())


def test_entities_start_where_their_names_say_and_those_without_at_random(bert: Path) -> None:
    train = named()
    names = train.graph.entity_names.copy()
    names[NUM_ITEMS + 7] = " "
    names[NUM_ITEMS + 9] = names[NUM_ITEMS + 8]
    train = replace(train, graph=replace(train.graph, entity_names=names))
    config = SMALL.model_copy(update={"text_model": str(bert), "entity_names": True})
    knowledge = assemble(train, config).model.items.knowledge
    assert knowledge is not None
    assert len(knowledge.name_vectors) == 39  # each distinct name once
    own = knowledge.entities.detach().abs().sum(dim=1)
    assert own.nonzero()[:, 0].tolist() == [7]
    starts = knowledge.starts().detach()
    torch.testing.assert_close(starts[8], starts[9])
    tasted = torch.nn.functional.normalize(starts[[0, 4, 1]], dim=1)
    assert float(tasted[0] @ tasted[1]) > float(tasted[0] @ tasted[2]) + 0.3


def test_distinct_names_are_encoded_once_and_nothing_is_made_of_none(bert: Path) -> None:
    encoder = TextEncoder(str(bert))
    names = np.array(["the sea", "", "the sea", "the moon"], dtype=object)
    read = entity_names(names, encoder)
    assert read is not None
    assert read.name_of.tolist() == [0, 1, 0, 2]
    assert (read.vectors[1] == 0).all()
    assert entity_names(np.array(["", " "], dtype=object), encoder) is None
    assert entity_names(names, None) is None


def test_a_new_entity_is_known_by_its_name_before_training(bert: Path) -> None:
    """The first graph ends with the warm items; the second start trains nothing."""
    train = named()
    before = replace(train, graph=train.graph.with_triples(train.graph.head < COLD[0]))
    settings = SMALL.model_copy(
        update={"text_model": str(bert), "steps": 100, "entity_names": True}
    )
    earlier = TowersScorer(settings).fit(before)
    assert found(earlier, train) < BLIND
    still = settings.model_copy(update={"warm_start_steps": 1, "learning_rate": 1e-9})
    assert found(TowersScorer(still).fit(train, warm_start=earlier), train) > 0.7


def test_saved_names_need_no_encoder_and_serve_new_items(bert: Path, tmp_path: Path) -> None:
    train = named()
    towers = fitted(train, text_model=str(bert), steps=100, entity_names=True)
    towers.save(tmp_path)
    loaded = TowersScorer.load(tmp_path)
    np.testing.assert_array_equal(loaded.item_vectors(), towers.item_vectors())
    none = np.zeros((NUM_ITEMS, 0), dtype=np.float32)
    maker = ColdItems(loaded, train.graph, none, none, np.arange(NUM_ITEMS) < COLD[0])
    cold = [
        ColdItem(none[0], none[0], np.array([1]), train.graph.tail[[item]]) for item in COLD
    ]  # fmt: skip
    again, own = maker.vectors(cold)[:, :-1], towers.item_vectors()[COLD, :-1]
    assert ((again * own).sum(axis=1) > 0.95).all()


@pytest.mark.parametrize("fusion", ["gated", "attention"])
def test_vectors_from_outside_find_cold_items(fusion: str) -> None:
    train = pictured()
    assert found(fitted(train, fusion=fusion), train) > 0.8
    without = replace(train.dataset.items, vectors=None)
    blind = replace(train, dataset=replace(train.dataset, items=without))
    assert found(fitted(blind, fusion=fusion), blind) < BLIND


@pytest.mark.parametrize("fusion", ["gated", "attention"])
def test_cold_items_that_lack_a_part_are_found_by_the_other(bert: Path, fusion: str) -> None:
    """Half of the cold items have a vector and no text, the others a text and no vector."""
    train = pictured(texts=True, without=COLD[:8])
    texts = train.dataset.items.texts.copy()
    texts[COLD[8:]] = ""
    items = replace(train.dataset.items, texts=texts)
    train = replace(train, dataset=replace(train.dataset, items=items))
    settings = {"text_model": str(bert), "steps": 100, "fusion": fusion}
    assert found(fitted(train, **settings, modality_dropout=0.3), train) > 0.8


def test_modality_dropout_is_drawn_by_the_steps_seed_and_leaves_answers_alone() -> None:
    train = named()
    first, second = (fitted(train, steps=5, modality_dropout=0.5) for _ in range(2))
    np.testing.assert_array_equal(first.item_vectors(), second.item_vectors())
    assert not np.allclose(first.item_vectors(), fitted(train, steps=5).item_vectors())
    model = assemble(train, SMALL.model_copy(update={"modality_dropout": 0.5})).model
    nothing = torch.zeros(NUM_ITEMS, dtype=torch.bool)
    assert not torch.equal(model.items(nothing)[0], model.items(nothing)[0])
    model.eval()
    assert torch.equal(model.items(nothing)[0], model.items(nothing)[0])


def test_attention_towers_come_back_from_disk(tmp_path: Path) -> None:
    train = pictured()
    towers = fitted(train, steps=10, fusion="attention")
    towers.save(tmp_path)
    histories = cold_task(train).histories
    loaded = TowersScorer.load(tmp_path)
    np.testing.assert_array_equal(loaded.scores(histories), towers.scores(histories))
    short = SMALL.model_copy(update={"fusion": "attention", "warm_start_steps": 1})
    again = TowersScorer(short).fit(train, warm_start=loaded)
    assert "items.attention.kinds" in again._state.weights
    assert "items.gate_bias" not in again._state.weights


@pytest.mark.parametrize("fusion", ["gated", "attention"])
def test_a_new_item_lies_where_its_vector_says(fusion: str) -> None:
    train = pictured()
    towers = fitted(train, fusion=fusion)
    vectors = train.dataset.items.vectors
    assert vectors is not None
    none = np.zeros((NUM_ITEMS, 0), dtype=np.float32)
    maker = ColdItems(
        towers, train.graph, none, none, np.arange(NUM_ITEMS) < COLD[0], about_mean(vectors)
    )
    nobody = np.zeros(0, dtype=np.int64)
    given: list[FloatArray | None] = [*about_mean(vectors[COLD], vectors)]
    cold = [ColdItem(none[0], none[0], nobody, nobody, one) for one in given]
    np.testing.assert_allclose(
        maker.vectors(cold), towers.item_vectors()[COLD], rtol=1e-3, atol=1e-4
    )
    assert np.isfinite(maker.vectors([ColdItem(none[0], none[0], nobody, nobody)])).all()


def test_parts_of_the_graph_give_vectors_of_the_whole(bert: Path) -> None:
    train = named()
    items = replace(train.dataset.items, vectors=pictured().dataset.items.vectors)
    train = replace(train, dataset=replace(train.dataset, items=items))
    settings = {
        "text_model": str(bert), "entity_names": True, "fusion": "attention",
        "sampled_above": 0, "neighbours": 1000, "edge_dropout": 0.0,
    }  # fmt: skip
    assembly = assemble(train, SMALL.model_copy(update=settings))
    model, asked = assembly.model.eval(), [3, 70, 5, 41]
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    assert assembly.sampler.parts is not None
    part = assembly.sampler.parts.around(np.array(asked), np.zeros(0, dtype=np.int64), 1)
    hidden = torch.zeros(NUM_ITEMS, dtype=torch.bool)
    whole, drawn = model.items(hidden), model.items(hidden[part.items], part=part)
    for some, everything in zip(drawn, whole, strict=True):
        torch.testing.assert_close(some, everything[asked], rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # as answers are made
        torch.testing.assert_close(model.items(hidden)[0], whole[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("source", [ContentRidge, ContentKernel])
def test_the_content_sources_read_vectors_too(source: type[ContentRidge]) -> None:
    train = pictured()
    task = cold_task(train)
    assert recall(source().fit(train).scores(task.histories), task) > 0.8
    without = replace(train.dataset.items, vectors=None)
    blind = replace(train, dataset=replace(train.dataset, items=without))
    assert recall(source().fit(blind).scores(task.histories), task) < BLIND


def test_vectors_about_the_mean_are_of_unit_length_and_none_stays_none() -> None:
    vectors = np.array([[1.0, 5.0], [0.0, 0.0], [3.0, 5.0]], dtype=np.float32)
    np.testing.assert_array_equal(about_mean(vectors), [[-1, 0], [0, 0], [1, 0]])
    more = np.array([[2.0, 9.0], [0.0, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(about_mean(more, vectors), [[0, 1], [0, 0]])
