"""Small made-up data for contract tests: two tastes, low ratings, times, texts and a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, cast

import numpy as np

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.models.scorer import TrainingData

COLD_ITEMS = (38, 39)
QUIET_USER = 59


class Forbidden:
    """Stands where a model may not look: reading anything of it raises."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"a model read {self._what}.{name}, which holds test-time facts")

    def __len__(self) -> NoReturn:
        raise AssertionError(f"a model took the length of {self._what}")


@dataclass(frozen=True)
class Tastes:
    """Sizes of the made-up data: users of two tastes, each with half of the items."""

    num_users: int = 60
    num_items: int = 40
    events_per_user: int = 12


def make_dataset(graph: KnowledgeGraph, num_users: int, num_items: int) -> Dataset:
    """Return a dataset whose interactions and graph may not be read."""
    taste = ["sea", "city"]
    text = [f"a story about the {taste[item % 2]}, part {item}" for item in range(num_items)]
    profile = [f"likes the {taste[user % 2]}" for user in range(num_users)]

    def strings(values: list[str]) -> Any:
        return np.array(values, dtype=object)

    return Dataset(
        name="synthetic",
        snapshot_id="synthetic-1",
        items=Items(
            ids=strings([f"i{item}" for item in range(num_items)]),
            titles=strings([f"Item {item}" for item in range(num_items)]),
            texts=strings(text),
            numeric={"year": np.linspace(1980, 2020, num_items).astype(np.float32)},
        ),
        users=Users(
            ids=strings([f"u{user}" for user in range(num_users)]),
            profile_texts=strings(profile),
            attributes={"occupation": strings([f"job{user % 3}" for user in range(num_users)])},
            numeric={"age": np.linspace(18, 70, num_users).astype(np.float32)},
        ),
        graph=cast("KnowledgeGraph", Forbidden("dataset.graph")),
        interactions=cast("Interactions", Forbidden("dataset.interactions")),
        has_time=True,
        details={},
    )


def make_graph(num_items: int, seed: int = 0) -> KnowledgeGraph:
    """Return a graph in which items of one taste share makers and a topic."""
    rng = np.random.default_rng(seed)
    makers = 8
    names = [f"Item {i}" for i in range(num_items)]
    names += [f"Maker {m}" for m in range(makers)] + ["sea", "city"]
    types = ["item"] * num_items + ["maker"] * makers + ["topic"] * 2
    items = np.arange(num_items)
    made_by = num_items + 2 * rng.integers(0, makers // 2, num_items) + items % 2
    about = num_items + makers + items % 2
    return KnowledgeGraph(
        entity_ids=np.array([f"e{i}" for i in range(len(names))], dtype=object),
        entity_types=np.array(types, dtype=object),
        entity_names=np.array(names, dtype=object),
        relations=("made_by", "about"),
        phrases=("was made by", "is about"),
        head=np.concatenate([items, items]).astype(np.int64),
        relation=np.repeat([0, 1], num_items).astype(np.int64),
        tail=np.concatenate([made_by, about]).astype(np.int64),
        item_entity=items.astype(np.int64),
    )


def make_training(seed: int = 0, sizes: Tastes | None = None) -> TrainingData:
    """Return train events of two tastes; the last two items are cold, the last user is silent."""
    sizes = sizes or Tastes()
    rng = np.random.default_rng(seed)
    users, items, values, times = [], [], [], []
    warm = sizes.num_items - len(COLD_ITEMS)
    for user in range(sizes.num_users - 1):
        liking = np.where(np.arange(warm) % 2 == user % 2, 6.0, 1.0)
        chosen = rng.choice(
            warm, size=sizes.events_per_user, replace=False, p=liking / liking.sum()
        )
        rating = np.where(chosen % 2 == user % 2, rng.integers(3, 6, len(chosen)), 2)
        users += [user] * len(chosen)
        items += chosen.tolist()
        values += rating.tolist()
        times += (1_000_000 + 1000 * user + 60 * np.arange(len(chosen))).tolist()
    value = np.array(values, dtype=np.float32)
    interactions = Interactions(
        user_idx=np.array(users, dtype=np.int64),
        item_idx=np.array(items, dtype=np.int64),
        value=value,
        timestamp=np.array(times, dtype=np.int64),
        positive=value >= 4,
    ).sorted(seed)
    graph = make_graph(sizes.num_items)
    dataset = make_dataset(graph, sizes.num_users, sizes.num_items)
    return TrainingData(dataset, interactions, graph, seed=7)


def checkerboard(size: int = 24) -> tuple[TrainingData, HistoryBatch]:
    """Return a board whose best new item is provable: user i's withheld item is item i.

    User i has every item of i's parity but item i. Nothing else of that parity is left to
    recommend, and no item of the other parity shares a user with the history.
    """
    user, item = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    held = (user % 2 == item % 2) & (user != item)
    count = int(held.sum())
    interactions = Interactions(
        user_idx=user[held].astype(np.int64),
        item_idx=item[held].astype(np.int64),
        value=np.full(count, 5.0, dtype=np.float32),
        timestamp=np.arange(count, dtype=np.int64) + 1,
        positive=np.ones(count, dtype=np.bool_),
    ).sorted(0)
    graph = make_graph(size).ablated("off", seed=0)
    training = TrainingData(make_dataset(graph, size, size), interactions, graph, seed=3)
    return training, HistoryBatch.from_interactions(interactions, np.arange(size))
