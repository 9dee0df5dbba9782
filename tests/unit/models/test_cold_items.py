"""A new item's tower vector equals what the whole graph with the item in it would give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from serving_data import NUM_ITEMS, NUM_MAKERS, make_training_data

from kgrec.models.cold_items import ColdItem, ColdItems, with_rows
from kgrec.models.scorer import TrainingData
from kgrec.models.tower_inputs import assemble, standardised
from kgrec.models.towers import TowersScorer, _take_weights
from kgrec.models.towers_config import TowersConfig

CONFIG = TowersConfig(embedding_dim=16, steps=20, users_per_step=50)
MAKER, TOPIC = NUM_ITEMS + 3, NUM_ITEMS + NUM_MAKERS


@pytest.fixture(scope="module", params=["scaled", "attention", "basis"])
def towers(request: pytest.FixtureRequest) -> TowersScorer:
    config = CONFIG.model_copy(update={"graph_rule": request.param, "link_weight": 0.1})
    return TowersScorer(config).fit(make_training_data())


def cold(entities: list[int]) -> ColdItem:
    numeric = standardised([np.append(np.arange(1960, 2020.0), np.nan).astype("f4")], 61)[-1]
    relation = [2 + (entity >= TOPIC) for entity in entities]  # two relations, backwards
    return ColdItem(
        text=np.zeros(0, dtype=np.float32),
        numeric=numeric.numpy(),
        relation=np.array(relation, dtype=np.int64),
        entity=np.array(entities, dtype=np.int64),
    )


def maker_of(towers: TowersScorer) -> ColdItems:
    train = make_training_data()
    numeric = standardised(train.dataset.items.numeric.values(), NUM_ITEMS).numpy()
    warm = np.zeros(NUM_ITEMS, dtype=bool)
    warm[train.interactions.item_idx] = True
    text = np.zeros((NUM_ITEMS, 0), dtype=np.float32)
    return ColdItems(towers, train.graph, text, numeric, warm)


def with_item(train: TrainingData, entities: list[int]) -> TrainingData:
    """The same data with one more item, the last, that touches these entities."""
    graph, items = train.graph, train.dataset.items
    node = graph.num_entities
    graph = replace(
        graph,
        entity_ids=np.append(graph.entity_ids, "item:new"),
        entity_types=np.append(graph.entity_types, "item"),
        entity_names=np.append(graph.entity_names, "New"),
        head=np.append(graph.head, [node] * len(entities)),
        relation=np.append(graph.relation, [int(entity >= TOPIC) for entity in entities]),
        tail=np.append(graph.tail, entities),
        item_entity=np.append(graph.item_entity, node),
    )
    items = replace(
        items,
        ids=np.append(items.ids, "new"),
        titles=np.append(items.titles, "New"),
        texts=np.append(items.texts, ""),
        numeric={"year": np.append(items.numeric["year"], np.float32(np.nan))},
    )
    dataset = replace(train.dataset, items=items, graph=graph)
    return TrainingData(dataset, train.interactions, graph, seed=train.seed)


@pytest.mark.parametrize("entities", [[MAKER, TOPIC], [MAKER], [TOPIC]])
def test_vectors_are_those_of_the_whole_graph(towers: TowersScorer, entities: list[int]) -> None:
    train = with_item(make_training_data(), entities)
    assembly = assemble(train, towers.config)
    _take_weights(assembly, train, towers._state)
    vectors, bias = assembly.model.eval().all_items()
    found = torch.from_numpy(maker_of(towers).vectors([cold(entities)])[0])
    assert float(vectors[-1] @ found[:-1]) > 0.97  # but for what it tells its neighbours
    assert float(found[:-1].norm()) == pytest.approx(1.0, abs=1e-5)
    assert float(bias[-1]) == pytest.approx(float(found[-1]), abs=0.3)
    others = vectors[:-1] @ found[:-1]
    assert int(others.argmax()) in range(15)  # its topic's


def test_an_item_that_nothing_is_known_of_has_a_finite_vector(towers: TowersScorer) -> None:
    alone = maker_of(towers).vectors([cold([]), cold([10**6])])
    assert np.isfinite(alone).all()
    np.testing.assert_array_equal(alone[0], alone[1])


def test_wider_towers_keep_the_old_scores(towers: TowersScorer) -> None:
    from kgrec.data.histories import HistoryBatch

    rows = maker_of(towers).vectors([cold([MAKER]), cold([TOPIC])])
    wider = with_rows(towers, rows)
    history = HistoryBatch.from_interactions(make_training_data().interactions, np.arange(5))
    scores = wider.scores(history)
    assert scores.shape == (5, NUM_ITEMS + 2)
    np.testing.assert_allclose(scores[:, :NUM_ITEMS], towers.scores(history), atol=1e-5)
    assert towers.item_vectors().shape[0] == NUM_ITEMS
