"""One recommendation in one process and one thread, against the bare search and the bare ranker.

    OMP_NUM_THREADS=1 python benchmarks/bench_recommend.py --items 100000 \
        --json benchmarks/results/recommend.json

Makes a catalogue (made_catalogue.py), trains three sources (towers behind a FAISS index, sparse
item-item rows, walks over the graph) and the pipeline's ranker on it, and publishes the artifact in
--folder, where the next run finds it. Training is short: what counts is the time of answers, and
they do not depend on how good the weights are. A catalogue too large for that is planted over the
rankers of a smaller artifact (planted_artifact.py). Nothing is cached between answers; each is for
another user with 50 events. Of about 500 candidates the preselection leaves 200 to the ranker.
Beside it stand its bare parts: the index search, and the ranker on 200 rows of ready features, as
its libraries predict and as the pipeline does it. On a shared machine CPU time is what compares,
and the ratios of one run. Results of several sizes stand in one file, by number of items.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from made_catalogue import make_training_data
from planted_artifact import planted_artifact

from kgrec import Recommender
from kgrec.artifact import ArtifactDetails, save_artifact
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.lightgbm_ranker import LightGBMRanker
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.selection import ChosenRanker
from kgrec.ranking.torch_ranker import TorchRanker
from kgrec.retrieval.index import IndexConfig

LENGTH = 50
MOST_TRAINED = 200_000  # a larger catalogue is planted over
BASE = (100_000, 20_000)  # items and users that are trained on
CANDIDATES = {"depth": 166, "cold_depth": 25}  # about 500 from three sources


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, help="default: a fifth of the items, 60,000 at most")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-recommend"))
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--steps", type=int, default=10, help="training steps of the towers")
    parser.add_argument(
        "--planted",
        type=Path,
        help="artifact whose rankers a larger one takes (default: of 100,000 items)",
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    users = arguments.users or min(arguments.items // 5, 60_000)
    trained = arguments.planted
    if trained is None and arguments.items > MOST_TRAINED:
        trained = artifact_of(arguments.folder, *BASE, arguments.steps)
    size = (arguments.items, users)
    artifact = artifact_of(arguments.folder, *size, arguments.steps, trained)
    found = {
        "items": arguments.items,
        "planted": trained is not None,
        "users": users,
        **measured(artifact, arguments.requests),
        "machine": machine(),
        "versions": versions(),
        "commit": git_commit(),
    }
    print(json.dumps(found, indent=1))
    if arguments.json is not None:
        known = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {}
        known[str(arguments.items)] = found
        arguments.json.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def artifact_of(
    folder: Path, num_items: int, num_users: int, steps: int, trained: Path | None = None
) -> Path:
    """Return the artifact of this size, made where it is not there."""
    pointer = folder / f"{num_items}-{num_users}-{'planted' if trained else steps}.txt"
    if pointer.is_file():
        return Path(pointer.read_text())
    train = make_training_data(num_items, num_users, LENGTH)
    if trained is not None:
        index = IndexConfig(kind="ivf_4bit", target_recall=0.99)
        path = planted_artifact(folder, train, trained, index)
        pointer.write_text(str(path))
        return path
    config = PipelineConfig.model_validate(
        {
            "candidates": CANDIDATES,
            "reranked": 200,
            "index": {"kind": "ivf"},
            "windows": {"count": 2, "max_users": 400},
        }
    )

    def make_sources() -> dict[str, Scorer]:
        return {
            "towers": TowersScorer(TowersConfig(embedding_dim=64, steps=steps)),
            "itemknn": make_baseline("itemknn", {"neighbours_per_item": 200}),
            "rp3_kg": make_baseline("rp3_kg", {"neighbours_per_item": 200}),
        }

    pipeline = fit_pipeline(train, make_sources, config, progress=_told)
    path = save_artifact(folder, pipeline, train, ArtifactDetails(git_commit=git_commit()))
    pointer.write_text(str(path))
    return path


def measured(artifact: Path, requests: int) -> dict[str, object]:
    """Return load, memory, and times of answers and of their bare parts, in ms."""
    start, busy = time.perf_counter(), time.process_time()
    recommender = Recommender.load(artifact)
    load_s, load_cpu_s = time.perf_counter() - start, time.process_time() - busy
    loaded = resident_bytes("VmRSS"), resident_bytes("RssAnon")
    events = recommender.artifact.interactions
    lengths = np.bincount(events.user_idx)
    rows = np.flatnonzero(lengths == LENGTH)[: 2 * requests]
    users = recommender.artifact.users.ids[rows]
    pipeline = recommender.artifact.scorer
    assert isinstance(pipeline, Pipeline)
    warm_up, asked = users[:20], users[20 : 20 + requests]
    search, predict, rank, sizes = bare_parts(recommender, pipeline, asked)
    ways: dict[str, Callable[[int], object]] = {
        "recommend": lambda n: recommender.recommend(asked[n], k=10),
        "recommend with explanations": lambda n: recommender.recommend(
            asked[n], k=10, explain=True
        ),
        "bare FAISS search": search,
        "bare ranker": predict,
        "compiled ranker": rank,
    }
    busy = time.process_time()
    recommender.prepare_explanations()
    ready_cpu_s = time.process_time() - busy
    for user in warm_up:
        recommender.recommend(user, k=10, explain=True)
    taken = timed(ways, len(asked))
    memory = resident_bytes("VmRSS"), resident_bytes("RssAnon")
    index = pipeline.indexes["towers"].description
    return {
        "triples": recommender.artifact.graph.num_triples,
        "events": len(events),
        "history": LENGTH,
        "candidates, mean": round(float(np.mean(sizes)), 1),
        "reranked": pipeline.config.reranked,
        "best 20 kept": pipeline.preselection and pipeline.preselection.kept,
        "features": len(pipeline.warm.names),
        "rankers": list(pipeline.warm.rankers),
        "index": {name: index.get(name) for name in ("kind", "effort", "recall", "recall_k")},
        "requests": len(asked),
        "load_s": round(load_s, 2),
        "load_cpu_s": round(load_cpu_s, 2),
        "explanations_ready_cpu_s": round(ready_cpu_s, 2),
        "resident_bytes_after_load": loaded[0],
        "resident_bytes_after_load_not_of_files": loaded[1],
        "resident_bytes": memory[0],
        "resident_bytes_not_of_files": memory[1],
        "artifact_bytes": sum(one.stat().st_size for one in artifact.rglob("*") if one.is_file()),
        "times": taken,
        **{
            f"ratio to the bare parts, {kind}": ratio(taken, kind, "bare ranker")
            for kind in ("p50", "cpu_p50")
        },
        "ratio to search and compiled ranker, cpu_p50": ratio(taken, "cpu_p50", "compiled ranker"),
        "explanations add, cpu_p50_ms": round(
            taken["recommend with explanations"]["cpu_p50_ms"] - taken["recommend"]["cpu_p50_ms"], 3
        ),
        "load average of the machine": round(os.getloadavg()[0], 1),
    }


def ratio(taken: dict[str, dict[str, float]], kind: str, ranker: str) -> float:
    """Return how many times as long as its bare parts a recommendation takes."""
    bare = sum(taken[name][f"{kind}_ms"] for name in ("bare FAISS search", ranker))
    return round(taken["recommend"][f"{kind}_ms"] / bare, 2)


def bare_parts(
    recommender: Recommender, pipeline: Pipeline, users: np.ndarray
) -> tuple[Callable[[int], object], Callable[[int], object], Callable[[int], object], list[int]]:
    """Return the search with ready vectors, the rankers with ready features by their libraries and
    as the pipeline asks them, and the lengths of the lists before the preselection."""
    histories = [recommender.history_of(user) for user in users]
    vectors = [pipeline.sources["towers"].user_vectors(one) for one in histories]  # type: ignore[attr-defined]
    found = pipeline.indexes["towers"]
    index = found._index
    # kinds with codes bring more, and the whole vectors choose
    depth = (pipeline.config.candidates.depth + 1) * int(found.description.get("refine", 1))
    ready = []
    for one in histories:
        candidates = pipeline.candidates(one)
        values = pipeline.builder.build(one, candidates).values
        new = pipeline.state.cold[candidates.item_idx]
        ready.append([(pipeline.warm, values[~new]), (pipeline.cold or pipeline.warm, values[new])])
    sizes = [len(pipeline.generator.generate(one).item_idx) for one in histories]
    return (
        lambda n: index.search(vectors[n], depth),
        lambda n: [by_libraries(ranker, rows) for ranker, rows in ready[n] if len(rows)],
        lambda n: [ranker.scores(rows) for ranker, rows in ready[n] if len(rows)],
        sizes,
    )


def by_libraries(chosen: ChosenRanker, values: np.ndarray) -> list[object]:
    """Ask LightGBM and torch themselves; what is kept of a ranker is what they trained."""
    found: list[object] = []
    for ranker in chosen.rankers.values():
        if isinstance(ranker, LightGBMRanker):
            found += [
                booster.predict(values, raw_score=True, num_threads=1)
                for booster in ranker._boosters.values()
            ]
        elif isinstance(ranker, TorchRanker):
            with torch.no_grad():
                found.append(ranker._network(torch.from_numpy(ranker._scaling.apply(values))))
    return found


def timed(ways: dict[str, Callable[[int], object]], count: int) -> dict[str, dict[str, float]]:
    """Return wall and CPU time of each way; they take turns, so that a busy machine slows all."""
    wall = {name: np.empty(count) for name in ways}
    cpu = {name: np.empty(count) for name in ways}
    for n in range(count):
        for name, way in ways.items():
            start, busy = time.perf_counter(), time.thread_time()
            way(n)
            wall[name][n] = time.perf_counter() - start
            cpu[name][n] = time.thread_time() - busy
    return {
        name: {
            "p50_ms": round(1e3 * float(np.percentile(wall[name], 50)), 3),
            "p99_ms": round(1e3 * float(np.percentile(wall[name], 99)), 3),
            "cpu_p50_ms": round(1e3 * float(np.percentile(cpu[name], 50)), 3),
            "cpu_p99_ms": round(1e3 * float(np.percentile(cpu[name], 99)), 3),
        }
        for name in ways
    }


def resident_bytes(kind: str) -> int:
    """Return the resident memory of this process now, by its name in /proc; else the peak."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(one for one in status.read_text().splitlines() if one.startswith(kind))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _told(step: str, share: float) -> None:
    print(f"{share:5.0%} {step}", flush=True)


if __name__ == "__main__":
    main()
