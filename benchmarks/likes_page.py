"""Writes docs/reference/likes.md from the record of bench_likes.

    python benchmarks/likes_page.py [--check]

--check writes nothing and fails where the page is not what the record gives.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "likes.json"
PAGE = ROOT / "docs" / "reference" / "likes.md"
HEAD = """\
# The model of likes

`kgrec score-pairs` answers P(like) of items that a user does meet, in one order for all users
([how](../how-to/bulk.md)). It is a model of its own, made with every pipeline whose data knows
dislikes: means of items and users; tastes, drawn from their posterior with what users meet in the
prior; and what the user thought of near items, once by company, once by content. A logistic
regression on held-out events weighs them. Settings: `pipeline.likes` in
[default.yaml](../../configs/default.yaml).

## MovieLens-1M, likes and dislikes

Made by `python benchmarks/bench_likes.py`, shown by `make docs`. Verdicts (a rating of 4 or 5, or
less) of {users} on films of a Freebase graph, without ratings and without times, as
`configs/bench/ml1m-ctr.yaml` reads them; a random fifth is held out, {seeds} seeds.

| | AUC |
|---|---|
"""
LEFT_OUT = """\

Tried once in the factorisation or beside it, by trials that are not kept, and left out since none
raised AUC by .001 on an inner fifth: ages, genders and occupations in the prior; known features
with weights of their own for each user and item, which lowered it; kernel regressions for each user
in place of means of near items; nearest users and nearest items by verdicts; a quadratic form, or
boosted trees, in place of the logistic regression. Those inner fifths were drawn apart from the
fifths above and share pairs with them.
"""


def page() -> str:
    """Return the page that the record gives."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    runs = record["runs"]
    lines = [
        f"| items' means | {over(runs, 'auc_item_mean')} |",
        f"| items' and users' means | {over(runs, 'auc_item_and_user_mean')} |",
        f"| the model | **{over(runs, 'auc')}** |",
    ]
    words = (
        f"\nLog loss {over(runs, 'log_loss')}, calibration error "
        f"{over(runs, 'calibration_error')}; a fit takes {over(runs, 'fit_cpu_s', 0)} CPU seconds, "
        f"1,000 pairs {over(runs, 'score_cpu_ms_per_1000_pairs', 0)} CPU ms.\n"
    )
    parts = [HEAD.format(users="6,040 people", seeds=len(runs)) + "\n".join(lines), words]
    parts += [terms(runs), less_data(record["less_data"], runs[0])]
    if "inner" in record:
        parts.append(inner(record["inner"]))
    return "\n".join(parts) + LEFT_OUT


def over(runs: list[dict[str, Any]], name: str, digits: int = 4) -> str:
    """Return the mean over seeds."""
    return f"{mean(run[name] for run in runs):.{digits}f}"


def terms(runs: list[dict[str, Any]]) -> str:
    """Return what each term gives, in Markdown."""
    lines = ["Terms left out, the others weighed on the asked pairs themselves:\n"]
    lines += ["| left out | AUC |", "|---|---|"]
    without = [run["auc_without"] for run in runs]
    lines += [f"| {name} | {over(without, name)} |" for name in without[0]]
    return "\n".join(lines) + "\n"


def less_data(curve: list[dict[str, float]], full: dict[str, Any]) -> str:
    """Return the learning curve in Markdown."""
    lines = ["Of seed 0, by the share of the training pairs that it learns from:\n"]
    lines += ["| share | AUC |", "|---|---|"]
    lines += [f"| {point['share']:.2f} | {point['auc']:.4f} |" for point in curve]
    return "\n".join([*lines, f"| 1.00 | {full['auc']:.4f} |"]) + "\n"


def inner(variants: dict[str, dict[str, Any]]) -> str:
    """Return the settings tried in Markdown."""
    lines = ["Settings, on a fifth of the other four fifths of seed 0:\n"]
    lines += ["| settings | AUC | log loss | fit, CPU s |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {found['auc']:.4f} | {found['log_loss']:.4f} | {found['fit_cpu_s']:.0f} |"
        for name, found in variants.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} is not what the record gives; run 'make docs'")


if __name__ == "__main__":
    main()
