"""Run records come back as they were, and tables are made from them alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation_data import Popularity, random_dataset

from kgrec.data.splits import make_split
from kgrec.errors import DataError
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.ledger import TestLedger
from kgrec.evaluation.records import (
    StoredRun,
    hash_of_config,
    load_record,
    load_run,
    load_runs,
    make_run,
    save_run,
)
from kgrec.evaluation.statistics import paired_test
from kgrec.evaluation.tables import compare_runs, metric_table

DATA = random_dataset(num_users=60)


def run_of(
    model: str, folder: Path, *, noise: float, seed: int = 0, split_seed: int = 0, part: str = "val"
) -> StoredRun:
    split = make_split(DATA, "per_user_time", seed=split_seed)
    scorer = Popularity(split.interactions("train"), DATA.num_items)
    rng = np.random.default_rng(seed)
    scorer.counts = scorer.counts + noise * rng.normal(size=DATA.num_items).astype(np.float32)
    config = {"noise": noise}
    ledger = None
    if part == "val":
        tasks = split.validation()
    else:
        ledger = TestLedger(folder / "ledger.jsonl")
        config_hash = hash_of_config(model, config, seed)
        tasks = split.open_test(ledger, model=model, config_hash=config_hash)
    results = {
        name: evaluate(scorer, task, num_items=DATA.num_items) for name, task in tasks.items()
    }
    return make_run(
        results,
        split=split,
        part=part,
        model=model,
        config=config,
        seed=seed,
        ledger=ledger,  # type: ignore[arg-type]
    )


def test_run_round_trips_with_the_values_of_each_user(tmp_path: Path) -> None:
    run = run_of("popularity", tmp_path, noise=0)
    path = save_run(run, tmp_path / "runs")
    back = load_run(path)
    assert back.record.slices == run.record.slices
    assert back.record.per_user_sha256
    for name, values in run.results["all"].metrics.items():
        np.testing.assert_allclose(back.results["all"].metrics[name], values, atol=1e-6)
    assert back.results["all"].set_metrics == run.results["all"].set_metrics
    assert (back.results["all"].lists == run.results["all"].lists).all()
    assert load_record(path) == back.record


def test_record_says_what_was_run_on_what(tmp_path: Path) -> None:
    record = run_of("popularity", tmp_path, noise=0, part="test").record
    assert record.split["checksum"] == make_split(DATA, "per_user_time").checksum
    assert record.versions["numpy"] == np.__version__
    assert int(record.machine["cores"]) >= 1
    assert record.ledger is not None
    assert record.ledger.count == 1
    one = record.slices["all"].metrics["ndcg@20"]
    assert one.low <= one.value <= one.high
    coverage = record.slices["all"].metrics["coverage@10"]
    assert coverage.low <= coverage.value <= coverage.high


def test_record_on_test_needs_a_ledger() -> None:
    split = make_split(DATA, "per_user_time")
    with pytest.raises(DataError, match="Expected a ledger"):
        make_run({}, split=split, part="test", model="m", config={})


def test_config_hash_depends_on_model_config_and_seed() -> None:
    hashes = {
        hash_of_config("a", {"x": 1}, 0),
        hash_of_config("b", {"x": 1}, 0),
        hash_of_config("a", {"x": 2}, 0),
        hash_of_config("a", {"x": 1}, 1),
    }
    assert len(hashes) == 4
    assert hash_of_config("a", {"x": 1, "y": 2}, 0) == hash_of_config("a", {"y": 2, "x": 1}, 0)


def test_damaged_records_are_refused_by_name(tmp_path: Path) -> None:
    path = save_run(run_of("popularity", tmp_path, noise=0), tmp_path)
    values = path.with_suffix(".npz")
    content = values.read_bytes()
    values.write_bytes(content[:-10])
    with pytest.raises(DataError, match=r"\.npz with sha256"):
        load_run(path)
    values.write_bytes(content)
    old = json.loads(path.read_text())
    path.write_text(json.dumps(old | {"schema_version": 99}))
    with pytest.raises(DataError, match="Expected record schema version 1, got 99"):
        load_record(path)
    path.write_text(json.dumps(old | {"surprise": 1}))
    with pytest.raises(DataError, match="Expected a run record in"):
        load_record(path)
    with pytest.raises(DataError, match="found none"):
        load_record(tmp_path / "absent.json")


def test_metric_table_pairs_every_row_with_the_baseline(tmp_path: Path) -> None:
    for noise, model in ((0.0, "popularity"), (1.0, "noisy"), (50.0, "random")):
        save_run(run_of(model, tmp_path, noise=noise, part="test"), tmp_path / "runs")
    runs = load_runs(tmp_path / "runs")
    assert len(runs) == 3
    table = metric_table(runs, ("recall@20", "ndcg@20", "coverage@10"), baseline="popularity")
    assert {row[0] for row in table.rows} == {"popularity", "noisy", "random"}
    by_name = {row[0]: row for row in table.rows}
    assert by_name["popularity"][4:] == ("", "", "")
    values = {run.record.model: run.results["all"].metrics["ndcg@20"] for run in runs}
    expected = paired_test(values["random"], values["popularity"])
    assert f"{expected.difference.value:+.4f}" in by_name["random"][4]
    record = next(run.record for run in runs if run.record.model == "random")
    assert by_name["random"][1].startswith(f"{record.slices['all'].metrics['recall@20'].value:.4f}")
    assert "Test openings in the ledger: 3" in table.markdown()
    assert table.markdown().startswith("| model | recall@20 | ndcg@20 | coverage@10 |")
    widths = {len(line.rstrip()) for line in table.text().splitlines()[1:2]}
    assert len(table.text().splitlines()) == 2 + 3 + 1 + 3
    assert widths


def test_metric_table_averages_seeds_and_split_seeds_user_by_user(tmp_path: Path) -> None:
    runs = [
        run_of("noisy", tmp_path, noise=3.0, seed=seed, split_seed=split_seed)
        for seed in (0, 1)
        for split_seed in (0, 1)
    ]
    base = [run_of("popularity", tmp_path, noise=0, split_seed=s) for s in (0, 1)]
    table = metric_table([*runs, *base], baseline="popularity")
    assert {row[0] for row in table.rows} == {"noisy (2 seeds)", "popularity"}
    assert "seed 0, 1" in table.notes[0]
    test = compare_runs(runs, base, "ndcg@20")
    users = {int(u) for run in runs for u in run.results["all"].user_idx}
    assert test.num_users == len(users)


def test_metric_table_refuses_runs_that_do_not_belong_together(tmp_path: Path) -> None:
    a = run_of("a", tmp_path, noise=0, split_seed=0)
    b = run_of("b", tmp_path, noise=0, split_seed=1)
    with pytest.raises(DataError, match="on the same splits"):
        metric_table([a, b])
    with pytest.raises(DataError, match="Expected one dataset, split and part"):
        metric_table([a, run_of("c", tmp_path, noise=0, part="test")])
    with pytest.raises(DataError, match="Expected the baseline 'ease'"):
        metric_table([a], baseline="ease")
    with pytest.raises(DataError, match="Expected slice 'cold'"):
        metric_table([a], slice_name="cold")
    with pytest.raises(DataError, match="in every run, got none"):
        metric_table([a], ("recall@99",))
    with pytest.raises(DataError, match="got none"):
        metric_table([])
