"""AUC of the model of likes on MovieLens-1M's like and dislike pairs, a fifth held out at random.

    OMP_NUM_THREADS=1 KGREC_DATA_DIR=... python benchmarks/bench_likes.py \
        --json benchmarks/results/likes.json

Trains on four fifths of the development pairs as configs/bench/ml1m-ctr.yaml reads them and scores
the rest, all users in one order; beside it the means of items and users, and the model with less:
single terms left out, and a half and a quarter of the training pairs. ``--inner`` holds out a fifth
of those four fifths instead and tries other settings: what they are chosen on. Either part of the
record is kept where the other is made. Without KGREC_DATA_DIR it says so and leaves all as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kgrec.config import load_run_config
from kgrec.data.dataset import Dataset
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.evaluation.ctr_metrics import auc, expected_calibration_error, log_loss
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.jobs.prepare import prepare
from kgrec.jobs.workspace import Workspace
from kgrec.models.scorer import TrainingData
from kgrec.ranking.likes import TERMS, LikeConfig, LikeModel, fit_likes, logistic

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "bench" / "ml1m-ctr.yaml"
SHARES = (0.25, 0.5)
VARIANTS: dict[str, dict[str, Any]] = {
    "as configured": {},
    "without company": {"company_factors": 1},
    "factors 24": {"factors": 24},
    "two chains": {"chains": 2},
    "sharpness 8": {"sharpness": 8.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-likes"))
    given = parser.parse_args()
    root = os.environ.get("KGREC_DATA_DIR")
    if root is None:
        print("skipped: KGREC_DATA_DIR names no folder of data")
        return
    config = load_run_config(CONFIG).model_copy(update={"data": Path(root) / "ml-1m"})
    dataset = prepare(config, Workspace(given.folder), lambda step, share: None).dataset
    likes = config.pipeline.likes
    record = json.loads(given.json.read_text()) if given.json and given.json.is_file() else {}
    record |= {"machine": machine(), "versions": versions(), "git_commit": git_commit()}
    if given.inner:
        record["inner"] = {
            name: measured(dataset, changed(likes, change), 0, inner=True)
            for name, change in VARIANTS.items()
        }
    else:
        record["config"] = likes.model_dump()
        record["runs"] = [measured(dataset, likes, seed) for seed in range(given.seeds)]
        record["less_data"] = [learning(dataset, likes, share) for share in SHARES]
    text = json.dumps(record, indent=1)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


def changed(config: LikeConfig, change: dict[str, Any]) -> LikeConfig:
    """Return the settings with some changed; names of the tastes' settings go there."""
    given = config.model_dump()
    for name, value in change.items():
        (given if name in given else given["tastes"])[name] = value
    return LikeConfig.model_validate(given)


def divided(dataset: Dataset, seed: int) -> tuple[Interactions, Interactions]:
    """Return four fifths of the pairs and the fifth held out."""
    held = np.random.default_rng(seed).random(len(dataset.interactions)) < 0.2
    return dataset.interactions.take(~held), dataset.interactions.take(held)


def measured(
    dataset: Dataset, config: LikeConfig, seed: int, inner: bool = False
) -> dict[str, Any]:
    known, asked = divided(dataset, seed)
    if inner:
        held = np.random.default_rng(seed + 1000).random(len(known)) < 0.2
        known, asked = known.take(~held), known.take(held)
    model, took = fitted(dataset, known, config, seed)
    start = time.process_time()
    found = model.probabilities(*question(dataset, known, asked))
    scoring = time.process_time() - start
    label, share = asked.positive, known.positive.mean()
    means = []
    for column, own in ((known.item_idx, asked.item_idx), (known.user_idx, asked.user_idx)):
        size = int(max(column.max(), own.max())) + 1
        likes = np.bincount(column, weights=known.positive, minlength=size)
        means.append(((likes + 5 * share) / (np.bincount(column, minlength=size) + 5))[own])
    return {
        "seed": seed,
        "pairs": len(asked),
        "auc": auc(label, found),
        "auc_item_mean": auc(label, means[0]),
        "auc_item_and_user_mean": auc(label, means[0] + means[1]),
        "auc_without": without_terms(model, *question(dataset, known, asked), label),
        "log_loss": log_loss(label, found),
        "calibration_error": expected_calibration_error(label, found),
        "fit_cpu_s": took,
        "score_cpu_ms_per_1000_pairs": 1e6 * scoring / len(asked),
    }


def without_terms(
    model: LikeModel,
    histories: HistoryBatch,
    indptr: np.ndarray,
    items: np.ndarray,
    label: np.ndarray,
) -> dict[str, float]:
    """Return the AUC with terms left out, the others weighed anew on the asked pairs themselves.

    Compare with "nothing" left out, weighed where it is measured too.
    """
    columns = model.terms(histories, indptr, items)
    left_out: dict[str, Callable[[str], bool]] = {
        "nothing": lambda name: False,
        "near": lambda name: name.startswith("near"),
        "taste": lambda name: name == "taste",
        "near, taste": lambda name: name.startswith("near") or name == "taste",
    }
    found = {}
    for words, out in left_out.items():
        rest = columns[:, [not out(name) for name in TERMS]]
        weights, _ = logistic(rest, label.astype(np.float64))
        found[words] = auc(label, rest @ weights[:-1])
    return found


def learning(dataset: Dataset, config: LikeConfig, share: float) -> dict[str, float]:
    """Return the AUC on seed 0's fifth, learned from a share of the other four fifths."""
    known, asked = divided(dataset, 0)
    known = known.take(np.random.default_rng(7).random(len(known)) < share)
    model, _ = fitted(dataset, known, config, 0)
    found = model.probabilities(*question(dataset, known, asked))
    return {"share": share, "pairs": len(known), "auc": auc(asked.positive, found)}


def fitted(
    dataset: Dataset, known: Interactions, config: LikeConfig, seed: int
) -> tuple[LikeModel, float]:
    start = time.process_time()
    model = fit_likes(TrainingData(dataset, known, dataset.graph, seed), config)
    assert model is not None
    return model, time.process_time() - start


def question(
    dataset: Dataset, known: Interactions, asked: Interactions
) -> tuple[HistoryBatch, np.ndarray, np.ndarray]:
    users = np.arange(dataset.num_users)
    indptr = np.searchsorted(asked.user_idx, np.arange(dataset.num_users + 1)).astype(np.int64)
    return HistoryBatch.from_interactions(known, users), indptr, asked.item_idx


if __name__ == "__main__":
    main()
