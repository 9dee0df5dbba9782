"""Small made-up data and a small scorer for the tests of artifacts and serving.

Sixty items of twenty makers and four topics; users of one topic like most of what two or three of
its makers made. A maker has three items (specific), a topic fifteen (generic). Item "item-59" has
no events, users "loner" none and "critic" only low ratings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file

from kgrec.artifact import ArtifactDetails, publish, save_artifact
from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, Interactions
from kgrec.models.scorer import Scorer, TrainingData

NUM_ITEMS, NUM_MAKERS, NUM_TOPICS, NUM_USERS = 60, 20, 4, 160
COLD = NUM_ITEMS - 1
LONER, CRITIC = NUM_USERS - 2, NUM_USERS - 1


class SmallEase(Scorer):
    """EASE without settings: a real model in ten lines, served in place of the pipeline."""

    name = "small_ease"

    def __init__(self, weights: FloatArray | None = None) -> None:
        self.weights = weights

    def fit(self, train: TrainingData) -> Self:
        likes = train.interactions.positives().matrix(train.num_users, train.num_items)
        inverse = np.linalg.inv((likes.T @ likes).toarray() + 20.0 * np.eye(train.num_items))
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        self.weights = weights.astype(np.float32)
        return self

    def scores(self, histories: HistoryBatch) -> FloatArray:
        assert self.weights is not None
        return np.asarray(histories.matrix(len(self.weights)) @ self.weights, dtype=np.float32)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        assert self.weights is not None
        save_file({"weights": self.weights}, folder / "weights.safetensors")
        (folder / "config.json").write_text("{}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(load_file(folder / "weights.safetensors")["weights"])


class VectorEase(SmallEase):
    """The same with vectors, for look-ups and similarity."""

    name = "vector_ease"

    @property
    def item_vectors(self) -> FloatArray:
        assert self.weights is not None
        return self.weights

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        return self.scores(histories)


SCORERS: dict[str, type[Scorer]] = {"small_ease": SmallEase, "vector_ease": VectorEase}


def strings(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=object)


def make_graph() -> KnowledgeGraph:
    items = np.arange(NUM_ITEMS)
    makers = NUM_ITEMS + items // 3
    topics = NUM_ITEMS + NUM_MAKERS + items // 15
    names = [f"Item {i}" for i in items]
    names += [f"Maker {m}" for m in range(NUM_MAKERS)] + [f"Topic {t}" for t in range(NUM_TOPICS)]
    kinds = ["item"] * NUM_ITEMS + ["maker"] * NUM_MAKERS + ["topic"] * NUM_TOPICS
    return KnowledgeGraph(
        entity_ids=strings([f"{k}:{n}" for k, n in zip(kinds, names, strict=True)]),
        entity_types=strings(kinds),
        entity_names=strings(names),
        relations=("made_by", "about"),
        phrases=("was made by", "is about"),
        head=np.concatenate([items, items]).astype(np.int64),
        relation=np.repeat([0, 1], NUM_ITEMS).astype(np.int64),
        tail=np.concatenate([makers, topics]).astype(np.int64),
        item_entity=items.astype(np.int64),
    )


def make_interactions(seed: int = 0) -> Interactions:
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, float]] = []
    for user in range(NUM_USERS - 2):
        topic = user % NUM_TOPICS
        makers = 5 * topic + rng.choice(5, size=3, replace=False)
        pool = np.concatenate([3 * makers, 3 * makers + 1, 3 * makers + 2])
        liked = rng.choice(pool[pool != COLD], size=6, replace=False)
        other = rng.choice(np.setdiff1d(np.arange(COLD), pool), size=2, replace=False)
        rows += [(user, int(item), float(rng.choice([4.0, 5.0]))) for item in liked]
        rows += [(user, int(other[0]), 4.0), (user, int(other[1]), 2.0)]
    rows += [(CRITIC, 3, 1.0), (CRITIC, 7, 2.0)]
    user_idx, item_idx, value = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions(
        user_idx=user_idx.astype(np.int64),
        item_idx=item_idx.astype(np.int64),
        value=value.astype(np.float32),
        timestamp=(1_000_000_000 + 60 * rng.permutation(len(rows))).astype(np.int64),
        positive=value >= 4.0,
    ).sorted(0)


def make_training_data() -> TrainingData:
    graph, interactions = make_graph(), make_interactions()
    users = [f"user-{u}" for u in range(NUM_USERS - 2)] + ["loner", "critic"]
    dataset = Dataset(
        name="made-up",
        snapshot_id="snapshot-made-up",
        items=Items(
            ids=strings([f"item-{i}" for i in range(NUM_ITEMS)]),
            titles=strings([f"Item {i}" for i in range(NUM_ITEMS)]),
            texts=strings([""] * NUM_ITEMS),
            numeric={"year": np.arange(1960, 1960 + NUM_ITEMS).astype(np.float32)},
        ),
        users=Users(
            ids=strings(users),
            profile_texts=strings([""] * NUM_USERS),
            attributes={"job": strings(["baker"] * NUM_USERS)},
            numeric={"age": np.full(NUM_USERS, np.nan, dtype=np.float32)},
        ),
        graph=graph,
        interactions=interactions,
        has_time=True,
        details={"licence": "made up"},
    )
    return TrainingData(dataset, interactions, graph, seed=0)


def make_artifact(
    root: Path, *, scorer: type[Scorer] = SmallEase, details: ArtifactDetails | None = None
) -> Path:
    """Train, save and publish at root / "current"; return the artifact's folder."""
    train = make_training_data()
    fitted = scorer().fit(train)  # type: ignore[call-arg]
    folder = save_artifact(root, fitted, train, details, scorers=SCORERS)
    publish(folder, root / "current")
    return folder
