"""The wheel, installed in an empty environment: it is whole, it trains, it answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from own_tables import SHORT_RUN, write_tables

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("kgrec", "graph_etl")
ASK = """
import sys
from kgrec import Recommender
from graph_etl.mappings import load_mapping, mapping_names

for name in mapping_names():
    load_mapping(name)
answer = Recommender.load(sys.argv[1], check_probes=True).recommend("u1", k=5, explain=True)
print(len(answer), answer.personalised, all(item.explanation.text for item in answer))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves folders behind, and would take up stale ones."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "uv", "build", "-q", "--wheel", "--out-dir", source / "dist", source)
    return next((source / "dist").glob("kgrec-*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path) -> Path:
    """The folder of the programs of an environment that holds the wheel and what it needs."""
    folder = wheel.parent.parent / "env"
    run(sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    uv = (sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python)
    run(*uv, "-c", constraints, f"{wheel}[cpu]")
    return folder / "bin"


@pytest.fixture(scope="module")
def finished(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_tables(folder, run=SHORT_RUN)
    run(programs / "kgrec", "run", folder / "run.yaml", "--out", folder / "out")
    return folder / "out"


def run(*command: object) -> str:
    """Return what a program prints; it sees neither this checkout nor this environment."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "GLIBC_TUNABLES"}
    done = subprocess.run(
        [str(part) for part in command],
        env={name: value for name, value in os.environ.items() if name not in hidden},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    data = {name for name in wanted if not name.endswith(".py")}
    assert {"graph_etl/mappings/movielens-demo-links.csv", "kgrec/tuning/baselines.yaml"} <= data
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == wanted


def test_the_terms_are_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names if "licenses" in name}


def test_doctor_finds_everything_that_is_needed(programs: Path) -> None:
    found = run(programs / "kgrec", "doctor")
    assert "failed" not in found
    assert "a node was written and read" in found


def test_graph_etl_tells_its_commands(programs: Path) -> None:
    told = run(programs / "graph-etl", "--help")
    assert all(command in told for command in ("build", "stats", "query", "snapshot"))


def test_a_run_of_the_wheel_answers_with_reasons(programs: Path, finished: Path) -> None:
    assert run(programs / "python", "-c", ASK, finished / "current").split() == [
        "5",
        "True",
        "True",
    ]
    assert "[b" in run(programs / "kgrec", "recommend", "--explain", finished / "current", "u1")
    assert "written_by" in run(programs / "graph-etl", "stats", finished / "graph")
