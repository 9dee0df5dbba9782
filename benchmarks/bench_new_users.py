"""Compares users that the model never saw with the same users trained in, from run records.

    python benchmarks/bench_new_users.py [--records FOLDER ...] [--json FILE]

Both splits cut a history after four fifths, so the same users are asked the same there (but for a
tie in time at the cut, which a seed breaks): by models that learned from their histories
(per_user_time), and by models that were told of them when asked (new_users, drawn anew by each
seed). Makes no model and opens no test.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from kgrec.evaluation.evaluator import EvaluationResult
from kgrec.evaluation.records import StoredRun, load_runs

ROOT = Path(__file__).resolve().parent.parent
RECORDS = [
    ROOT / f"benchmarks/records/ml-latest-small-{name}" for name in ("rated", "new")
]  # the same model in both; the first knows everybody, the second several draws of new users
METRICS = ("recall@20", "ndcg@20")


def compared(runs: list[StoredRun]) -> list[dict[str, object]]:
    """Return a row for each model that both splits were asked of: users of all draws together."""
    draws: dict[tuple[str, str], dict[int, EvaluationResult]] = {}
    for run in runs:
        key = (run.record.split["name"], run.record.model)
        draws.setdefault(key, {})[run.record.seed] = run.results["all"]
    rows: list[dict[str, object]] = []
    for (split, model), new in sorted(draws.items()):
        trained = draws.get(("per_user_time", model))
        if split != "new_users" or trained is None:
            continue
        row: dict[str, object] = {"model": model, "draws": sorted(new)}
        for metric in METRICS:
            row["users"], row[metric] = _change(new, trained[min(trained)], metric)
        rows.append(row)
    return rows


def _change(
    draws: dict[int, EvaluationResult], trained: EvaluationResult, metric: str
) -> tuple[int, dict[str, object]]:
    now, before, means = [], [], []
    for _, new in sorted(draws.items()):
        _, mine, theirs = np.intersect1d(new.user_idx, trained.user_idx, return_indices=True)
        now.append(new.metrics[metric][mine])
        before.append(trained.metrics[metric][theirs])
        means.append(round(float(now[-1].mean()), 4))
    new_mean, old_mean = np.concatenate(now).mean(), np.concatenate(before).mean()
    told = {"new": float(new_mean), "trained in": float(old_mean), "new, by draw": means}
    return sum(map(len, now)), {**told, "change": float(new_mean / old_mean - 1.0)}


def main() -> int:
    """Print the rows, and write them where --json says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, nargs="+", default=RECORDS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = compared([run for folder in options.records for run in load_runs(folder)])
    text = json.dumps(rows, indent=1)
    sys.stdout.write(text + "\n")
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 0 if rows else 1


if __name__ == "__main__":
    raise SystemExit(main())
