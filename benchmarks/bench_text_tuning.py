"""Item texts as they are read by an encoder: frozen, adapted to the catalogue, tuned on behaviour.

    python benchmarks/bench_text_tuning.py --snapshot RUN/graph/snapshots/current
        --encoder minilm=FOLDER --encoder bert-base=FOLDER --json FILE

A tenth of the items lose their events (split cold_items); validation asks which of those each user
likes, and the sources that read texts answer. The encoder learns from train alone. Recall@20 by
user, the same users for every way, compared with the frozen encoder of the same name in pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgrec.data.dataset import load_dataset
from kgrec.data.splits import SplitConfig, make_split
from kgrec.data.task import EvaluationTask
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.statistics import paired_test
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.text.encoder import TextEncoder
from kgrec.models.text.finetuning import RECORD, fine_tune
from kgrec.models.text.finetuning_config import FineTuningConfig
from kgrec.retrieval.sources import (
    ContentKernel,
    ContentKernelConfig,
    ContentRidge,
    ContentRidgeConfig,
    ProfileConfig,
    TextSimilarity,
)

FROZEN = "frozen"
METRIC = "recall@20"
WAYS: dict[str, dict[str, Any]] = {
    FROZEN: {},
    "last 2 layers": {"mode": "last_n"},
    "last 2 layers, likes": {"mode": "last_n", "objective": "likes"},
    "low-rank": {"mode": "lora"},
    "all layers": {"mode": "full"},
    "all layers, 1000 steps": {"mode": "full", "steps": 1000},
    "all layers, likes": {"mode": "full", "objective": "likes"},
    "all layers, half kept": {"mode": "full", "kept_share": 0.5},
    "all layers, masked words first": {"mode": "full", "adapt": "masked"},
    "all layers, titles first": {"mode": "full", "adapt": "contrastive"},
    "masked words alone": {"mode": "full", "adapt": "masked", "steps": 0},
    "titles alone": {"mode": "full", "adapt": "contrastive", "steps": 0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshot", type=Path, required=True)
    parser.add_argument("--encoder", action="append", required=True, help="NAME=FOLDER")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--ways", type=Path, help="JSON of other ways, name -> settings")
    parser.add_argument("--only", nargs="*", help="of the ways, beside the frozen one")
    parser.add_argument("--set", type=json.loads, default={}, help="JSON of settings for every way")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="no fit starts later")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    until = time.time() + arguments.budget_s
    ways = json.loads(arguments.ways.read_text()) if arguments.ways else WAYS
    ways = {name: way for name, way in ways.items() if name in (arguments.only or ways)}
    ways = {FROZEN: {}} | ways
    encoders = dict(named.split("=", 1) for named in arguments.encoder)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (str(arguments.snapshot), name, encoders[name], seed, label,
             way | arguments.set | {"device": arguments.device}, folder, until)
            for label, way in ways.items() for name in encoders for seed in arguments.seeds
        ]  # fmt: skip
        context = get_context("spawn")
        with ProcessPoolExecutor(arguments.workers, context, initializer=_one_thread) as pool:
            runs, failed = [], []
            for job, future in [(job, pool.submit(_measured, job)) for job in jobs]:
                try:
                    run = future.result()
                except Exception as error:  # one way less must not lose the others
                    failed.append(f"{job[1]}, {job[4]}, seed {job[3]}: {error}")
                    print(failed[-1], file=sys.stderr, flush=True)
                    continue
                if run is not None:
                    runs.append(run)
                    if arguments.json is not None:
                        _write(arguments.json, found(runs, arguments))
    print(json.dumps(found(runs, arguments)["ways"], indent=1))
    if failed:
        sys.exit("\n".join(failed))


def found(runs: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return means over seeds and users, and the paired comparison with the frozen encoder."""
    frozen = {(run["encoder"], run["seed"]): run["users"] for run in runs if run["way"] == FROZEN}
    rows = []
    for encoder, way in dict.fromkeys((run["encoder"], run["way"]) for run in runs):
        own = [run for run in runs if (run["encoder"], run["way"]) == (encoder, way)]
        row: dict[str, Any] = {"encoder": encoder, "way": way, "settings": own[0]["settings"]}
        row["seeds"] = [run["seed"] for run in own]
        row["fit_cpu_s"] = [round(run["fit_cpu_s"], 1) for run in own]
        row["losses"] = [run["losses"] for run in own]
        for source in own[0]["users"]:
            users = np.concatenate([run["users"][source] for run in own])
            told: dict[str, Any] = {
                "by_seed": [round(float(np.mean(run["users"][source])), 4) for run in own],
                "mean": round(float(users.mean()), 4),
            }
            pairs = [frozen.get((encoder, run["seed"])) for run in own]
            if way != FROZEN and all(pairs):
                base = np.concatenate([pair[source] for pair in pairs if pair is not None])
                test = paired_test(users, base)
                told |= {"relative": round(float(test.relative), 4)}
                told |= {"p": round(float(test.p_bootstrap), 4)}
            row[source] = told
        rows.append(row)
    return {
        "metric": f"{METRIC} among cold items, validation of the split cold_items",
        "dataset": runs[0]["dataset"] if runs else "",
        "ways": rows,
        "device": _device(arguments.device),
        "machine": machine(),
        "versions": versions(),
        "commit": git_commit(),
    }


