"""CPU seconds and peak memory of every baseline on made-up data, beside the library implicit.

    python benchmarks/bench_baselines.py --only itemknn --only implicit_itemknn --out bench.json

Each model runs in a process of its own, one thread, on the same file of events, so that its peak
memory is its own. Ratios to implicit are of the same run on the same machine; anything else
compares machines. EASE is left out of the default list: at 25,000 items it needs 7.5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

OURS = (
    "popularity",
    "itemknn",
    "rp3beta",
    "svd",
    "slim",
    "ials",
    "rp3_kg",
    "slim_kg",
    "transitions",
)
PEERS = {"implicit_itemknn": "itemknn", "implicit_ials": "ials"}
EXTRA = ("ease", "ease_kg")
SETTINGS: dict[str, dict[str, Any]] = {
    "itemknn": {"neighbours_per_item": 100, "shrinkage": 0.0},
    "ials": {"num_factors": 64, "num_sweeps": 5, "unobserved_weight": 1.0, "ridge_exponent": 0.0},
}
ASKED_USERS = 2_000
TOP = 100


def make_events(users: int, items: int, events: int, seed: int) -> dict[str, np.ndarray]:
    """Draw users with long-tailed activity and items with long-tailed popularity, 40 tastes."""
    rng = np.random.default_rng(seed)
    tastes = max(1, min(40, items // 40))
    activity = rng.lognormal(0, 1.1, users)
    lengths = np.clip(np.round(activity / activity.sum() * events), 3, items // 4).astype(np.int64)
    popularity = rng.lognormal(0, 1.8, items)
    taste_of_item, taste_of_user = rng.integers(0, tastes, items), rng.integers(0, tastes, users)
    everything = np.cumsum(popularity) / popularity.sum()
    inside = []
    for taste in range(tastes):
        own = np.flatnonzero(taste_of_item == taste)
        inside.append((own, np.cumsum(popularity[own]) / popularity[own].sum()))
    user_idx = np.repeat(np.arange(users), lengths)
    item_idx = np.minimum(np.searchsorted(everything, rng.random(len(user_idx))), items - 1)
    by_taste = rng.random(len(user_idx)) < 0.5
    for taste, (own, cumulated) in enumerate(inside):
        rows = np.flatnonzero(by_taste & (taste_of_user[user_idx] == taste))
        drawn = np.searchsorted(cumulated, rng.random(len(rows)))
        item_idx[rows] = own[np.minimum(drawn, len(own) - 1)]
    pairs = np.unique(user_idx * items + item_idx)
    user_idx, item_idx = pairs // items, pairs % items
    head = np.repeat(np.arange(items), 8)
    tail = items + np.minimum(rng.zipf(1.3, len(head)) - 1, 9_999)
    return {
        "user_idx": user_idx,
        "item_idx": item_idx,
        "timestamp": rng.integers(1, 100_000_000, len(user_idx)),
        "head": head,
        "tail": tail,
        "size": np.array([users, items]),
    }


def load_training(path: Path) -> Any:
    """Return the events as TrainingData; everything counts as a like."""
    from kgrec.data.dataset import Dataset, Items, Users
    from kgrec.data.graph import KnowledgeGraph
    from kgrec.data.interactions import Interactions
    from kgrec.models.scorer import TrainingData

    drawn = np.load(path)
    users, items = (int(n) for n in drawn["size"])

    def names(count: int) -> Any:
        return np.full(count, "", dtype=object)

    count = len(drawn["user_idx"])
    order = np.lexsort((drawn["timestamp"], drawn["user_idx"]))
    interactions = Interactions(
        drawn["user_idx"][order],
        drawn["item_idx"][order],
        np.ones(count, dtype=np.float32),
        drawn["timestamp"][order],
        np.ones(count, dtype=np.bool_),
    )
    entities = items + 10_000
    graph = KnowledgeGraph(
        names(entities),
        names(entities),
        names(entities),
        ("has",),
        ("has",),
        drawn["head"],
        np.zeros(len(drawn["head"]), dtype=np.int64),
        drawn["tail"],
        np.arange(items),
    )
    dataset = Dataset(
        "generated",
        "generated",
        Items(names(items), names(items), names(items), {}),
        Users(names(users), names(users), {}, {}),
        graph,
        interactions,
        True,
        {},
    )
    return TrainingData(dataset, interactions, graph)


def peak_bytes() -> int:
    """Return the largest memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what ``work`` returns, its CPU seconds and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def measure_ours(name: str, path: Path, warm: Path) -> dict[str, Any]:
    """Fit and ask one of our baselines; compilation happens on small data first."""
    from kgrec.data.histories import HistoryBatch
    from kgrec.models.baselines import make_baseline

    small = load_training(warm)
    histories = HistoryBatch.from_interactions(small.interactions, np.arange(5))
    make_baseline(name, SETTINGS.get(name)).fit(small).top(histories, 5)
    train = load_training(path)
    before = peak_bytes()
    model, cpu, wall = timed(lambda: make_baseline(name, SETTINGS.get(name)).fit(train))
    after_fit = peak_bytes()
    asked = np.arange(0, train.num_users, max(1, train.num_users // ASKED_USERS))
    histories = HistoryBatch.from_interactions(train.interactions, asked)
    batches = list(histories.batches(256))
    _, top_cpu, _ = timed(lambda: [model.top(batch, TOP) for batch in batches])
    return {
        "fit_cpu_s": cpu,
        "fit_wall_s": wall,
        "top_cpu_s": top_cpu,
        "users_asked": len(asked),
        "data_bytes": before,
        "peak_bytes_fit": after_fit,
        "peak_bytes": peak_bytes(),
    }


def measure_peer(name: str, path: Path) -> dict[str, Any]:
    """Fit and ask the same model of the library implicit, at the same settings."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import CosineRecommender

    train = load_training(path)
    before = peak_bytes()
    matrix = train.interactions.matrix(train.num_users, train.num_items)

    def fit() -> Any:
        if name == "implicit_itemknn":
            model = CosineRecommender(K=101, num_threads=1)  # it counts the item itself
        else:
            model = AlternatingLeastSquares(factors=64, iterations=5, num_threads=1, alpha=1.0)
        model.fit(matrix, show_progress=False)
        return model

    model, cpu, wall = timed(fit)
    after_fit = peak_bytes()
    asked = np.arange(0, train.num_users, max(1, train.num_users // ASKED_USERS))
    folded = {"recalculate_user": True} if name == "implicit_ials" else {}
    _, top_cpu, _ = timed(lambda: model.recommend(asked, matrix[asked], N=TOP, **folded))
    return {
        "fit_cpu_s": cpu,
        "fit_wall_s": wall,
        "top_cpu_s": top_cpu,
        "users_asked": len(asked),
        "data_bytes": before,
        "peak_bytes_fit": after_fit,
        "peak_bytes": peak_bytes(),
    }


def in_own_process(name: str, path: Path, warm: Path) -> dict[str, Any]:
    """Run one measurement in a new process with one thread."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, __file__, "--measure", name, str(path), str(warm)],
        env={**os.environ, **one},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def ratios(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return ours divided by implicit's: below 1 we are quicker or smaller."""
    found = {}
    for peer, name in PEERS.items():
        if all("fit_cpu_s" in results.get(key, {}) for key in (peer, name)):
            found[name] = {
                key: results[name][key] / results[peer][key]
                for key in ("fit_cpu_s", "top_cpu_s", "peak_bytes")
            }
    return found


def main() -> None:
    """Measure the chosen models and print, or write, one JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=25_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=[*OURS, *EXTRA, *PEERS])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, path, warm = options.measure
        run = measure_peer if name in PEERS else measure_ours
        extra = () if name in PEERS else (Path(warm),)
        sys.stdout.write(json.dumps(run(name, Path(path), *extra)) + "\n")
        return
    from kgrec.evaluation.environment import git_commit, machine, versions

    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path, warm = Path(folder) / "events.npz", Path(folder) / "warm.npz"
        drawn = make_events(options.users, options.items, options.events, options.seed)
        np.savez(path, **drawn)
        np.savez(warm, **make_events(60, 80, 900, options.seed))
        for name in options.only or [*OURS, *PEERS]:
            results[name] = in_own_process(name, path, warm)
            sys.stderr.write(f"{name} {json.dumps(results[name])}\n")
    report = {
        "users": options.users,
        "items": options.items,
        "events": len(drawn["user_idx"]),
        "top": TOP,
        "seed": options.seed,
        "settings": SETTINGS,
        "commit": git_commit(),
        "machine": machine(),
        "versions": versions(),
        "results": results,
        "ratio_to_implicit": ratios(results),
    }
    text = json.dumps(report, indent=1, sort_keys=True) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
