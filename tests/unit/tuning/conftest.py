"""A split of made-up data and a small search space."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import Interactions
from kgrec.data.splits import Split, make_split
from kgrec.tuning import SearchSpace

NUM_USERS, NUM_ITEMS = 40, 30


def _names(prefix: str, count: int) -> np.ndarray:
    return np.array([f"{prefix}{n}" for n in range(count)], dtype=object)


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(2)
    user = np.repeat(np.arange(NUM_USERS), 15)
    item = np.concatenate(
        [rng.permutation(NUM_ITEMS // 2)[:15] + 15 * (u % 2) for u in range(NUM_USERS)]
    )
    value = rng.integers(2, 6, len(user)).astype(np.float32)
    none = np.empty(0, dtype=np.int64)
    dataset = Dataset(
        name="made-up",
        snapshot_id="made-up-1",
        items=Items(_names("i", NUM_ITEMS), _names("t", NUM_ITEMS), _names("", NUM_ITEMS), {}),
        users=Users(_names("u", NUM_USERS), _names("", NUM_USERS), {}, {}),
        graph=KnowledgeGraph(
            _names("e", NUM_ITEMS),
            _names("item", NUM_ITEMS),
            _names("n", NUM_ITEMS),
            (),
            (),
            none,
            none,
            none,
            np.arange(NUM_ITEMS),
        ),
        interactions=Interactions(
            user.astype(np.int64),
            item.astype(np.int64),
            value,
            np.arange(len(user), dtype=np.int64) + 1,
            value >= 3,
        ).sorted(0),
        has_time=True,
        details={},
    )
    return make_split(dataset, "per_user_time", seed=0)


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace.model_validate(
        {
            "model": "ease",
            "search": {
                "ridge": {"low": 0.1, "high": 1000, "log": True},
                "user_exponent": {"choices": [0.0, 0.5]},
                "history_half_life_events": {"choices": [None, 5, 20]},
            },
            "start": {"ridge": 100, "user_exponent": 0.0, "history_half_life_events": None},
        }
    )
