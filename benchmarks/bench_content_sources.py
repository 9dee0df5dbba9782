"""Measures how well sources that read content alone rank new items, on validation.

    python benchmarks/bench_content_sources.py --out FOLDER [--data FOLDER] [--json FILE] CONFIG...

Each configuration says what is prepared; its split is cold_items, whatever it says. A source learns
from the train part and ranks the items whose every event validation hides; test stays closed. The
graph is the true one, one dealt anew within each relation, or none.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from kgrec.config import load_run_config
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.evaluation.evaluator import evaluate
from kgrec.jobs.comparison import DEFAULT_SETTINGS
from kgrec.jobs.prepare import prepare
from kgrec.jobs.workspace import Workspace
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.retrieval.sources import (
    ContentKernel,
    ContentKernelConfig,
    ContentRidge,
    ContentRidgeConfig,
)

METRICS = ("recall@20", "ndcg@20")
PLAIN = {"ridge": 200.0}
WIDE = {**PLAIN, "graph_dim": 256}
KERNELS: tuple[dict[str, Any], ...] = (
    {},
    PLAIN,
    WIDE,
    {**PLAIN, "number_knots": 20},
    {**WIDE, "number_knots": 12},
    {**WIDE, "number_knots": 20},
    {**WIDE, "number_knots": 64},
    DEFAULT_SETTINGS["content_kernel"],
)


def main() -> None:
    """Print a line for each source, and write all where --json says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", type=Path, nargs="+", metavar="CONFIG")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="Tables of the configurations that need some.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    for path in options.configs:
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in range(options.seeds):
            for name, metrics in _measured(path, options.out, options.data, seed).items():
                rows.setdefault(name, []).append(metrics)
        found[path.stem] = {name: _summary(each) for name, each in rows.items()}
        for name, row in found[path.stem].items():
            print(f"{path.stem}  {name}  {row['mean']}", flush=True)
    told = {"seeds": options.seeds, "boards": found, "machine": machine()}
    told |= {"versions": versions(), "commit": git_commit()}
    if options.json is not None:
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _measured(path: Path, out: Path, data: Path | None, seed: int) -> dict[str, dict[str, float]]:
    config = load_run_config(path).model_copy(update={"seed": seed})
    if config.dataset.startswith("mapping:"):
        config = config.model_copy(update={"data": data})
    workspace = Workspace(out / path.stem)
    workspace.prepare()
    prepared = prepare(config, workspace, lambda *_: None)
    split = prepared.split(config.split_config("cold_items"))
    task, size = split.validation()["among_cold"], prepared.dataset.num_items
    rows = {}
    for graph in ("on", "shuffled", "off"):
        train = TrainingData(
            split.visible_dataset("train", graph, seed),
            split.interactions("train"),
            split.graph(graph, seed),
            seed,
        )
        for name, source in _sources(prepared.text_vectors, graph == "on"):
            metrics = evaluate(source.fit(train), task, (20,), num_items=size, seed=seed).metrics
            label = name if graph == "on" else f"{name}, graph {graph}"
            rows[label] = {metric: float(np.nanmean(metrics[metric])) for metric in METRICS}
    return rows


def _sources(vectors: Any, every: bool) -> list[tuple[str, Scorer]]:
    """Return named sources; those that the project chooses, or all that are compared."""
    chosen = DEFAULT_SETTINGS["content_kernel"]
    kernels = KERNELS if every else (chosen,)
    found: list[tuple[str, Scorer]] = [
        ("content_ridge", ContentRidge(ContentRidgeConfig(), vectors))
    ]
    for settings in kernels:
        kernel = ContentKernel(ContentKernelConfig.model_validate(settings), vectors)
        found.append((f"content_kernel {json.dumps(settings)}", kernel))
    return found


def _summary(each: list[dict[str, float]]) -> dict[str, Any]:
    table = {metric: [round(row[metric], 4) for row in each] for metric in METRICS}
    return {**table, "mean": {m: round(float(np.mean(v)), 4) for m, v in table.items()}}


if __name__ == "__main__":
    main()