def _measured(job: tuple[str, str, str, int, str, dict[str, Any], str, float]) -> Any:
    """Return what one way gives on one seed, None where the time is up."""
    snapshot, name, encoder, seed, label, settings, folder, until = job
    if time.time() > until:
        return None
    train, task = _asked(snapshot, seed)
    config, start = FineTuningConfig(**settings), time.process_time()
    losses: dict[str, list[float]] = {}
    if config.mode != "frozen":
        items, root = train.dataset.items, Path(folder) / f"{name}-{seed}"
        encoder = str(fine_tune(encoder, items, train.interactions, config, root))
        losses = json.loads((Path(encoder) / RECORD).read_text())["losses"]
    fit_cpu_s = time.process_time() - start
    device = "cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu"
    reading = TextEncoder(encoder, Path(folder) / "vectors", device=device)
    vectors = reading.encode([str(text) for text in train.dataset.items.texts])
    users = {source.name: _recall(source.fit(train), task) for source in _sources(vectors)}
    return {
        "dataset": train.dataset.name, "encoder": name, "seed": seed, "way": label, "users": users,
        "settings": config.model_dump(mode="json", exclude={"device", "threads", "seed"}),
        "fit_cpu_s": fit_cpu_s,
        "losses": {part: [float(np.mean(told[:10])), float(np.mean(told[-10:]))]
                   for part, told in losses.items()},
        "means": {source: round(float(np.mean(each)), 4) for source, each in users.items()},
    }  # fmt: skip


def _sources(vectors: Any) -> list[Scorer]:
    """Return the sources that read texts, as configs/bench/ml-latest-small-cold.yaml sets them."""
    ridge = ContentRidgeConfig(profile_of_behaviour=True, recent_half_life=200, dislike_weight=0.0)
    return [
        TextSimilarity(ProfileConfig(), vectors),
        ContentRidge(ridge, vectors),
        ContentKernel(ContentKernelConfig(ridge=30.0), vectors),
    ]


def _recall(source: Scorer, task: EvaluationTask) -> list[float]:
    each = evaluate(source, task, (20,), num_items=len(task.allowed)).metrics[METRIC]  # type: ignore[arg-type]
    return [round(float(value), 5) for value in each]


@cache
def _asked(snapshot: str, seed: int) -> tuple[TrainingData, EvaluationTask]:
    split = make_split(load_dataset(Path(snapshot)), SplitConfig(name="cold_items", seed=seed))
    train = TrainingData(
        split.visible_dataset("train"), split.interactions("train"), split.graph(), seed
    )
    return train, split.validation()["among_cold"]


def _one_thread() -> None:
    torch.set_num_threads(1)


def _device(name: str) -> str:
    gpu = name != "cpu" and torch.cuda.is_available()
    return torch.cuda.get_device_name() if gpu else "cpu"


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
