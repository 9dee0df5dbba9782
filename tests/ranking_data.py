"""Made-up data with two tastes for tests of retrieval and ranking: times, texts, a graph."""

from __future__ import annotations

import numpy as np

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.cross_network import CrossNetworkConfig
from kgrec.ranking.windows import WindowConfig
from kgrec.retrieval.candidates import CandidateConfig
from kgrec.retrieval.sources import ContentRidge, KgNeighbours, TextSimilarity

COLD = 4


def make_graph(num_items: int) -> KnowledgeGraph:
    """Return a graph in which items of one taste share makers, and all share a country."""
    items = np.arange(num_items)
    makers = num_items + 2 * (items // 6 % 4) + items % 2
    country = np.full(num_items, num_items + 8)
    names = np.array([f"e{index}" for index in range(num_items + 9)], dtype=object)
    types = np.array(["item"] * num_items + ["maker"] * 8 + ["country"], dtype=object)
    return KnowledgeGraph(
        entity_ids=names,
        entity_types=types,
        entity_names=names,
        relations=("made_by", "made_in"),
        phrases=("was made by", "was made in"),
        head=np.concatenate([items, items]),
        relation=np.repeat([0, 1], num_items),
        tail=np.concatenate([makers, country]),
        item_entity=items,
    )


def make_train(
    num_users: int = 70, num_items: int = 60, events: int = 20, seed: int = 0, has_time: bool = True
) -> TrainingData:
    """Return train events of two tastes; the last COLD items have none."""
    rng = np.random.default_rng(seed)
    warm = num_items - COLD
    popularity = 1.0 / (1.0 + np.arange(warm) // 2) ** 0.5
    columns: list[list[int]] = [[], [], [], []]
    for user in range(num_users):
        weight = popularity * np.where(np.arange(warm) % 2 == user % 2, 8.0, 1.0)
        chosen = rng.choice(warm, size=events, replace=False, p=weight / weight.sum())
        rating = np.where(chosen % 2 == user % 2, rng.integers(3, 6, events), 2)
        times = 10_000_000 + np.sort(rng.integers(0, 400 * 86_400, events))
        parts = ([user] * events, chosen, rating, times if has_time else np.zeros(events))
        for column, part in zip(columns, parts, strict=True):
            column.extend(int(value) for value in part)
    value = np.array(columns[2], dtype=np.float32)
    interactions = Interactions(
        np.array(columns[0]), np.array(columns[1]), value, np.array(columns[3]), value >= 4
    ).sorted(seed)
    taste = ("sea", "city")
    return TrainingData(
        Dataset(
            name="made-up",
            snapshot_id="made-up-1",
            items=Items(
                ids=np.array([f"i{item}" for item in range(num_items)], dtype=object),
                titles=np.array([f"Item {item}" for item in range(num_items)], dtype=object),
                texts=np.array(
                    [
                        f"a {taste[item % 2]} story with {taste[item % 2]} folk, tale{item % 5}"
                        for item in range(num_items)
                    ],
                    dtype=object,
                ),
                numeric={"year": np.linspace(1980, 2020, num_items).astype(np.float32)},
            ),
            users=Users(
                ids=np.array([f"u{user}" for user in range(num_users)], dtype=object),
                profile_texts=np.array([""] * num_users, dtype=object),
                attributes={
                    "club": np.array([taste[user % 2] for user in range(num_users)], dtype=object)
                },
                numeric={"age": np.linspace(18, 70, num_users).astype(np.float32)},
            ),
            graph=make_graph(num_items).ablated("off", 0),
            interactions=interactions.take(np.arange(0)),
            has_time=has_time,
            details={},
        ),
        interactions,
        make_graph(num_items),
        seed=3,
    )


def make_sources() -> dict[str, Scorer]:
    """Return new, unfitted sources."""
    return {
        "popularity": make_baseline("popularity"),
        "ease": make_baseline("ease", {"ridge": 20.0}),
        "transitions": make_baseline("transitions"),
        "text_similarity": TextSimilarity(),
        "kg_neighbours": KgNeighbours(),
        "content_ridge": ContentRidge(),
    }


def small_config(**changes: object) -> PipelineConfig:
    """Return a configuration that trains in a second; changes replace whole fields."""
    fields: dict[str, object] = {
        "candidates": CandidateConfig(depth=12, cold_depth=3),
        "windows": WindowConfig(count=2, label_share=0.25, hidden_folds=8, cold_folds=0),
        "rankers": ("cross_network",),
        "cross_network": CrossNetworkConfig(max_epochs=6, hidden=(8,), lists_per_batch=8),
        "negatives": 12,
    }
    return PipelineConfig.model_validate(fields | changes)


def histories_of(train: TrainingData, users: list[int]) -> HistoryBatch:
    """Return the train histories of chosen users."""
    return HistoryBatch.from_interactions(train.interactions, np.array(users, dtype=np.int64))
