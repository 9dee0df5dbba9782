"""Writes docs/reference/rankers.md from the records of bench_rankers and bench_conversions.

    python benchmarks/rankers_page.py [--check]

--check writes nothing and fails where the page is not what the records give.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "reference" / "rankers.md"
TITLES = {"ml-100k": "MovieLens 100K", "ml-latest-small": "MovieLens latest-small"}
BASE, DEFAULT = "lightgbm", "lightgbm + cross_network"
KINDS = {"warm": "items with events", "cold": "items without events, among themselves"}
HEAD = """\
# Rankers

A ranker orders the candidates. All learn cross-fitted from the same features, and a run chooses
among those that `pipeline.rankers` names, or their sums, by NDCG@20 on the newest window of train
time; then a logistic curve is fitted that makes the score a probability. Settings stand in
[default.yaml](../../configs/default.yaml), their meaning in the configuration classes of
`kgrec/ranking/`.

- `lightgbm`: boosted trees, lambdarank and binary, summed.
- `cross_network`: DCN-v2. Low-rank crosses, mixed by gates where `experts` is above 1, beside an
  MLP or below it (`stacked`); the MLP may read the features in `pieces`; with `cross_layers: 0` it
  stands alone.
- `target_attention`: DIN. A cross network, and an MLP that reads the user's last events as the
  candidate asks. Items are known by their texts, with `use_ids` by a learned vector too, so that
  new ones are ranked.
- `linear`: a linear softmax.

`latency_budget_ms` leaves out rankers, and sums, that take longer for 200 candidates on the machine
that trains. With `ranker_runtime: onnx` (`pip install "kgrec[onnx]"`) the artifact carries each
torch ranker as an ONNX file with its scaling, which ONNX Runtime runs; scores differ from torch's
by less than 1e-4.

## What they give

Made by `python benchmarks/bench_rankers.py`, shown by `make docs`. Rankers learn from two windows
of train time, stop and are calibrated on a third, and are measured on the newest; no split's test
part is opened. AUC, gAUC, log loss and calibration error (ECE) are over the candidates; NDCG@20
counts likes that no candidate source brought as missed. In brackets: the gain over `lightgbm` with
its 95 % bootstrap interval over lists. Qualities are means over seeds, times the least of them. CPU
ms are for 200 rows in one thread; "ONNX" is the same ranker in ONNX Runtime.
"""
CONVERSIONS = """\
## Clicks and conversions

`kgrec.ranking.multitask.MultiTaskRanker` learns both from rows that say what followed a click
(`RankingRows.conversion`): through a shared bottom, MMoE (`shared_experts`) or one level of PLE
(`own_experts`), conversions either on clicked impressions alone or, as ESMM does, on all, as
P(click) P(conversion | click). `probabilities` gives all three. The pipeline's own windows know
likes alone, so it is trained from a team's impression log; it saves, loads and exports as the
others do.

No public data at hand has conversions. These are **generated** impressions whose truth is known
(`tests/made_impressions.py`): {impressions:,} of them, clicked with probability {click:.3f}; a
click becomes a conversion with probability {conversion_of_clicked:.3f}, but of all that is shown
only {conversion:.3f} would. The error is the mean distance from the true P(conversion | click)
over all impressions, the mean over {seeds} seeds (`python benchmarks/bench_conversions.py`).

| model | error | mean | correlation |
|---|---|---|---|
"""


def page() -> str:
    """Return the page that the records give."""
    record = json.loads((RESULTS / "rankers.json").read_text(encoding="utf-8"))
    parts = [HEAD, verdict(record)]
    for name, found in record.items():
        for kind, words in KINDS.items():
            parts.append(table(TITLES[name], words, found[kind], found["seeds"]))
    conversions = json.loads((RESULTS / "conversions.json").read_text(encoding="utf-8"))
    parts.append(conversion_table(conversions))
    return "\n".join(parts)


def verdict(record: dict[str, Any]) -> str:
    """Return in words what the tables say of the defaults."""
    tables = [found[kind]["models"] for found in record.values() for kind in KINDS]
    edges = {name: [models[name]["ndcg_gain_interval"] for models in tables] for name in tables[0]}
    better = {name: sum(low > 0 for low, _ in found) for name, found in edges.items()}
    worse = {name: sum(high < 0 for _, high in found) for name, found in edges.items()}
    alone = [name for name in edges if " + " not in name and name != BASE and better[name]]
    words = (
        f"Alone, `{BASE}` is beaten beyond the interval by {', '.join(alone)}."
        if alone
        else f"No ranker alone beats `{BASE}` beyond the interval in any of the {len(tables)} "
        "tables, so it stays a part of the default."
    )
    lines = [
        f"- {name}: better in {better[name]}, worse in {worse[name]}"
        for name in edges
        if " + " in name
    ]
    intro = (
        f"{words} The default tries `{DEFAULT}`. Against `{BASE}`, beyond the interval, in "
        f"{len(tables)} tables:"
    )
    return textwrap.fill(intro, 100) + "\n\n" + "\n".join(lines) + "\n"


def table(title: str, words: str, found: dict[str, Any], seeds: int) -> str:
    """Return one data set's rankers in Markdown, best NDCG first."""
    rows, lists = found["rows"]["test"], found["lists"]["test"]
    lines = [
        f"### {title}, {words}\n",
        f"{lists:,} lists, {rows:,} candidates, {found['features']} features, {seeds} seeds.\n",
        "| ranker | NDCG@20 | AUC | gAUC | log loss | ECE | CPU ms | ONNX | fit, CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ordered = sorted(found["models"].items(), key=lambda named: -named[1]["ndcg"])
    lines += [row(name, one) for name, one in ordered]
    return "\n".join(lines) + "\n"


def row(name: str, found: dict[str, Any]) -> str:
    """Return one ranker's line."""
    low, high = found["ndcg_gain_interval"]
    gain = "" if name == "lightgbm" else f" [{found['ndcg_gain']:+.4f}: {low:+.4f}, {high:+.4f}]"
    onnx = f"{found['cpu_ms_onnx']:.2f}" if "cpu_ms_onnx" in found else ""
    fit = f"{found['fit_cpu_s']:.1f}" if "fit_cpu_s" in found else ""
    return (
        f"| {name} | {found['ndcg']:.4f}{gain} | {found['auc']:.4f} | {found['gauc']:.4f} "
        f"| {found['log_loss']:.4f} | {found['calibration_error']:.4f} | {found['cpu_ms']:.2f} "
        f"| {onnx} | {fit} |"
    )


def conversion_table(record: dict[str, Any]) -> str:
    """Return the table of models of conversions with its text."""
    facts = {"impressions": record["impressions"], "seeds": record["seeds"], **record["truth"]}
    lines = [
        f"| {name} | {one['conversion_error']:.3f} | {one['conversion_mean']:.3f} "
        f"| {one['correlation']:.3f} |"
        for name, one in record["models"].items()
    ]
    return CONVERSIONS.format(**facts) + "\n".join(lines) + "\n"


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    made = page()
    if parser.parse_args().check:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != made:
            sys.exit(f"Expected {PAGE.relative_to(ROOT)} as the records give it; run 'make docs'")
        return
    PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
