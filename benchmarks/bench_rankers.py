"""All rankers on the same candidates and features: AUC, gAUC, NDCG, calibration, CPU time.

    OMP_NUM_THREADS=1 KGREC_DATA_DIR=... python benchmarks/bench_rankers.py \
        --json benchmarks/results/rankers.json

Rankers learn from two windows of train time, stop and are calibrated on a third, and are measured
on the fourth, the newest; no split's test part is opened. Torch rankers are means of several seeds.
The candidates are those of the default sources and settings, with towers of few steps; they are
kept in --folder, where the next run finds them: name another one where sources or features have
changed. MovieLens latest-small is left out where KGREC_DATA_DIR does not hold it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ranker_rows import LabelledWindows, labelled_windows

from kgrec.config import RunConfig, load_run_config
from kgrec.evaluation.ctr_metrics import auc, expected_calibration_error, gauc, log_loss
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.ranking.calibration import fit_calibration
from kgrec.ranking.cross_network import CrossNetworkConfig, CrossNetworkRanker
from kgrec.ranking.lightgbm_ranker import LightGBMConfig, LightGBMRanker
from kgrec.ranking.linear import LinearConfig, LinearRanker
from kgrec.ranking.ranker import Ranker, RankingRows, ndcg_of_lists, stack_rows
from kgrec.ranking.selection import cpu_ms
from kgrec.ranking.target_attention import TargetAttentionConfig, TargetAttentionRanker
from kgrec.ranking.torch_ranker import TorchRanker

ROOT = Path(__file__).resolve().parent.parent
DATA = {"ml-100k": None, "ml-latest-small": "ml-latest-small"}  # name -> folder of the data
BASE = "lightgbm"
STOPPING_LISTS = 400
Maker = Callable[[int], Ranker]
RANKERS: dict[str, Maker] = {
    "linear": lambda seed: LinearRanker(LinearConfig(seed=seed)),
    "mlp": lambda seed: CrossNetworkRanker(CrossNetworkConfig(cross_layers=0, seed=seed)),
    "cross_network": lambda seed: CrossNetworkRanker(CrossNetworkConfig(seed=seed)),
    "cross_network, 4 pieces": lambda seed: CrossNetworkRanker(
        CrossNetworkConfig(pieces=4, seed=seed)
    ),
    "target_attention": lambda seed: TargetAttentionRanker(TargetAttentionConfig(seed=seed)),
    "target_attention, 4 pieces": lambda seed: TargetAttentionRanker(
        TargetAttentionConfig(pieces=4, seed=seed)
    ),
    "lightgbm": lambda seed: LightGBMRanker(LightGBMConfig(threads=1, seed=seed)),
}
SUMS = (
    ("lightgbm", "linear"),
    ("lightgbm", "cross_network"),
    ("lightgbm", "cross_network, 4 pieces"),
    ("lightgbm", "target_attention"),
    ("lightgbm", "cross_network", "target_attention"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="training steps of the towers")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-rankers"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    record = json.loads(given.json.read_text()) if given.json and given.json.is_file() else {}
    for name in given.data:
        config = run_config(name, given.steps)
        if config is None:
            print(f"skipped {name}: KGREC_DATA_DIR names no folder that holds it")
            continue
        windows = labelled_windows(config, given.folder / name)
        record[name] = {
            "snapshot_id": windows.snapshot_id,
            "seeds": given.seeds,
            "tower_steps": given.steps,
            **{kind: table_of(windows, kind, given.seeds) for kind in ("warm", "cold")},
            "machine": machine(),
            "versions": versions(),
            "commit": git_commit(),
        }
        if given.json is not None:
            given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def run_config(name: str, steps: int) -> RunConfig | None:
    """Return the run whose candidates are ranked; None where its data is not at hand."""
    config = load_run_config(ROOT / "configs" / "bench" / f"{name}.yaml")
    plain = RunConfig(dataset=config.dataset)
    changes: dict[str, Any] = {
        "towers": plain.towers.model_copy(update={"steps": steps}),
        "pipeline": plain.pipeline,
        "sources": plain.sources,
        "source_settings": plain.source_settings,
    }
    folder = DATA[name]
    if folder is not None:
        data = Path(os.environ.get("KGREC_DATA_DIR", "")) / folder
        if not os.environ.get("KGREC_DATA_DIR") or not data.is_dir():
            return None
        changes["data"] = data
    return config.model_copy(update=changes)


def table_of(windows: LabelledWindows, kind: str, seeds: int) -> dict[str, Any]:
    """Return what is measured of each ranker and sum, on items with events or on those without."""
    parts: list[RankingRows] = [getattr(rows, kind) for rows in windows.rows]
    train, held, test = stack_rows(parts[:-2]), parts[-2], parts[-1]
    drawn = np.zeros(len(held.indptr) - 1, dtype=bool)
    drawn[np.random.default_rng(0).permutation(len(drawn))[:STOPPING_LISTS]] = True
    stop = held.take_rows(drawn[held.group_of_row])
    models: dict[str, list[dict[str, Any]]] = {}
    for seed in range(seeds):
        scores: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name, make in RANKERS.items():
            ranker = make(seed)
            start = time.process_time()
            ranker.fit(train, stop)
            fit_s = time.process_time() - start
            raw = [ranker.scores(rows.values, rows.behaviour) for rows in (held, test)]
            scores[name] = (raw[0] / raw[0].std(), raw[1] / raw[0].std())
            found = measured(*scores[name], held, test)
            found |= {"fit_cpu_s": fit_s, "cpu_ms": cpu_ms(ranker, test)}
            if isinstance(ranker, TorchRanker) and seed == 0:
                found["cpu_ms_onnx"] = cpu_ms(ranker.use_onnx(), test)
            models.setdefault(name, []).append(found)
            print(f"{kind} seed {seed} {name}: NDCG {found['ndcg'].mean():.4f}", flush=True)
        for parts_of in SUMS:
            summed = [
                np.sum([scores[part][place] for part in parts_of], axis=0) for place in (0, 1)
            ]
            found = measured(summed[0], summed[1], held, test)
            found["cpu_ms"] = sum(models[part][seed]["cpu_ms"] for part in parts_of)
            models.setdefault(" + ".join(parts_of), []).append(found)
    base = np.mean([found["ndcg"] for found in models[BASE]], axis=0)
    return {
        "features": len(train.names),
        "lists": {"train": len(train.indptr) - 1, "test": len(test.indptr) - 1},
        "rows": {"train": len(train), "test": len(test)},
        "positives_in_test_rows": int(test.label.sum()),
        "models": {name: summary(found, base) for name, found in models.items()},
    }


def measured(
    held_scores: np.ndarray, scores: np.ndarray, held: RankingRows, test: RankingRows
) -> dict[str, Any]:
    """Return the metrics on the last window, calibrated on the one before."""
    probability = fit_calibration(held_scores, held.label).probabilities(scores)
    label = test.label > 0
    return {
        "auc": auc(label, scores),
        "gauc": gauc(test.group_of_row, label, scores),
        "log_loss": log_loss(label, probability),
        "calibration_error": expected_calibration_error(label, probability),
        "ndcg": ndcg_of_lists(test, scores),
        "ndcg_on_the_window_before": float(ndcg_of_lists(held, held_scores).mean()),
    }


def summary(found: list[dict[str, Any]], base: np.ndarray) -> Mapping[str, Any]:
    """Return means over seeds, and the gain over LightGBM with a 95 % interval over lists."""
    ndcg = np.mean([one["ndcg"] for one in found], axis=0)
    gain = ndcg - base
    rng = np.random.default_rng(0)
    drawn = gain[rng.integers(len(gain), size=(2000, len(gain)))].mean(axis=1)
    numbers = {
        key: float(np.mean([one[key] for one in found if key in one]))
        for key in ("auc", "gauc", "log_loss", "calibration_error", "ndcg_on_the_window_before")
    }
    numbers |= {
        key: float(np.min([one[key] for one in found if key in one]))
        for key in ("cpu_ms", "cpu_ms_onnx", "fit_cpu_s")
        if any(key in one for one in found)
    }
    return {
        "ndcg": float(ndcg.mean()),
        "ndcg_of_seeds": [float(one["ndcg"].mean()) for one in found],
        "ndcg_gain": float(gain.mean()),
        "ndcg_gain_interval": [float(edge) for edge in np.percentile(drawn, [2.5, 97.5])],
        **numbers,
    }


if __name__ == "__main__":
    main()
