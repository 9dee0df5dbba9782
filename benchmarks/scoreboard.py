"""Runs the boards of benchmarks/scoreboard.yaml and gathers their records; `make docs` shows them.

    python benchmarks/scoreboard.py [--only NAME] [--runs FOLDER] [--records FOLDER]

A run that is done, here or by its committed records, is not done again while its configuration
stays; one that was stopped goes on. A board whose data is not at hand is passed over, with the
reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kgrec.config import RunConfig, load_run_config
from kgrec.jobs.comparison import source_names
from kgrec.jobs.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
DATA_DIR = "KGREC_DATA_DIR"


@dataclass(frozen=True)
class Run:
    """One run of a board.

    Attributes:
        name: Of the configuration in configs/bench, and of the folder of its records.
        data: Folder of the tables below KGREC_DATA_DIR; None where they are fetched.
        seed: Seed of splits and models.
    """

    name: str
    data: str | None
    seed: int

    @property
    def config(self) -> Path:
        """The configuration's file."""
        return ROOT / "configs" / "bench" / f"{self.name}.yaml"

    def missing(self) -> str | None:
        """Return why the run's data is not at hand; None where it is."""
        if self.data is None:
            return None
        folder = os.environ.get(DATA_DIR)
        if not folder:
            return f"{DATA_DIR} is not set"
        return None if (Path(folder) / self.data).is_dir() else f"no folder {self.data} in it"

    def command(self, out: Path) -> list[str]:
        """Return the command that makes the run."""
        command = [sys.executable, "-c", "from kgrec.cli import app; app()", "run"]
        command += [str(self.config), "--out", str(out), "--seed", str(self.seed)]
        if self.data is not None:
            command += ["--data", str(Path(os.environ[DATA_DIR]) / self.data)]
        return command


def planned(path: Path) -> list[Run]:
    """Return all runs of a plan, in its order."""
    boards: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        Run(board["config"], board["data"], seed) for board in boards for seed in board["seeds"]
    ]


def is_done(run: Run, out: Path, records: Path) -> bool:
    """Return whether the run of the configuration as it is now lies in ``out`` or among records."""
    wanted = load_run_config(run.config).model_copy(update={"seed": run.seed})
    wanted = wanted.model_copy(update={"sources": source_names(wanted)})
    kept = {
        Workspace(out).summary: Workspace(out).records,
        kept_summary(records, run.seed): records,
    }
    return any(
        summary.is_file() and _same(_as_it_ran(summary, folder, run.seed), wanted)
        for summary, folder in kept.items()
    )


def kept_summary(records: Path, seed: int) -> Path:
    """Return where a board's records keep what their run was."""
    return records / "runs" / f"{seed}.json"


def gather(run: Run, out: Path, records: Path) -> int:
    """Copy a run's records, ledger and configuration into ``records``; return how many records."""
    workspace, kept = Workspace(out), kept_summary(records, run.seed)
    kept.parent.mkdir(parents=True, exist_ok=True)
    found = sorted(workspace.records.glob("*.json"))
    for path in found:
        for file in (path, path.with_suffix(".npz")):
            shutil.copy2(file, records / file.name)
    shutil.copy2(workspace.ledger, kept.with_name(f"{run.seed}-test-ledger.jsonl"))
    summary = json.loads(workspace.summary.read_bytes())
    told = {name: summary[name] for name in ("name", "commit", "created_at", "timings_s")}
    told |= {"config": _portable(summary["config"]), "records": [path.name for path in found]}
    kept.write_text(json.dumps(told, indent=1))
    return len(found)


def _as_it_ran(summary: Path, records: Path, seed: int) -> dict[str, Any]:
    """Return a run's configuration with the sources it had, also where the project chose them.

    What the project chooses may have changed since: the record of the pipeline tells them.
    """
    config: dict[str, Any] = json.loads(summary.read_bytes())["config"]
    pipelines = sorted(records.glob(f"*-test-pipeline-{seed}-*.json"))
    if pipelines and not config.get("sources"):
        config["sources"] = list(json.loads(pipelines[0].read_bytes())["config"]["sources"])
    return config


def _same(config: dict[str, Any], wanted: RunConfig) -> bool:
    try:
        found = RunConfig.model_validate(config).model_dump(mode="json")
    except ValidationError:  # of a time when a run knew other settings
        return False
    return _portable(found) == _portable(wanted.model_dump(mode="json"))


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without what is of one machine: its folders."""
    file = config["tuning"]["file"]
    return {
        **config,
        "data": None,
        "tuning": {**config["tuning"], "file": file and Path(file).name},
    }


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="One configuration of the plan.")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "scoreboard")
    parser.add_argument("--records", type=Path, default=ROOT / "benchmarks" / "records")
    options = parser.parse_args()
    for run in planned(ROOT / "benchmarks" / "scoreboard.yaml"):
        if options.only not in (None, run.name):
            continue
        label, out = f"{run.name} seed {run.seed}", options.runs / f"{run.name}-{run.seed}"
        records = options.records / run.name
        if is_done(run, out, records) and not out.is_dir():
            print(f"{label}: done, its records are kept")
            continue
        if reason := run.missing():
            print(f"{label}: passed over, {reason}")
            continue
        if not is_done(run, out, records):
            print(f"{label}: running, into {out}", flush=True)
            subprocess.run(run.command(out), check=True, stdout=subprocess.DEVNULL)
        print(f"{label}: {gather(run, out, records)} records")


if __name__ == "__main__":
    main()
