"""Towers of a night: trained anew, or from last night's weights in fewer steps.

    python benchmarks/bench_warm_start.py --json benchmarks/results/bench_warm_start.json

Last night learned from all but the newest 6 % of the public demo's events, tonight from all but the
newest 5 %; both kinds are asked about those. They take turns for each seed, and CPU time is what
counts, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from kgrec.config import RunConfig
from kgrec.data.splits import SplitConfig, make_split
from kgrec.evaluation.environment import git_commit
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.ledger import TestLedger
from kgrec.evaluation.statistics import paired_test
from kgrec.jobs.prepare import prepare
from kgrec.jobs.workspace import Workspace
from kgrec.models.scorer import TrainingData
from kgrec.models.towers import TowersScorer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--warm-steps", type=int, nargs="*", default=[20, 60, 100])
    parser.add_argument("--warm-rates", type=float, nargs="*", default=[5e-3])
    parser.add_argument("--encoder", default="demo")
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(arguments, Path(folder))
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


def measured(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Return NDCG@20 and CPU seconds of every way, for each seed."""
    config = RunConfig(dataset=arguments.dataset, data=arguments.data, encoder=arguments.encoder,
                       store="none")  # fmt: skip
    prepared = prepare(config, Workspace(folder), lambda step, share: None)
    dataset = prepared.dataset
    towers = config.towers.model_copy(
        update={"text_model": prepared.encoder, "steps": arguments.steps}
    )
    parts = {}
    for name, fraction in (("last night", 0.06), ("tonight", 0.05)):
        settings = SplitConfig(name="global_time", test_fraction=fraction)
        parts[name] = make_split(dataset, settings)
    ledger = TestLedger(folder / "ledger.jsonl")
    split = parts["tonight"]
    task = split.open_test(ledger, model="bench", config_hash="warm-start")[split.primary_slice]
    runs: dict[str, list[dict[str, float]]] = {}
    users: dict[str, list[np.ndarray]] = {}
    for seed in range(arguments.seeds):
        data = {
            name: TrainingData(
                part.visible_dataset("train+val"),
                part.interactions("train+val"),
                part.graph(),
                seed,
            )
            for name, part in parts.items()
        }
        earlier = TowersScorer(towers).fit(data["last night"])
        ways = {"cold": (towers, None), "last night's, untouched": None} | {
            f"warm, {steps} steps at {rate}": (
                towers.model_copy(update={"warm_start_steps": steps, "learning_rate": rate}),
                earlier,
            )
            for steps in arguments.warm_steps
            for rate in arguments.warm_rates
        }  # fmt: skip
        for name, way in ways.items():
            start = time.process_time()
            scorer = earlier
            if way is not None:
                tonight = replace(data["tonight"], seed=seed)
                scorer = TowersScorer(way[0]).fit(tonight, warm_start=way[1])
            cpu_s = time.process_time() - start
            each = evaluate(scorer, task, (20,), num_items=dataset.num_items).metrics["ndcg@20"]
            runs.setdefault(name, []).append({"ndcg@20": float(each.mean()), "cpu_s": cpu_s})
            users.setdefault(name, []).append(each)
    cold = np.mean(users["cold"], axis=0)
    ways_found = {}
    for name, rows in runs.items():
        test = paired_test(np.mean(users[name], axis=0), cold) if name != "cold" else None
        ways_found[name] = {
            "ndcg@20": [round(row["ndcg@20"], 5) for row in rows],
            "mean ndcg@20": round(float(np.mean([row["ndcg@20"] for row in rows])), 5),
            "mean cpu_s": round(float(np.mean([row["cpu_s"] for row in rows])), 2),
            "relative to cold": None if test is None else round(float(test.relative), 4),
            "p": None if test is None else round(float(test.p_bootstrap), 4),
        }
    return {
        "dataset": dataset.name,
        "users": len(task),
        "new events": len(parts["tonight"].interactions("train+val"))
        - len(parts["last night"].interactions("train+val")),
        "steps": arguments.steps,
        "ways": ways_found,
        "versions": {name: version(name) for name in ("torch", "numpy")},
        "machine": {"cpu": platform.processor() or platform.machine(), "os": platform.system()},
        "commit": git_commit(),
    }


if __name__ == "__main__":
    main()
