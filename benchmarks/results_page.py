"""Writes docs/reference/results.md from the run records, so that no number in it is typed.

    python benchmarks/results_page.py [--check]

--check writes nothing and fails where the page is not what the records give.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from kgrec.data.splits.config import PUBLISHED
from kgrec.evaluation.records import StoredRun, load_runs
from kgrec.evaluation.tables import metric_table

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "records"
PAGE = ROOT / "docs" / "reference" / "results.md"
METRICS = ("recall@20", "ndcg@20", "mrr@10")
PUBLISHED_METRICS = ("recall@10", "mrr@10", "ndcg@10")
SPLITS = ("as_published", "redrawn", "per_user_time", "global_time", "cold_items", "new_users")
ELSEWHERE = {"ml1m-ctr": "Pairs are judged and no list is asked for: see [likes](likes.md).\n"}
"""Boards whose figures another page shows."""
OTHER_BOARD = {
    "ml-latest-small-cold-bert": ("ml-latest-small-cold", "text minilm"),
    "ml-latest-small-cold-tuned": ("ml-latest-small-cold", "text frozen"),
    "ml-latest-small-timed": ("ml-latest-small-rated", "no contemporaries"),
}
"""Boards that differ in one thing -> the board of the same model without it, its row."""
COMPARED = ("ease", "content_ridge")
"""What the rows of a table are compared with: the first of these that stands in it."""
HEAD = """\
# Results

Made by `make docs` from the run records in `benchmarks/records/`, never typed; `make scoreboard`
makes the records. One seed of the models and of each split, unless a number of seeds stands beside
the model: the intervals cover users, not seeds. How it is measured:
[the protocol](../explanation/evaluation-protocol.md). Baselines are tuned on validation with equal
budgets (`configs/tuned/`); the test part is opened once for each model.

"pipeline" is what is served: candidates of all sources, re-ranked. "towers" are the graph, text and
sequence towers alone; "pipeline, no towers" goes without them as source and feature; "graph off",
"shuffled" and "random" are the pipeline with every graph reader fitted on no graph, on one whose
tails are permuted within each relation, and on one whose tails are drawn anew; "text off" reads no
text of items or users, "ranker off" joins the sources' orders by reciprocal rank fusion, and
"cold last" is the same pipeline with items without train events below all others.
"as_published" is the division that came with the data; "redrawn" deals each user's parts out anew
by seed, in their published sizes. "text frozen" and "text minilm" are the pipeline of another
table, on the same splits, whose text encoder did not learn, or is all-MiniLM-L6-v2; "no
contemporaries" is that of a table without those sources. "lightgcn", "kgin" and "sasrec" are
networks of others, re-implemented from their papers and tuned like the baselines.
"""


def page() -> str:
    """Return the page, a section for each folder of records and a table for each slice."""
    parts = [HEAD]
    for folder in sorted(path for path in RECORDS.iterdir() if path.is_dir()):
        parts.append(f"## {folder.name}\n\n`kgrec run {config_of(folder.name)}`\n")
        if folder.name in ELSEWHERE:
            parts.append(ELSEWHERE[folder.name])
            continue
        runs = with_other_board(folder)
        for split in sorted({str(run.record.split["name"]) for run in runs}, key=SPLITS.index):
            parts += tables([run for run in runs if run.record.split["name"] == split], split)
    return "\n".join(parts)


def with_other_board(folder: Path) -> list[StoredRun]:
    """Return the runs of a folder, and those of the same pipeline without what this one adds."""
    runs = load_runs(folder)
    if folder.name not in OTHER_BOARD:
        return runs
    board, label = OTHER_BOARD[folder.name]
    splits = {run.record.split["checksum"] for run in runs}
    return runs + [
        replace(run, record=run.record.model_copy(update={"model": f"pipeline, {label}"}))
        for run in load_runs(RECORDS / board)
        if run.record.model == "pipeline" and run.record.split["checksum"] in splits
    ]


def config_of(name: str) -> str:
    """Return the configuration that a folder of records was made by."""
    bench = Path("configs") / "bench" / f"{name}.yaml"
    return str(bench) if (ROOT / bench).is_file() else f"configs/{name}.yaml"


def tables(runs: list[StoredRun], split: str) -> list[str]:
    """Return the tables of one split in Markdown; published divisions are measured at 10."""
    metrics, compare = METRICS, "ndcg@20"
    if split in PUBLISHED:
        metrics, compare = PUBLISHED_METRICS, "ndcg@10"
    made = []
    for name in runs[0].results:
        models = {run.record.model for run in runs}
        baseline = next(model for model in COMPARED if model in models)
        table = metric_table(runs, metrics, slice_name=name, baseline=baseline, compare=compare)
        made.append(f"### {split}, {name.replace('_', ' ')}\n\n{table.markdown()}")
        variants = [run for run in runs if run.record.model.split(",")[0] == "pipeline"]
        if len({run.record.model for run in variants}) > 1:
            parts = metric_table(
                variants, (compare,), slice_name=name, baseline="pipeline", compare=compare
            )
            made.append(
                "What its parts give: the pipeline without them.\n\n"
                + replace(parts, notes=()).markdown().rstrip()
                + "\n"
            )
    return made


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    made = page()
    if parser.parse_args().check:
        if not PAGE.is_file() or PAGE.read_text() != made:
            sys.exit(f"Expected {PAGE.relative_to(ROOT)} as the records give it; run 'make docs'")
        return
    PAGE.write_text(made)


if __name__ == "__main__":
    main()
