"""The scoreboard: what is planned exists, what is done is not done again, records are gathered."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kgrec.config import load_run_config

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


def test_a_run_is_done_while_its_configuration_stays(
    scoreboard: ModuleType, tmp_path: Path
) -> None:
    run = scoreboard.Run("lastfm-redrawn", "somewhere", 3)
    assert not scoreboard.is_done(run, tmp_path)
    config = load_run_config(run.config).model_copy(update={"seed": 3, "data": Path("/elsewhere")})
    summary = {"config": config.model_dump(mode="json")}
    (tmp_path / "run.json").write_text(json.dumps(summary))
    assert scoreboard.is_done(run, tmp_path)
    assert not scoreboard.is_done(scoreboard.Run("lastfm-redrawn", "somewhere", 4), tmp_path)


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


def test_records_are_gathered_with_their_values(scoreboard: ModuleType, tmp_path: Path) -> None:
    records = tmp_path / "run" / "records"
    records.mkdir(parents=True)
    (records / "a.json").write_text("{}")
    (records / "a.npz").write_bytes(b"values")
    assert scoreboard.gather(tmp_path / "run", tmp_path / "kept") == 1
    assert (tmp_path / "kept" / "a.npz").read_bytes() == b"values"
