"""The measures of a published artifact: those on record, or test opened once more and logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kgrec.artifact import load_artifact
from kgrec.config import RunConfig
from kgrec.data.dataset import load_dataset
from kgrec.data.splits import SplitConfig, make_split
from kgrec.errors import ConfigError
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.ledger import TestLedger
from kgrec.evaluation.records import hash_of_config, make_run
from kgrec.evaluation.tables import metric_table
from kgrec.jobs.workspace import workspace_of


def stored_measures(path: Path) -> dict[str, Any]:
    """Return what the run that made an artifact found, as run.json holds it.

    Args:
        path: Run folder, its pointer, or one of its artifacts.

    Raises:
        ConfigError: No run lies there, or its run.json is about another artifact.
    """
    found: dict[str, Any] = json.loads(workspace_of(path).summary.read_bytes())
    if path.exists() and path.name not in ("current", workspace_of(path).root.name):
        _must_be(path.name, found, path)
    return found


def measure_again(path: Path) -> dict[str, Any]:
    """Open test once more for a published artifact and return its measures.

    The opening is written to the run's ledger as a repeat.

    Raises:
        ConfigError: No run lies there.
        ArtifactError: The artifact is damaged.
    """
    workspace = workspace_of(path)
    stored = json.loads(workspace.summary.read_bytes())
    config = RunConfig.model_validate(stored["config"])
    artifact = load_artifact(workspace.current if path.is_dir() is False else path)
    _must_be(artifact.artifact_id, stored, path)
    dataset = load_dataset(workspace.snapshot, config.seed)
    split = make_split(dataset, SplitConfig(name=config.split, seed=config.seed))
    ledger = TestLedger(workspace.ledger)
    described = {"artifact": artifact.artifact_id}
    tasks = split.open_test(
        ledger,
        model=artifact.artifact_id,
        config_hash=hash_of_config(artifact.artifact_id, described, config.seed),
        repeat=True,
    )
    results = {
        name: evaluate(
            artifact.scorer,
            task,
            config.cutoffs,
            num_items=dataset.num_items,
            seed=config.seed,
        )
        for name, task in tasks.items()
    }
    run = make_run(
        results,
        split=split,
        part="test",
        model=artifact.scorer.name,
        config=described,
        seed=config.seed,
        ledger=ledger,
    )
    return {
        "artifact_id": artifact.artifact_id,
        "protocol": stored["protocol"],
        "tables": [
            {
                "split": split.name,
                "slice": name,
                "title": f"{split.name}: {name}",
                "models": [
                    {
                        "model": run.record.model,
                        "metrics": {
                            metric: value.model_dump()
                            for metric, value in run.record.slices[name].metrics.items()
                        },
                    }
                ],
                "text": metric_table([run], slice_name=name).text(),
            }
            for name in results
        ],
    }


def _must_be(artifact_id: str, stored: dict[str, Any], path: Path) -> None:
    if artifact_id != stored["artifact_id"]:
        raise ConfigError(
            f"Expected the artifact {stored['artifact_id']} that the run near {path} measured, got "
            f"{artifact_id}; its measures went with its own run"
        )
