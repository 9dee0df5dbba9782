"""Compares the towers' graph rules and their link loss, on validation; no test is opened.

    python benchmarks/bench_graph_rules.py --config lastfm --data FOLDER [--seeds 3] [--json FILE]

With --compare neighbours it compares steps over the whole graph with steps over drawn parts of it;
with --compare contents, what the item tower reads and how it joins that, best with --split
cold_items as well; with --compare losses, what the towers learn from. Teachers have the settings of
the data set's records; "itself" is the teacher in the towers' place.

Each variant is trained by train alone with the settings of the run's towers, validation choosing
the number of steps. Differences are paired over users, each user's mean over the seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np

from kgrec.config import load_run_config
from kgrec.data.graph import GraphMode
from kgrec.data.splits import Split
from kgrec.data.splits.config import SplitName
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.records import load_record
from kgrec.evaluation.statistics import mean_over_seeds, paired_test
from kgrec.jobs.prepare import prepare
from kgrec.jobs.workspace import Workspace
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import TrainingData
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig

ROOT = Path(__file__).resolve().parent.parent
Variants = dict[str, tuple[GraphMode, dict[str, Any]]]
Measured = tuple[dict[str, Any], float, int]
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
CONTENTS: Variants = {
    "as it is": ("on", {}),
    "entity names": ("on", {"entity_names": True}),
    "attention": ("on", {"fusion": "attention"}),
    "modality dropout": ("on", {"modality_dropout": 0.2}),
    "all three": (
        "on",
        {"entity_names": True, "fusion": "attention", "modality_dropout": 0.2},
    ),
}
ITSELF = " itself"
LOSSES: Variants = {
    "likes alone": ("on", {}),
    f"ease{ITSELF}": ("on", {"teacher": "ease"}),
    f"slim_kg{ITSELF}": ("on", {"teacher": "slim_kg"}),
    f"ials{ITSELF}": ("on", {"teacher": "ials"}),
    f"transitions{ITSELF}": ("on", {"teacher": "transitions"}),
    "teacher slim_kg": ("on", {"teacher": "slim_kg"}),
    "teacher ease": ("on", {"teacher": "ease"}),
    "teacher ials": ("on", {"teacher": "ials"}),
    "teacher transitions": ("on", {"teacher": "transitions"}),
    "teacher slim_kg, weight .3": ("on", {"teacher": "slim_kg", "teacher_weight": 0.3}),
    "teacher ials, weight .3": ("on", {"teacher": "ials", "teacher_weight": 0.3}),
    "teacher ease, 4 folds": ("on", {"teacher": "ease", "teacher_folds": 4}),
    "alignment": ("on", {"alignment_weight": 0.1}),
    "met": ("on", {"met_weight": 0.3}),
    "dislikes": ("on", {"dislike_weight": 0.3}),
    "slim_kg, met and dislikes": (
        "on",
        {"teacher": "slim_kg", "met_weight": 0.3, "dislike_weight": 0.3},
    ),
}
COMPARED = {"losses": LOSSES, "rules": RULES, "neighbours": NEIGHBOURS, "contents": CONTENTS}
METRICS = ("recall@10", "mrr@10", "recall@20", "ndcg@20")


def tuned(changes: dict[str, Any], config: str, split: Split) -> dict[str, Any]:
    """Return the changes with a teacher's settings as records have them: chosen on validation."""
    if "teacher" not in changes:
        return changes
    of = f"*-{split.name}-*-test-{changes['teacher']}-{split.seed}-*.json"
    found = sorted((ROOT / "benchmarks" / "records" / config).glob(of))
    return {**changes, "teacher_settings": load_record(found[0]).config["settings"]}


def itself(split: Split, config: TowersConfig, graph: GraphMode) -> Measured:
    """Return what ``measured`` returns, of the towers' teacher."""
    train = training(split, graph, split.seed)
    task = split.validation()[split.primary_slice]
    started = time.process_time()
    teacher = make_baseline(str(config.teacher), config.teacher_settings).fit(train)
    took = time.process_time() - started
    found = evaluate(teacher, task, (10, 20), num_items=train.num_items, seed=split.seed)
    return {name: found.metrics[name] for name in METRICS}, took, 0


def training(split: Split, graph: GraphMode, seed: int) -> TrainingData:
    """Return what a variant learns from."""
    return TrainingData(
        split.visible_dataset("train", graph, split.seed),
        split.interactions("train"),
        split.graph(graph, split.seed),
        seed,
    )


def measured(split: Split, config: TowersConfig, graph: GraphMode, seed: int) -> Measured:
    """Return the values of each user by metric, CPU seconds of the fit, and the steps it took."""
    train = training(split, graph, seed)
    task = split.validation()[split.primary_slice]
    started = time.process_time()
    towers = TowersScorer(config).fit(train, task)
    took = time.process_time() - started
    found = evaluate(towers, task, (10, 20), num_items=train.num_items, seed=split.seed)
    return {name: found.metrics[name] for name in METRICS}, took, towers.best_steps


def keep(options: argparse.Namespace, board: dict[str, Any]) -> None:
    """Write the board, as far as it is, into the record; a stopped comparison loses one variant."""
    if options.json is None:
        return
    kept = json.loads(options.json.read_text()) if options.json.is_file() else {}
    name = options.config if options.split is None else f"{options.config} {options.split}"
    options.json.write_text(json.dumps({**kept, name: board}, indent=1) + "\n")


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="lastfm", help="A configuration of configs/bench.")
    parser.add_argument("--data", type=Path, help="Folder of its tables; left out: fetched.")
    parser.add_argument("--compare", choices=tuple(COMPARED), default="rules")
    parser.add_argument("--split", choices=get_args(SplitName), help="Default: the run's own.")
    parser.add_argument("--steps", type=int, help="Training steps at most; default the run's.")
    parser.add_argument("--only", nargs="+", help="Variants; the first one is there anyway.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "bench-graph-rules")
    parser.add_argument("--json", type=Path, help="The record; boards in it stay beside this one.")
    options = parser.parse_args()
    config = load_run_config(ROOT / "configs" / "bench" / f"{options.config}.yaml")
    config = config.model_copy(update={"data": options.data, "store": "none"})
    workspace = Workspace(options.work / options.config)
    workspace.prepare()
    prepared = prepare(config, workspace, lambda step, share: None)
    split = prepared.split(config.split_config(options.split or config.split))
    towers = config.towers.model_copy(update={"text_model": prepared.encoder, "threads": 1})
    if options.steps is not None:
        towers = towers.model_copy(update={"steps": options.steps})
    values: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Any]] = {}
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
    variants = COMPARED[options.compare]
    first = next(iter(variants))
    for label, (graph, changes) in variants.items():
        if options.only is not None and label not in (first, *options.only):
            continue
        changed = towers.model_copy(update=tuned(changes, options.config, split))
        if label.endswith(ITSELF):
            found = [itself(split, changed, graph)]
        else:
            found = [measured(split, changed, graph, seed) for seed in range(options.seeds)]
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
        keep(options, board)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
