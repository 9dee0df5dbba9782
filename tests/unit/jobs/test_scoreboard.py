"""The scoreboard: what is planned exists, what is done is not done again, records are gathered."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kgrec.config import RunConfig, load_run_config
from kgrec.evaluation.ledger import TestLedger
from kgrec.jobs.comparison import source_names

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def scoreboard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("board", ROOT / "benchmarks" / "scoreboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["board"] = module
    spec.loader.exec_module(module)
    return module


def test_every_board_names_a_configuration(scoreboard: ModuleType) -> None:
    runs = scoreboard.planned(ROOT / "benchmarks" / "scoreboard.yaml")
    assert len({(run.name, run.seed) for run in runs}) == len(runs)
    assert all(run.config.is_file() for run in runs)
    assert {run.name for run in runs} == {p.stem for p in (ROOT / "configs/bench").glob("*.yaml")}


def finished(out: Path, config: RunConfig, sources: tuple[str, ...] | None = None) -> None:
    """Write a run whose pipeline had these sources; None: those of the configuration."""
    (out / "records").mkdir(parents=True)
    told_of = dict.fromkeys(source_names(config) if sources is None else sources)
    record = out / "records" / f"a-test-pipeline-{config.seed}-b.json"
    record.write_text(json.dumps({"config": {"sources": told_of}}))
    record.with_suffix(".npz").write_bytes(b"values")
    (out / "test-ledger.jsonl").write_text("opened\n")
    told = {"name": config.name, "commit": "", "created_at": "", "timings_s": {}}
    (out / "run.json").write_text(json.dumps(told | {"config": config.model_dump(mode="json")}))


def test_a_run_is_done_while_its_configuration_stays(
    scoreboard: ModuleType, tmp_path: Path
) -> None:
    run, out, kept = scoreboard.Run("ml-100k", None, 3), tmp_path / "run", tmp_path / "kept"
    assert not scoreboard.is_done(run, out, kept)
    config = load_run_config(run.config).model_copy(update={"seed": 3, "data": Path("/elsewhere")})
    finished(out, config)
    assert scoreboard.is_done(run, out, kept)
    assert not scoreboard.is_done(scoreboard.Run("ml-100k", None, 4), out, kept)
    changed = config.model_copy(update={"cutoffs": (5,)})
    finished(tmp_path / "other", changed)
    assert not scoreboard.is_done(run, tmp_path / "other", kept)


def test_a_run_of_sources_that_the_project_chose_before_is_not_done(
    scoreboard: ModuleType, tmp_path: Path
) -> None:
    run, kept = scoreboard.Run("ml-100k", None, 3), tmp_path / "kept"
    config = load_run_config(run.config).model_copy(update={"seed": 3})
    assert not config.sources
    finished(tmp_path / "run", config, source_names(config)[:-1])
    assert not scoreboard.is_done(run, tmp_path / "run", kept)
    named = config.model_copy(update={"sources": source_names(config)})
    finished(tmp_path / "named", named, ())
    assert scoreboard.is_done(run, tmp_path / "named", kept)


def test_committed_records_stand_for_a_run_of_another_machine(
    scoreboard: ModuleType, tmp_path: Path
) -> None:
    run, out, kept = scoreboard.Run("ml-100k", None, 3), tmp_path / "run", tmp_path / "kept"
    config = load_run_config(run.config).model_copy(update={"seed": 3, "data": Path("/elsewhere")})
    finished(out, config)
    assert scoreboard.gather(run, out, kept) == 1
    assert (kept / "a-test-pipeline-3-b.npz").read_bytes() == b"values"
    assert (kept / "runs" / "3-test-ledger.jsonl").read_text() == "opened\n"
    assert "elsewhere" not in (kept / "runs" / "3.json").read_text()
    assert str(ROOT) not in (kept / "runs" / "3.json").read_text()
    shutil.rmtree(out)
    assert scoreboard.is_done(run, out, kept)


def test_a_run_without_its_data_says_why(
    scoreboard: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scoreboard.Run("lastfm", "folder", 0)
    monkeypatch.delenv("KGREC_DATA_DIR", raising=False)
    assert "KGREC_DATA_DIR is not set" in run.missing()
    monkeypatch.setenv("KGREC_DATA_DIR", str(tmp_path))
    assert "no folder folder" in run.missing()
    (tmp_path / "folder").mkdir()
    assert run.missing() is None
    assert run.command(tmp_path)[-2:] == ["--data", str(tmp_path / "folder")]


def test_every_committed_record_stands_in_its_runs_ledger(scoreboard: ModuleType) -> None:
    kept = ROOT / "benchmarks" / "records"
    ledgers: dict[Path, TestLedger] = {}
    for path in sorted(kept.glob("*/*.json")):
        record = json.loads(path.read_bytes())
        summary = scoreboard.kept_summary(path.parent, record["seed"])
        ledger = summary.with_name(f"{record['seed']}-test-ledger.jsonl")
        state = record["ledger"]
        book = ledgers.setdefault(ledger, TestLedger(ledger))
        assert book.includes(state["count"], state["head"]), path
        assert (
            path.parent.name == "demo" or path.name in json.loads(summary.read_bytes())["records"]
        )
    assert len(ledgers) >= len(list(kept.iterdir()))
