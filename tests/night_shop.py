"""Nights on a little shop, each in a process of its own, as a scheduler starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from own_tables import write_tables

CONFIG = {
    "name": "nights",
    "dataset": "dataset.yaml",
    "encoder": "off",
    "store": "none",
    "newest_fraction": 0.1,
    "min_users": 10,
    "sources": ["ease", "svd", "kg_neighbours"],
    "tuning": {"trials": 1},
    "pipeline": {"rankers": ["lightgbm"], "lightgbm": {"rounds": 10}},
    "max_drop": 0.3,  # of a hundred readers: by chance alone NDCG moves by several per cent
    "p_value": 1e-4,
}


def shop(folder: Path, settings: Mapping[str, object] = CONFIG) -> Path:
    """Write the tables and nightly.yaml."""
    folder.mkdir(exist_ok=True)
    write_tables(folder)
    (folder / "nightly.yaml").write_text(yaml.safe_dump(dict(settings)))
    return folder


def command(folder: Path, *options: str) -> list[str]:
    start = "import sys; from kgrec.cli import app; sys.argv[0] = 'kgrec'; app()"
    given = ["nightly", str(folder / "nightly.yaml"), "--out", str(folder / "out"), "--json"]
    return [sys.executable, "-c", start, *given, *options]


def night(folder: Path, *options: str, code: int = 0) -> dict[str, object]:
    """Run a night in a process of its own and return what it printed."""
    done = subprocess.run(command(folder, *options), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr[-2000:]
    return dict(json.loads(done.stdout)) if done.stdout else {"error": done.stderr}


def more_orders(folder: Path, number: int = 0) -> None:
    at = 1_700_900_000 + 1000 * number
    lines = [f"u{user},b{(user * 5 + number) % 60},5,{at}" for user in range(0, 120, 2)]
    with (folder / "orders.csv").open("a") as orders:
        orders.write("\n".join(lines) + "\n")
