"""A catalogue whose words tell the taste, many words for each, beside words that tell nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, Interactions
from kgrec.data.task import EvaluationTask
from kgrec.models.scorer import TrainingData

TASTES, USERS, ITEMS, COLD_ITEMS = 4, 80, 320, 40
WORDS_PER_TASTE, LIKES = 6, 20
NOISE = [f"noise{chr(97 + number)}" for number in range(16)]


def words_of(taste: int) -> list[str]:
    """Return the words that tell a taste."""
    return [f"taste{taste}{chr(97 + number)}" for number in range(WORDS_PER_TASTE)]


def worded(seed: int = 0) -> TrainingData:
    """Return users who like one taste; the last COLD_ITEMS items have no event, only a text.

    A text holds two words of the item's taste (its number modulo TASTES) among four that tell
    nothing; the cold ones hold words that warm ones hold too. Every user likes a fifth of what the
    taste has, and dislikes five of the others.
    """
    rng = np.random.default_rng(seed)
    texts = []
    for item in range(ITEMS):
        told = rng.choice(words_of(item % TASTES), 2, replace=False)
        words = rng.permutation([*told, *rng.choice(NOISE, 4, replace=False)])
        texts.append(f"Item {item}. {' '.join(words)}")
    pairs = []
    warm = np.arange(ITEMS - COLD_ITEMS)
    for user in range(USERS):
        own = warm % TASTES == user % TASTES
        likes = rng.choice(warm[own], LIKES, replace=False)
        met = [(user, item, 1) for item in likes]
        met += [(user, item, 0) for item in rng.choice(warm[~own], 5, replace=False)]
        pairs += rng.permutation(met).tolist()
    users, items, liked = np.array(pairs, dtype=np.int64).T
    events = Interactions(
        users,
        items,
        np.where(liked, 5.0, 1.0).astype(np.float32),
        np.arange(len(users), dtype=np.int64),
        liked.astype(np.bool_),
    )
    return TrainingData(_dataset(texts, events), events, _no_graph(), seed)


def cold_task(train: TrainingData) -> EvaluationTask:
    """Return the question which cold items each user likes: all of the user's taste."""
    cold = np.arange(ITEMS - COLD_ITEMS, ITEMS)
    targets = [cold[cold % TASTES == user % TASTES] for user in range(USERS)]
    allowed = np.arange(ITEMS) >= ITEMS - COLD_ITEMS
    histories = HistoryBatch.from_interactions(train.interactions, np.arange(USERS))
    bounds = np.arange(USERS + 1) * len(targets[0])
    return EvaluationTask("worded/cold", histories, bounds, np.concatenate(targets), allowed)


def recall(scores: FloatArray, task: EvaluationTask) -> float:
    """Return the mean share of targets among as many cold items; chance gives 1 / TASTES."""
    assert task.allowed is not None
    k = COLD_ITEMS // TASTES
    top = np.argsort(-np.where(task.allowed, scores, -np.inf), axis=1)[:, :k]
    return float(np.mean([np.isin(task.targets_of(row), top[row]).mean() for row in range(USERS)]))


def make_wordy_bert(folder: Path, *, word_head: bool = False) -> Path:
    """Write a random BERT that knows the words of ``worded``, as a folder to load."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "item"]
    vocabulary += [word for taste in range(TASTES) for word in words_of(taste)]
    vocabulary += [*NOISE, *(str(number) for number in range(ITEMS))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=128, max_position_embeddings=64,
        )  # fmt: skip
        (BertForMaskedLM if word_head else BertModel)(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def _dataset(texts: list[str], events: Interactions) -> Dataset:
    def strings(values: list[str]) -> np.ndarray:
        return np.array(values, dtype=object)

    return Dataset(
        name="worded",
        snapshot_id="worded-1",
        items=Items(
            ids=strings([f"i{item}" for item in range(ITEMS)]),
            titles=strings([f"Item {item}" for item in range(ITEMS)]),
            texts=strings(texts),
            numeric={},
        ),
        users=Users(
            ids=strings([f"u{user}" for user in range(USERS)]),
            profile_texts=strings([""] * USERS),
            attributes={},
            numeric={},
        ),
        graph=_no_graph(),
        interactions=events,
        has_time=True,
        details={},
    )


def _no_graph() -> KnowledgeGraph:
    none = np.empty(0, dtype=np.int64)
    names = np.array([f"i{item}" for item in range(ITEMS)], dtype=object)
    return KnowledgeGraph(
        entity_ids=names,
        entity_types=np.full(ITEMS, "item", dtype=object),
        entity_names=names,
        relations=("is",),
        phrases=("is",),
        head=none,
        relation=none,
        tail=none,
        item_entity=np.arange(ITEMS, dtype=np.int64),
        extracted=np.empty(0, dtype=np.bool_),
    )
