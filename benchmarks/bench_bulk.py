"""Lists for many users: the library implicit and kgrec on the same vectors, and a whole artifact.

    python benchmarks/bench_bulk.py --json benchmarks/results/bulk.json --artifact runs/demo/current

Times are CPU time of the process (other work on the machine does not count), the best of several;
ratios are of the same run. Needs the extra 'bench'; without --artifact vectors alone are measured.
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
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse

from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.models.top_items import top_of_scores
from kgrec.retrieval.index import IndexConfig, VectorIndex
from kgrec.serving.recommender import Recommender

USERS, DIM, K, SEEN = 2000, 64, 20, 100


def cpu_s(work: Callable[[], Any], repeats: int = 3) -> float:
    work()
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def clustered(rng: np.random.Generator, rows: int) -> np.ndarray:
    centres = rng.normal(size=(50, DIM))
    found = centres[rng.integers(0, 50, rows)] + rng.normal(scale=0.5, size=(rows, DIM))
    return (found / np.sqrt(DIM)).astype(np.float32)


def on_vectors(num_items: int) -> dict[str, Any]:
    """CPU seconds for the lists of all users, what they have seen left out."""
    rng = np.random.default_rng(0)
    items, users = clustered(rng, num_items), clustered(rng, USERS)
    seen = np.concatenate([rng.choice(num_items, SEEN, replace=False) for _ in range(USERS)])
    indptr = np.arange(USERS + 1) * SEEN
    matrix = sparse.csr_matrix((np.ones(len(seen), np.float32), seen, indptr), (USERS, num_items))
    peer = AlternatingLeastSquares(factors=DIM)
    peer.user_factors, peer.item_factors = users, items
    index = VectorIndex(IndexConfig(kind="flat")).build(items)
    rows = np.arange(USERS)

    def dense() -> np.ndarray:
        found = []
        for start in range(0, USERS, 256):
            scores = users[start : start + 256] @ items.T
            own = slice(start * SEEN, (start + len(scores)) * SEEN)
            scores[np.repeat(np.arange(len(scores)), SEEN), seen[own]] = -np.inf
            found.append(top_of_scores(scores, K, 0, rows[start : start + 256]).item_idx)
        return np.concatenate(found)

    def indexed() -> np.ndarray:
        return index.search(users, K, excluded=(indptr, seen)).item_idx

    def implicit() -> np.ndarray:
        return peer.recommend(rows, matrix, N=K, filter_already_liked_items=True)[0]

    same = {
        name: float(
            np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(one(), implicit(), strict=True)])
        )
        for name, one in (("dense", dense), ("index", indexed))
    }
    if min(same.values()) < 0.999:
        raise SystemExit(f"Expected the lists of implicit, got shares in common of {same}")
    took = {
        name: cpu_s(one)
        for name, one in (("implicit", implicit), ("dense", dense), ("index", indexed))
    }
    return {
        "items": num_items,
        "users": USERS,
        "dim": DIM,
        "k": K,
        "cpu_s": took,
        "users_per_cpu_s": {name: USERS / value for name, value in took.items()},
        "speed_over_implicit": {n: took["implicit"] / took[n] for n in ("dense", "index")},
    }


def on_artifact(path: Path) -> dict[str, Any]:
    """CPU seconds for the lists of the artifact's users: retrieval, features, rankers."""
    recommender = Recommender.load(path)
    ids = recommender.artifact.users.ids.tolist()[:512]
    parts = [ids[start : start + 128] for start in range(0, len(ids), 128)]
    bare = cpu_s(lambda: [recommender.top_rows(part, k=K) for part in parts])
    dressed = cpu_s(lambda: [recommender.recommend_many(part, k=K) for part in parts])
    return {
        "artifact": recommender.artifact_id,
        "items": len(recommender.artifact.items.ids),
        "users": len(ids),
        "k": K,
        "cpu_ms_per_user": {
            "top_rows": 1e3 * bare / len(ids),
            "recommend_many": 1e3 * dressed / len(ids),
        },
        "users_per_cpu_s": {"top_rows": len(ids) / bare, "recommend_many": len(ids) / dressed},
        "load average of the machine": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--artifact", type=Path)
    given = parser.parse_args()
    record: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "git_commit": git_commit(),
        "vectors": [on_vectors(size) for size in (2_000, 20_000)],
    }
    if given.artifact is not None:
        record["artifact"] = on_artifact(given.artifact)
    text = json.dumps(record, indent=1)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
