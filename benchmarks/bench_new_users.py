"""Compares users that the model never saw with the same users trained in, from run records.

    python benchmarks/bench_new_users.py [--records FOLDER] [--json FILE]

Both splits cut a history after four fifths, so the same users are asked the same there: by models
that learned from their histories (per_user_time), and by models that were told of them when asked
(new_users). Makes no model and opens no test.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from kgrec.evaluation.records import StoredRun, load_runs

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks/records/ml-latest-small-rated"
METRICS = ("recall@20", "ndcg@20")


def compared(runs: list[StoredRun]) -> list[dict[str, object]]:
    """Return a row for each model and seed that both splits were asked of."""
    found = {
        (run.record.split["name"], run.record.model, run.record.seed): run.results["all"]
        for run in runs
        if run.record.split["name"] in ("per_user_time", "new_users")
    }
    rows: list[dict[str, object]] = []
    for (split, model, seed), new in sorted(found.items()):
        trained = found.get(("per_user_time", model, seed))
        if split != "new_users" or trained is None:
            continue
        same, mine, theirs = np.intersect1d(new.user_idx, trained.user_idx, return_indices=True)
        row: dict[str, object] = {"model": model, "seed": seed, "users": len(same)}
        for metric in METRICS:
            now = float(new.metrics[metric][mine].mean())
            before = float(trained.metrics[metric][theirs].mean())
            row[metric] = {"new": now, "trained in": before, "change": now / before - 1.0}
        rows.append(row)
    return rows


def main() -> int:
    """Print the rows, and write them where --json says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = compared(load_runs(options.records))
    text = json.dumps(rows, indent=1)
    sys.stdout.write(text + "\n")
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 0 if rows else 1


if __name__ == "__main__":
    raise SystemExit(main())
