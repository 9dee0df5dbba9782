"""Small made-up datasets, a popularity model and a careless one, for tests of the referee."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, Interactions
from kgrec.models.top_items import TopItems, top_of_scores


def strings(values: list[str]) -> Any:
    return np.array(values, dtype=object)


def dataset_of(
    rows: list[tuple[int, int, float, int]],
    num_users: int,
    num_items: int,
    *,
    like_from: float = 4.0,
    has_time: bool = True,
) -> Dataset:
    """Return a dataset from (user, item, value, time) rows."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    interactions = Interactions(
        user_idx=table[:, 0].astype(np.int64),
        item_idx=table[:, 1].astype(np.int64),
        value=table[:, 2].astype(np.float32),
        timestamp=table[:, 3].astype(np.int64) * has_time,
        positive=table[:, 2] >= like_from,
    ).sorted(0)
    topics = 3
    return Dataset(
        name="small",
        snapshot_id="snapshot-small",
        items=Items(
            ids=strings([f"i{i}" for i in range(num_items)]),
            titles=strings([f"Item {i}" for i in range(num_items)]),
            texts=strings([f"text {i}" for i in range(num_items)]),
            numeric={"year": np.arange(num_items, dtype=np.float32)},
        ),
        users=Users(
            ids=strings([f"u{u}" for u in range(num_users)]),
            profile_texts=strings([""] * num_users),
            attributes={},
            numeric={},
        ),
        graph=KnowledgeGraph(
            entity_ids=strings(
                [f"item:i{i}" for i in range(num_items)] + [f"topic:{t}" for t in range(topics)]
            ),
            entity_types=strings(["item"] * num_items + ["topic"] * topics),
            entity_names=strings(
                [f"Item {i}" for i in range(num_items)] + [f"Topic {t}" for t in range(topics)]
            ),
            relations=("about",),
            phrases=("is about",),
            head=np.arange(num_items),
            relation=np.zeros(num_items, dtype=np.int64),
            tail=num_items + np.arange(num_items) % topics,
            item_entity=np.arange(num_items),
        ),
        interactions=interactions,
        has_time=has_time,
        details={},
    )


def random_dataset(
    num_users: int = 40, num_items: int = 60, seed: int = 0, *, has_time: bool = True
) -> Dataset:
    """Return users with 5-25 events each, skewed to low item ids, many tied in time."""
    rng = np.random.default_rng(seed)
    chances = 1 / np.arange(1, num_items + 1) ** 0.7
    rows = []
    for user in range(num_users):
        count = int(rng.integers(5, 26))
        items = rng.choice(num_items, size=count, replace=False, p=chances / chances.sum())
        start = int(rng.integers(1000, 9000))
        times = start + np.sort(rng.integers(0, count, size=count)) * 10
        rows += [
            (user, int(item), float(rng.integers(1, 6)), int(at))
            for item, at in zip(items, times, strict=True)
        ]
    return dataset_of(rows, num_users, num_items, has_time=has_time)


class OpenLog:
    """Accepts every opening of test and remembers it."""

    def __init__(self) -> None:
        self.openings: list[dict[str, Any]] = []

    def record_opening(self, **opening: Any) -> None:
        self.openings.append(opening)


class Popularity:
    """Ranks items by their likes in the events it was given."""

    def __init__(self, trained: Interactions, num_items: int) -> None:
        likes = trained.positives().item_idx
        self.counts = np.bincount(likes, minlength=num_items).astype(np.float32)
        self.largest_batch = 0

    def scores(self, histories: HistoryBatch) -> FloatArray:
        self.largest_batch = max(self.largest_batch, len(histories))
        return np.tile(self.counts, (len(histories), 1))

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> TopItems:
        scores = self.scores(histories)
        if exclude_history:
            scores[histories.row_of_event, histories.item_idx] = -np.inf
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        return top_of_scores(scores, k, seed, histories.user_idx)
