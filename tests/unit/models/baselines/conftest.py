"""A small random train set with low ratings, times and a graph, for tests against naive forms."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.models.scorer import TrainingData

NUM_USERS, NUM_ITEMS, NUM_ENTITIES = 30, 16, 6


def _names(prefix: str, count: int) -> np.ndarray:
    return np.array([f"{prefix}{n}" for n in range(count)], dtype=object)


@pytest.fixture
def train() -> TrainingData:
    """30 users, 16 items (the last without events), 6 entities beside the items."""
    rng = np.random.default_rng(5)
    user, item = np.nonzero(rng.random((NUM_USERS, NUM_ITEMS - 1)) < 0.35)
    value = rng.integers(1, 6, len(user)).astype(np.float32)
    interactions = Interactions(
        user.astype(np.int64),
        item.astype(np.int64),
        value,
        rng.integers(1, 10_000, len(user)).astype(np.int64),
        value >= 3,
    ).sorted(0)
    head, tail = np.nonzero(rng.random((NUM_ITEMS, NUM_ENTITIES)) < 0.4)
    total = NUM_ITEMS + NUM_ENTITIES
    graph = KnowledgeGraph(
        entity_ids=_names("e", total),
        entity_types=_names("t", total),
        entity_names=_names("n", total),
        relations=("has",),
        phrases=("has",),
        head=head.astype(np.int64),
        relation=np.zeros(len(head), dtype=np.int64),
        tail=(tail + NUM_ITEMS).astype(np.int64),
        item_entity=np.arange(NUM_ITEMS, dtype=np.int64),
    )
    none = np.empty(0, dtype=np.int64)
    dataset = Dataset(
        name="random",
        snapshot_id="random-1",
        items=Items(_names("i", NUM_ITEMS), _names("i", NUM_ITEMS), _names("", NUM_ITEMS), {}),
        users=Users(_names("u", NUM_USERS), _names("", NUM_USERS), {}, {}),
        graph=graph.ablated("off", 0),
        interactions=Interactions(
            none, none, none.astype(np.float32), none, cast("np.ndarray", none.astype(bool))
        ),
        has_time=True,
        details={},
    )
    return TrainingData(dataset, interactions, graph, seed=1)


@pytest.fixture
def likes(train: TrainingData) -> np.ndarray:
    """The binary user-item matrix of the likes, dense, float64."""
    matrix = train.interactions.positives().matrix(NUM_USERS, NUM_ITEMS)
    return np.asarray(matrix.toarray(), dtype=np.float64)


@pytest.fixture
def facts(train: TrainingData) -> np.ndarray:
    """The binary entity-item matrix of entities with two items or more, dense, float64."""
    matrix = train.graph.item_entity_matrix().toarray().T.astype(np.float64)
    return matrix[matrix.sum(axis=1) >= 2]


@pytest.fixture
def everyone(train: TrainingData) -> HistoryBatch:
    """The train history of every user."""
    return HistoryBatch.from_interactions(train.interactions, np.arange(NUM_USERS))
