"""Labelled candidate lists of a run's data, by windows of train time, kept on disk.

The rows are what `kgrec run` would train its rankers on: its sources, fitted before each window.
The split's test part is never looked at: the newest window of train time is what rankers are
compared on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kgrec.config import RunConfig
from kgrec.data.splits import Split
from kgrec.evaluation.beyond_accuracy import catalogue_facts
from kgrec.jobs.comparison import Comparison, source_names
from kgrec.jobs.measure import Referee
from kgrec.jobs.prepare import Prepared, prepare
from kgrec.jobs.settings import tuned_settings
from kgrec.jobs.workspace import Workspace
from kgrec.models.scorer import TrainingData
from kgrec.ranking.behaviour import item_content
from kgrec.ranking.crossfit import window_rows
from kgrec.ranking.row_cache import WindowRows, read_rows, write_rows
from kgrec.ranking.windows import make_windows

WINDOWS = 4  # the last but one stops and calibrates, the last is what is measured


@dataclass(frozen=True)
class LabelledWindows:
    """What rankers of one data set learn from and are measured on.

    Attributes:
        rows: Of each window, oldest first; the last two whole, the others sampled.
        snapshot_id: Of the data.
    """

    rows: list[WindowRows]
    snapshot_id: str


def labelled_windows(config: RunConfig, folder: Path) -> LabelledWindows:
    """Return the rows, made where ``folder`` does not hold them yet."""
    workspace = Workspace(folder)
    workspace.prepare()
    prepared = prepare(config, workspace, _told)
    split = prepared.split(config.split_config(config.split))
    train = TrainingData(
        split.visible_dataset(config.refit_on, "on", config.seed),
        split.interactions(config.refit_on),
        split.graph("on", config.seed),
        config.seed,
    )
    pipeline = config.pipeline
    windows = make_windows(train, pipeline.windows.model_copy(update={"count": WINDOWS}))
    content = item_content(train, pipeline.features, prepared.text_vectors)
    comparison = _comparison(config, workspace, prepared, split)
    rows = []
    for window in windows:
        file = folder / f"window-{window.number}.safetensors"
        if not file.is_file():
            sources = comparison._pool().sources()
            fitted = {name: source.fit(window.train) for name, source in sources.items()}
            whole = window.number >= WINDOWS - 2
            found = window_rows(window, fitted, pipeline, prepared.text_vectors, whole)
            write_rows(found, file)
        rows.append(read_rows(file, content))
    return LabelledWindows(rows, prepared.dataset.snapshot_id)


def _comparison(
    config: RunConfig, workspace: Workspace, prepared: Prepared, split: Split
) -> Comparison:
    tuned = tuned_settings(config, source_names(config), split, workspace, _told)
    towers = config.towers.model_copy(update={"text_model": prepared.encoder})
    known = split.interactions(config.refit_on)
    features = prepared.dataset.graph.item_entity_matrix()
    facts = catalogue_facts(known, prepared.dataset.num_items, features)
    referee = Referee(workspace, split, facts, config.cutoffs, config.seed)
    return Comparison(config, prepared, split, tuned, towers, referee, _told)


def _told(step: str, share: float) -> None:
    print(f"{share:5.0%} {step}", flush=True)
