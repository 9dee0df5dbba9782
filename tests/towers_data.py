"""Made-up data with planted tastes that only triples, only texts or only order can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.data.task import EvaluationTask
from kgrec.models.scorer import TrainingData

NUM_USERS, NUM_ITEMS, NUM_TASTES = 120, 80, 4
COLD = np.arange(64, 80)  # four of each taste
WORDS = ("sea", "city", "moon", "farm")


def taste_of(items: Any) -> Any:
    """Return the taste of users or items: their number modulo NUM_TASTES."""
    return np.asarray(items) % NUM_TASTES


def planted(*, texts: bool = False, triples: bool = True, seed: int = 0) -> TrainingData:
    """Return users who like one taste; the COLD items have no interaction, only content."""
    rng = np.random.default_rng(seed)
    users, items, positive = [], [], []
    for user in range(NUM_USERS):
        likes = rng.permutation(np.flatnonzero(taste_of(np.arange(64)) == taste_of(user)))[:10]
        other = rng.permutation(np.flatnonzero(taste_of(np.arange(64)) != taste_of(user)))[:3]
        chosen = rng.permutation(np.concatenate([likes, other]))
        users += [user] * len(chosen)
        items += chosen.tolist()
        positive += (taste_of(chosen) == taste_of(user)).tolist()
    stamp = 1_000_000 + 600 * np.arange(len(users), dtype=np.int64)
    interactions = Interactions(
        np.array(users, dtype=np.int64),
        np.array(items, dtype=np.int64),
        np.where(positive, 5.0, 1.0).astype(np.float32),
        stamp,
        np.array(positive, dtype=np.bool_),
    )
    return TrainingData(_dataset(texts), interactions, _graph(triples), seed=seed)


def cold_task(train: TrainingData) -> EvaluationTask:
    """Return the question which COLD items each user likes: the four of the user's taste."""
    users = np.arange(NUM_USERS)
    targets = np.concatenate([COLD[taste_of(COLD) == taste_of(user)] for user in users])
    allowed = np.zeros(NUM_ITEMS, dtype=np.bool_)
    allowed[COLD] = True
    return EvaluationTask(
        "planted/cold",
        HistoryBatch.from_interactions(train.interactions, users),
        np.arange(0, 4 * NUM_USERS + 1, 4),
        targets,
        allowed,
    )


def recall(scores: np.ndarray[Any, Any], task: EvaluationTask, k: int = 4) -> float:
    """Return mean recall@k among the allowed items; random gives k / len(COLD) = .25."""
    assert task.allowed is not None
    masked = np.where(task.allowed, scores, -np.inf)
    top = np.argsort(-masked, axis=1)[:, :k]
    hits = [np.isin(task.targets_of(row), top[row]).mean() for row in range(len(task))]
    return float(np.mean(hits))


def make_tiny_bert(folder: Path, hidden: int = 32) -> Path:
    """Write a random BERT of a few thousand weights and its tokenizer, as a folder to load."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    words = ["a", "story", "about", "the", "likes", *WORDS, *(str(n) for n in range(10))]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary), hidden_size=hidden, num_hidden_layers=1,
            num_attention_heads=2, intermediate_size=hidden, max_position_embeddings=32,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def _dataset(texts: bool) -> Dataset:
    def strings(values: list[str]) -> Any:
        return np.array(values, dtype=object)

    item_texts = [f"a story about the {WORDS[i % NUM_TASTES]}" for i in range(NUM_ITEMS)]
    return Dataset(
        name="planted",
        snapshot_id="planted-1",
        items=Items(
            ids=strings([f"i{i}" for i in range(NUM_ITEMS)]),
            titles=strings([f"Item {i}" for i in range(NUM_ITEMS)]),
            texts=strings(item_texts if texts else [""] * NUM_ITEMS),
            numeric={},
        ),
        users=Users(
            ids=strings([f"u{u}" for u in range(NUM_USERS)]),
            profile_texts=strings([f"likes the {WORDS[u % NUM_TASTES]}" for u in range(NUM_USERS)]),
            attributes={"job": strings([f"job{u % NUM_TASTES}" for u in range(NUM_USERS)])},
            numeric={"age": np.linspace(18, 70, NUM_USERS).astype(np.float32)},
        ),
        graph=cast("KnowledgeGraph", None),
        interactions=cast("Interactions", None),
        has_time=True,
        details={},
    )


def _graph(triples: bool) -> KnowledgeGraph:
    items = np.arange(NUM_ITEMS, dtype=np.int64)
    names = [f"Item {i}" for i in items] + [f"Maker {m}" for m in range(2 * NUM_TASTES)]
    maker = NUM_ITEMS + taste_of(items) + NUM_TASTES * (items // NUM_TASTES % 2)
    graph = KnowledgeGraph(
        entity_ids=np.array([f"e{i}" for i in range(len(names))], dtype=object),
        entity_types=np.array(["item"] * NUM_ITEMS + ["maker"] * 2 * NUM_TASTES, dtype=object),
        entity_names=np.array(names, dtype=object),
        relations=("made_by",),
        phrases=("was made by",),
        head=items,
        relation=np.zeros(NUM_ITEMS, dtype=np.int64),
        tail=maker.astype(np.int64),
        item_entity=items,
    )
    return graph if triples else graph.ablated("off", seed=0)
