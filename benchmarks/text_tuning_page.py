"""Writes docs/reference/text-tuning.md from the record of bench_text_tuning.

    python benchmarks/text_tuning_page.py [--check]

--check writes nothing and fails where the page is not what the record gives.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "text_tuning.json"
PAGE = ROOT / "docs" / "reference" / "text-tuning.md"
SOURCES = ("text_similarity", "content_ridge", "content_kernel")
WORDS = """\
What it gives that the [text encoder](../how-to/text-encoder.md) learns. A tenth of the films of \
MovieLens latest-small lose all events; the sources that read texts say who likes which of those, \
with the settings of `configs/bench/ml-latest-small-cold.yaml`. {metric}, seeds {seeds}; in \
brackets: the gain over the same encoder frozen, paired by user, and its p (bootstrap). The test \
part stays closed. Made by `python benchmarks/bench_text_tuning.py` ({device}), \
shown by `make docs`.
"""


def page() -> str:
    """Return the page that the record gives."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = record["ways"]
    words = WORDS.format(
        metric=record["metric"].partition(",")[0].capitalize(),
        seeds=" and ".join(str(seed) for seed in rows[0]["seeds"]),
        device=record["device"],
    )
    columns = ("encoder", "way", "objective", "steps", *SOURCES)
    table = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *map(line, rows)]
    filled = textwrap.fill(words, 100, break_on_hyphens=False)
    return "# Text tuning\n\n" + filled + "\n\n" + "\n".join(table) + "\n"


def line(row: dict[str, Any]) -> str:
    """Return one way's line."""
    settings = row["settings"]
    learned = settings["mode"] != "frozen"
    cells = [row["encoder"], row["way"]]
    cells += [settings["objective"], str(settings["steps"])] if learned else ["", ""]
    cells += [cell(row[source]) for source in SOURCES]
    return f"| {' | '.join(cells)} |"


def cell(found: dict[str, Any]) -> str:
    """Return one source's mean and, where there is one, its gain."""
    if "relative" not in found:
        return f"{found['mean']:.3f}"
    p = f"p = {found['p']:.3f}" if found["p"] >= 0.001 else "p < 0.001"
    return f"{found['mean']:.3f} [{found['relative']:+.1%}, {p}]".replace("%", " %")


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    made = page()
    if parser.parse_args().check:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != made:
            sys.exit(f"Expected {PAGE.relative_to(ROOT)} as the record gives it; run 'make docs'")
        return
    PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
