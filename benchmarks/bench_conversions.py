"""Clicks and conversions on GENERATED impressions: the entire-space model against clicks alone.

    OMP_NUM_THREADS=1 python benchmarks/bench_conversions.py \
        --json benchmarks/results/conversions.json

No data set at hand has conversions, so the impressions are made (tests/made_impressions.py), with
known probabilities; what is measured is the distance from them. Means of several seeds, which draw
other impressions and other weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.ranking.multitask import MultiTaskConfig, MultiTaskRanker

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from made_impressions import MadeImpressions, made_impressions

SHARED = {"shared bottom": (1, 0), "MMoE, 3 experts": (3, 0), "PLE, 2 + 1 experts": (2, 1)}
TRAINING = {"max_epochs": 20, "patience": 4, "learning_rate": 5e-3, "lists_per_batch": 16}
REGULAR = {"dropout": 0.3, "weight_decay": 0.5}  # what several experts need here


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lists", type=int, default=800)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    models: dict[str, list[dict[str, float]]] = {}
    for seed in range(given.seeds):
        for name, found in of_seed(seed, given.lists).items():
            models.setdefault(name, []).append(found)
            print(f"seed {seed} {name}: {found}", flush=True)
    record = {
        "generated": True,
        "seeds": given.seeds,
        "impressions": 40 * given.lists,
        "truth": models.pop("truth")[0],
        "models": {
            name: {key: float(np.mean([one[key] for one in found])) for key in found[0]}
            for name, found in models.items()
        },
        "machine": machine(),
        "versions": versions(),
        "commit": git_commit(),
    }
    text = json.dumps(record, indent=1)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")


def of_seed(seed: int, lists: int) -> dict[str, dict[str, float]]:
    """Return what one draw gives: model -> measures."""
    train, val, test = (
        made_impressions(count, seed + start)
        for count, start in ((lists, 0), (lists // 4, 100), (lists // 4, 200))
    )
    clicked = test.rows.label > 0
    found = {
        "truth": {
            "click": float(test.click.mean()),
            "conversion": float(test.conversion.mean()),
            "conversion_of_clicked": float(test.conversion[clicked].mean()),
        }
    }
    alone = MultiTaskConfig.model_validate(
        TRAINING
        | {"learned_on": "clicks", "click_weight": 0.0, "lists_per_batch": 50, "seed": seed}
    )
    found["clicks alone"] = measured(MultiTaskRanker(alone), train, val, test, clicks_alone=True)
    for sharing, (shared, own) in SHARED.items():
        for learned_on, words in (("clicks", "conversions of clicked"), ("impressions", "ESMM")):
            settings: dict[str, Any] = {**TRAINING, "shared_experts": shared, "own_experts": own}
            settings |= {} if shared == 1 else REGULAR
            config = MultiTaskConfig.model_validate(
                {**settings, "learned_on": learned_on, "seed": seed}
            )
            found[f"{sharing}, {words}"] = measured(MultiTaskRanker(config), train, val, test)
    return found


def measured(
    ranker: MultiTaskRanker,
    train: MadeImpressions,
    val: MadeImpressions,
    test: MadeImpressions,
    clicks_alone: bool = False,
) -> dict[str, float]:
    """Return the mean distance from the true probabilities, and the mean of what is foretold."""
    start = time.process_time()
    if clicks_alone:
        ranker.fit(*(made.rows.take_rows(made.rows.label > 0) for made in (train, val)))
    else:
        ranker.fit(train.rows, val.rows)
    fit_s = time.process_time() - start
    found = ranker.probabilities(test.rows.values)
    return {
        "conversion_error": float(np.abs(found.conversion - test.conversion).mean()),
        "conversion_mean": float(found.conversion.mean()),
        "correlation": float(np.corrcoef(found.conversion, test.conversion)[0, 1]),
        "fit_cpu_s": fit_s,
    }


if __name__ == "__main__":
    main()
