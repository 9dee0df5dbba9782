"""What a ranker's lists lose when a linear guess chooses the candidates that it ranks.

    python benchmarks/bench_preselection.py --artifact runs/demo/current \
        --json benchmarks/results/preselection.json

The guess is fitted anew on train users of the artifact, as training does it, and judged on others:
the share of the ranker's best 10, 20 and 50 (all candidates ranked) that is kept, beside plain
rules that need no fitting. What is kept stands in the same order as before.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgrec.artifact import load_artifact
from kgrec.data.histories import HistoryBatch
from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.preselection import fit_preselection
from kgrec.retrieval.candidates import Candidates

USERS, COUNTS, BEST = 300, (100, 150, 200, 300), (10, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    artifact = load_artifact(given.artifact)
    pipeline = artifact.scorer
    assert isinstance(pipeline, Pipeline)
    pipeline.preselection = None
    events = artifact.interactions
    users = np.random.default_rng(0).permutation(np.unique(events.user_idx))
    parts = []
    for some in (users[:USERS], users[USERS : 2 * USERS]):
        histories = HistoryBatch.from_interactions(events, np.sort(some))
        candidates = pipeline.candidates(histories)
        parts.append((candidates, pipeline.candidate_scores(histories, candidates)[0]))
    (known, known_scores), (asked, scores) = parts
    cold = pipeline.state.cold
    made = fit_preselection(known, known_scores, cold, COUNTS[-1])
    rules = {
        "linear guess": made.guesses(asked, cold),
        "sum of 1 / (10 + rank)": (1.0 / (10.0 + asked.rank)).sum(axis=1),
        "mean z": asked.z.mean(axis=1),
        "largest z": asked.z.max(axis=1),
    }
    record = {
        "artifact": artifact.artifact_id,
        "dataset": artifact.manifest["dataset"]["name"],
        "items": len(artifact.items.ids),
        "sources": list(pipeline.sources),
        "users": len(asked.indptr) - 1,
        "candidates, mean": round(float(np.diff(asked.indptr).mean()), 1),
        "share of the best kept": {
            name: {str(count): kept(asked, scores, guess, count) for count in COUNTS}
            for name, guess in rules.items()
        },
        "machine": machine(),
        "versions": versions(),
        "commit": git_commit(),
    }
    print(json.dumps(record, indent=1))
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def kept(
    candidates: Candidates, scores: np.ndarray, guess: np.ndarray, count: int
) -> dict[str, Any]:
    """Return the mean share of the ranker's best that are among the ``count`` best guesses."""
    shares: dict[str, list[float]] = {str(best): [] for best in BEST}
    for first, stop in zip(candidates.indptr[:-1], candidates.indptr[1:], strict=True):
        chosen = np.argsort(-guess[first:stop], kind="stable")[:count]
        order = np.argsort(-scores[first:stop], kind="stable")
        for best in BEST:
            shares[str(best)].append(float(np.isin(order[:best], chosen).mean()))
    return {best: round(float(np.mean(found)), 4) for best, found in shares.items()}


if __name__ == "__main__":
    main()
