"""python -m kgrec.tuning on a small snapshot: a record, a resumed record, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from graph_etl.snapshot import TABLES, publish_snapshot, write_snapshot
from kgrec.tuning import load_record
from kgrec.tuning.__main__ import main

NUM_USERS, NUM_ITEMS = 30, 20
APP = typer.Typer()
APP.command()(main)

SPACES = """
popularity:
  model: popularity
  search: {half_life_days: {choices: [null, 30]}}
  start: {half_life_days: null}
ease:
  model: ease
  search: {ridge: {low: 1, high: 100, log: true}}
  start: {ridge: 10}
"""


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(NUM_USERS), 12)
    item = np.concatenate([rng.permutation(NUM_ITEMS)[:12] for _ in range(NUM_USERS)])
    columns: dict[str, dict[str, object]] = {
        "entities": {
            "entity_idx": range(NUM_ITEMS),
            "entity_id": [f"e{i}" for i in range(NUM_ITEMS)],
            "entity_type": ["item"] * NUM_ITEMS,
            "name": [f"Item {i}" for i in range(NUM_ITEMS)],
        },
        "relation_types": {name: [] for name in TABLES["relation_types"]},
        "triples": {name: [] for name in TABLES["triples"]},
        "items": {
            "item_idx": range(NUM_ITEMS),
            "item_id": [f"i{i}" for i in range(NUM_ITEMS)],
            "entity_idx": range(NUM_ITEMS),
            "title": [f"Item {i}" for i in range(NUM_ITEMS)],
            "text": [""] * NUM_ITEMS,
        },
        "users": {
            "user_idx": range(NUM_USERS),
            "user_id": [f"u{u}" for u in range(NUM_USERS)],
            "profile_text": [""] * NUM_USERS,
        },
        "interactions": {
            "user_idx": user,
            "item_idx": item,
            "event": ["rating"] * len(user),
            "value": rng.integers(1, 6, len(user)),
            "timestamp": np.arange(len(user)),
            "positive": rng.random(len(user)) < 0.7,
        },
    }
    tables = {
        name: pl.DataFrame(
            {
                column: pl.Series(column, list(values), dtype=TABLES[name][column], strict=False)
                for column, values in content.items()
            }
        )
        for name, content in columns.items()
    }
    written = write_snapshot(tables, tmp_path / "snapshots", {"dataset": {"name": "small"}})
    publish_snapshot(written, tmp_path / "snapshots" / "current")
    (tmp_path / "spaces.yaml").write_text(SPACES)
    return tmp_path / "snapshots" / "current"


def run(snapshot: Path, *more: str) -> tuple[int, str, str]:
    folder = snapshot.parent.parent
    arguments = [str(snapshot), "--out", str(folder / "tuned")]
    arguments += ["--spaces", str(folder / "spaces.yaml"), "--trials", "3", *more]
    result = CliRunner().invoke(APP, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_command_writes_a_record_of_every_entry(snapshot: Path) -> None:
    code, out, err = run(snapshot)
    record = load_record(snapshot.parent.parent / "tuned" / "small.json")
    assert code == 0
    assert set(record.models) == {"popularity", "ease"}
    assert "ndcg@20" in out
    assert "small.json" in out
    assert "ease 2 " in err


def test_command_for_one_entry_keeps_the_others(snapshot: Path) -> None:
    run(snapshot)
    before = load_record(snapshot.parent.parent / "tuned" / "small.json")
    code, _, err = run(snapshot, "--only", "ease")
    after = load_record(snapshot.parent.parent / "tuned" / "small.json")
    assert code == 0
    assert "popularity" not in err
    assert after.models["popularity"] == before.models["popularity"]
    assert after.models["ease"].best_value == before.models["ease"].best_value


def test_command_goes_on_from_its_journals(snapshot: Path) -> None:
    journals = str(snapshot.parent.parent / "journals")
    run(snapshot, "--journals", journals)
    _, _, err = run(snapshot, "--journals", journals)
    assert err.strip() == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--only", "oracle"), "oracle"),
        (("--split", "by_moon"), "by_moon"),
        (("--trials", "0"), "max_trials"),
    ],
)
def test_command_refuses_what_cannot_be(
    snapshot: Path, more: tuple[str, ...], message: str
) -> None:
    code, _, err = run(snapshot, *more)
    assert code == 1
    assert message in err


def test_command_without_snapshot_says_so(snapshot: Path) -> None:
    code, _, err = run(snapshot.with_name("nowhere"))
    assert code == 1
    assert "nowhere" in err
