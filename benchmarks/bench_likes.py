"""AUC of the model of likes on MovieLens-1M's like and dislike pairs, a fifth held out at random.

    KGREC_DATA_DIR=... python benchmarks/bench_likes.py --json benchmarks/results/likes.json

Trains on four fifths of the development pairs, without content or times, and scores the rest, all
users in one order; beside it the means of items and users alone. Without KGREC_DATA_DIR it says so
and leaves the record as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.evaluation.ctr_metrics import auc, expected_calibration_error, log_loss
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.models.scorer import TrainingData
from kgrec.ranking.likes import LikeConfig, fit_likes


def blank(size: int) -> np.ndarray:
    return np.full(size, "", dtype=object)


def training(events: Interactions, users: int, items: int, seed: int) -> TrainingData:
    none = np.empty(0, dtype=np.int64)
    graph = KnowledgeGraph(
        blank(items), blank(items), blank(items), (), (), none, none, none, np.arange(items)
    )
    catalogue = Items(blank(items), blank(items), blank(items), {})
    people = Users(blank(users), blank(users), {}, {})
    dataset = Dataset("ml-1m pairs", "", catalogue, people, graph, events, False, {})
    return TrainingData(dataset, events, graph, seed)


def measured(events: Interactions, users: int, items: int, seed: int) -> dict[str, Any]:
    held = np.random.default_rng(seed).random(len(events)) < 0.2
    train, asked = training(events.take(~held), users, items, seed), events.take(held)
    start = time.process_time()
    model = fit_likes(train, LikeConfig())
    took = time.process_time() - start
    assert model is not None
    histories = HistoryBatch.from_interactions(train.interactions, np.arange(users))
    indptr = np.searchsorted(asked.user_idx, np.arange(users + 1)).astype(np.int64)
    found = model.probabilities(histories, indptr, asked.item_idx)
    known, share = train.interactions, train.interactions.positive.mean()
    means = []
    for column, own, size in (
        (known.item_idx, asked.item_idx, items),
        (known.user_idx, asked.user_idx, users),
    ):
        likes = np.bincount(column, weights=known.positive, minlength=size)
        means.append(((likes + 5 * share) / (np.bincount(column, minlength=size) + 5))[own])
    label = asked.positive
    return {
        "seed": seed,
        "pairs": len(asked),
        "auc": auc(label, found),
        "auc_item_mean": auc(label, means[0]),
        "auc_item_and_user_mean": auc(label, means[0] + means[1]),
        "log_loss": log_loss(label, found),
        "calibration_error": expected_calibration_error(label, found),
        "fit_cpu_s": took,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    folder = os.environ.get("KGREC_DATA_DIR")
    if folder is None:
        print("skipped: KGREC_DATA_DIR names no folder of data")
        return
    pairs = pl.read_parquet(Path(folder) / "ml-1m/derived/ml1m_pairs_dev.parquet").filter("in_kg")
    user = np.unique(pairs["user_id"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    item = np.unique(pairs["movie_id"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    nothing = np.full(len(user), np.nan, dtype=np.float32)
    likes = pairs["like"].to_numpy() > 0
    events = Interactions(user, item, nothing, np.zeros(len(user), np.int64), likes).sorted(0)
    runs = [measured(events, int(user.max()) + 1, int(item.max()) + 1, seed) for seed in range(3)]
    record = {"machine": machine(), "versions": versions(), "git_commit": git_commit()}
    text = json.dumps({**record, "config": LikeConfig().model_dump(), "runs": runs}, indent=1)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
