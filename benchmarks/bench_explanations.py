"""Whether reasons hold, and what they cost: by the quick way of taking liked items away, and anew.

    python benchmarks/bench_explanations.py --artifact runs/demo/current \
        --json benchmarks/results/explanations.json

The deletion test always asks everything anew. "served" is how reasons are found; "asked anew" finds
them by the deletion test's own scores. Times are CPU time of ten reasons beside their list.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgrec import Recommender
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.serving import explanations
from kgrec.serving.carriers import drops
from kgrec.serving.changes import Changes
from kgrec.serving.deletion_test import deletion_test


class AskedAnew(Changes):
    """Finds out what deletion costs as the deletion test does."""

    def drops(self, removed: Sequence[IntArray]) -> list[FloatArray]:
        """Return how much each item falls, every source asked again."""
        return drops(self._anew, self._history, self._items, removed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--reasons", type=int, default=1500)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    recommender = Recommender.load(given.artifact)
    found = {"served": measured(recommender, given.reasons)}
    explanations.Changes = AskedAnew
    found["asked anew"] = measured(recommender, given.reasons)
    record = {
        "artifact": recommender.artifact_id,
        "dataset": recommender.artifact.manifest["dataset"]["name"],
        "found": found,
        "machine": machine(),
        "versions": versions(),
        "commit": git_commit(),
    }
    print(json.dumps(record, indent=1))
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measured(recommender: Recommender, reasons: int) -> dict[str, Any]:
    """Return the deletion test, and the CPU time that reasons add to one list of ten, in ms."""
    users = recommender.artifact.users.ids[:60]
    took: dict[bool, list[float]] = {False: [], True: []}
    for user in [users[0], *users]:
        for explain in took:
            start = time.thread_time()
            recommender.recommend(user, k=10, explain=explain)
            took[explain].append(1e3 * (time.thread_time() - start))
    median = {explain: float(np.median(times[1:])) for explain, times in took.items()}
    return {
        "deletion test": deletion_test(recommender, num_explanations=reasons, seed=3).to_dict(),
        "list_cpu_p50_ms": round(median[False], 3),
        "reasons_add_cpu_p50_ms": round(median[True] - median[False], 3),
    }


if __name__ == "__main__":
    main()
