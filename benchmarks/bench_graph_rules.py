"""Compares the towers' graph rules and their link loss, on validation; no test is opened.

    python benchmarks/bench_graph_rules.py --config lastfm --data FOLDER [--seeds 3] [--json FILE]

With --compare neighbours it compares steps over the whole graph with steps over drawn parts of it.

Each variant is trained by train alone with the settings of the run's towers, validation choosing
the number of steps. Differences are paired over users, each user's mean over the seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from kgrec.config import load_run_config
from kgrec.data.graph import GraphMode
from kgrec.data.splits import Split
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.statistics import mean_over_seeds, paired_test
from kgrec.jobs.prepare import prepare
from kgrec.jobs.workspace import Workspace
from kgrec.models.scorer import TrainingData
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig

ROOT = Path(__file__).resolve().parent.parent
Variants = dict[str, tuple[GraphMode, dict[str, Any]]]
RULES: Variants = {
    "scaled": ("on", {}),
    "attention": ("on", {"graph_rule": "attention"}),
    "basis": ("on", {"graph_rule": "basis"}),
    "scaled, links foretold": ("on", {"link_weight": 0.2}),
    "scaled, graph shuffled": ("shuffled", {}),
    "no graph": ("off", {}),
}
NEIGHBOURS: Variants = {
    "whole graph": ("on", {}),
    **{
        f"{count} neighbours": ("on", {"sampled_above": 0, "neighbours": count})
        for count in (3, 5, 10)
    },
}
METRICS = ("recall@10", "mrr@10", "recall@20", "ndcg@20")


def measured(
    split: Split, config: TowersConfig, graph: GraphMode, seed: int
) -> tuple[dict[str, Any], float, int]:
    """Return the values of each user by metric, CPU seconds of the fit, and the steps it took."""
    train = TrainingData(
        split.visible_dataset("train", graph, split.seed),
        split.interactions("train"),
        split.graph(graph, split.seed),
        seed,
    )
    task = split.validation()[split.primary_slice]
    started = time.process_time()
    towers = TowersScorer(config).fit(train, task)
    took = time.process_time() - started
    found = evaluate(towers, task, (10, 20), num_items=train.num_items, seed=split.seed)
    return {name: found.metrics[name] for name in METRICS}, took, towers.best_steps


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="lastfm", help="A configuration of configs/bench.")
    parser.add_argument("--data", type=Path, help="Folder of its tables; left out: fetched.")
    parser.add_argument("--compare", choices=("rules", "neighbours"), default="rules")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "bench-graph-rules")
    parser.add_argument("--json", type=Path, help="The record; boards in it stay beside this one.")
    options = parser.parse_args()
    config = load_run_config(ROOT / "configs" / "bench" / f"{options.config}.yaml")
    config = config.model_copy(update={"data": options.data, "store": "none"})
    workspace = Workspace(options.work / options.config)
    workspace.prepare()
    prepared = prepare(config, workspace, lambda step, share: None)
    split = prepared.split(config.split_config(config.split))
    towers = config.towers.model_copy(update={"text_model": prepared.encoder, "threads": 1})
    values: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Any]] = {}
    variants = RULES if options.compare == "rules" else NEIGHBOURS
    first = next(iter(variants))
    for label, (graph, changes) in variants.items():
        found = [
            measured(split, towers.model_copy(update=changes), graph, seed)
            for seed in range(options.seeds)
        ]
        values[label] = {
            name: mean_over_seeds([one[name] for one, _, _ in found]) for name in METRICS
        }
        rows[label] = {
            **{name: float(values[label][name].mean()) for name in METRICS},
            "fit_cpu_s": round(float(np.mean([took for _, took, _ in found])), 1),
            "steps": [steps for _, _, steps in found],
        }
        against = paired_test(values[label]["ndcg@20"], values[first]["ndcg@20"])
        rows[label][f"ndcg@20 less {first}"] = {
            "mean": against.difference.value,
            "low": against.difference.low,
            "high": against.difference.high,
            "p": against.p_bootstrap,
        }
        sys.stdout.write(f"{label}: {json.dumps(rows[label])}\n")
        sys.stdout.flush()
    board = {
        "task": split.validation()[split.primary_slice].name,
        "snapshot_id": prepared.dataset.snapshot_id,
        "seeds": options.seeds,
        "towers": towers.model_dump(mode="json", exclude={"text_model"}),
        "rows": rows,
        "machine": machine(),
        "versions": versions(),
        "commit": git_commit(),
    }
    if options.json is not None:
        kept = json.loads(options.json.read_text()) if options.json.is_file() else {}
        options.json.write_text(json.dumps({**kept, options.config: board}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
