"""Where a run's settings come from: a record, a search, or both."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgrec.config import RunConfig, TuningConfig
from kgrec.data.splits import Split
from kgrec.jobs.settings import tuned_settings
from kgrec.jobs.workspace import Workspace
from kgrec.tuning import Budget, SearchSpace, save_record, tune_all


def silent(step: str, share: float) -> None:
    """Tell nobody."""


@pytest.mark.parametrize("search_missing", [False, True])
def test_what_the_record_lacks_is_searched_only_where_asked_for(
    split: Split, space: SearchSpace, tmp_path: Path, search_missing: bool
) -> None:
    kept = tune_all(split, {"ease": space}, Budget(max_trials=2))
    save_record(kept, tmp_path / "kept.json")
    tuning = TuningConfig(file=tmp_path / "kept.json", search_missing=search_missing, trials=2)
    config = RunConfig(dataset="demo", tuning=tuning)
    workspace = Workspace(tmp_path / "run")
    found = tuned_settings(config, {"ease", "svd"}, split, workspace, silent)
    assert found["ease"] == kept.models["ease"]
    assert ("svd" in found) is search_missing
    assert not (workspace.tuning / "ease.jsonl").exists()
    if search_missing:
        assert len(found["svd"].trials) == 2
        assert found == tuned_settings(
            config, {"ease", "svd"}, split, workspace, silent, search_anew=False
        )
