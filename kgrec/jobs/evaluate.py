"""The measures of a published artifact: those on record, or test opened once more and logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from graph_etl.snapshot import load_snapshot
from kgrec.artifact import artifact_id_of, load_artifact
from kgrec.config import RunConfig
from kgrec.data.dataset import dataset_from_snapshot
from kgrec.data.splits import make_split, published_labels
from kgrec.data.splits.config import PUBLISHED
from kgrec.errors import ConfigError
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.ledger import TestLedger
from kgrec.evaluation.records import hash_of_config, make_run
from kgrec.evaluation.tables import metric_table
from kgrec.jobs.workspace import Workspace, workspace_of


def stored_measures(path: Path) -> dict[str, Any]:
    """Return what the run that made an artifact found, as run.json holds it.

    Args:
        path: Run folder, its pointer, or one of its artifacts.

    Raises:
        ArtifactError: The pointer or the manifest is damaged.
        ConfigError: No run lies there, or its run.json is about another artifact.
    """
    workspace = workspace_of(path)
    found = _summary(workspace)
    asked = artifact_id_of(workspace.current if _is_run(path, workspace) else path)
    if asked != found["artifact_id"]:
        raise ConfigError(
            f"Expected the artifact {found['artifact_id']} that {workspace.summary} tells of, got "
            f"{asked}, which came later or from elsewhere; measure it with "
            f"'kgrec evaluate {path} --open-test'"
        )
    return found


def measure_again(path: Path) -> dict[str, Any]:
    """Open test once more for a published artifact and return its measures.

    The opening is written to the run's ledger as a repeat.

    Raises:
        ConfigError: No run lies there, or its snapshot is another one by now.
        ArtifactError: The artifact is damaged.
    """
    workspace = workspace_of(path)
    artifact = load_artifact(workspace.current if _is_run(path, workspace) else path)
    config = RunConfig.model_validate(artifact.manifest["config"])
    if artifact.manifest["metrics"].get("learned_from") == "all":
        raise ConfigError(
            f"Expected an artifact that has not learned from the test part, got {artifact.path}, "
            "which learned from all events ('publish_on: all'); its measured twin is the other "
            f"artifact of the run in {workspace.artifacts}: name its folder"
        )
    snapshot = load_snapshot(workspace.snapshot)
    dataset = dataset_from_snapshot(snapshot, config.seed)
    if dataset.snapshot_id != artifact.manifest["snapshot_id"]:
        raise ConfigError(
            f"Expected {artifact.path} to be trained on {dataset.snapshot_id}, which "
            f"{workspace.snapshot} names, got {artifact.manifest['snapshot_id']}; run 'kgrec run' "
            "again to train on the data as it is now"
        )
    labels = published_labels(snapshot) if config.split in PUBLISHED else None
    split = make_split(dataset, config.split_config(config.split), published=labels)
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
        "protocol": _summary(workspace)["protocol"],
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


def _summary(workspace: Workspace) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(workspace.summary.read_bytes())
    except ValueError as error:
        raise ConfigError(
            f"Expected JSON in {workspace.summary}, got: {error}; the file is damaged: run "
            "'kgrec run' again, what was measured is not measured anew"
        ) from error
    return found


def _is_run(path: Path, workspace: Workspace) -> bool:
    return path.resolve() == workspace.root.resolve()
