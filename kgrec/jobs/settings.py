"""Settings that validation chooses before test is opened: of baselines, and the towers' steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kgrec.config import RunConfig
from kgrec.data.splits import Split
from kgrec.jobs.prepare import Prepared
from kgrec.jobs.progress import Progress
from kgrec.jobs.workspace import Workspace
from kgrec.models.baselines import make_baseline
from kgrec.models.fit_result import CurvePoint
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import side_of
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.tuning import (
    SHIPPED_SPACES,
    Budget,
    Trial,
    TunedModel,
    load_record,
    load_spaces,
    save_record,
    tune_all,
)


def tuned_settings(
    config: RunConfig,
    wanted: Collection[str],
    split: Split,
    workspace: Workspace,
    progress: Progress,
    *,
    search_anew: bool = True,
) -> Mapping[str, TunedModel]:
    """Return each baseline's settings, found on validation with the same budget for each.

    They come from the configured record, else from a search whose journal lies in the run's
    folder, so that a stopped search goes on. Without ``search_anew`` the record that an earlier
    search left in the folder is taken, whatever data it searched on.
    """
    given: Mapping[str, TunedModel] = {}
    if config.tuning.file is not None:
        given = load_record(config.tuning.file).models
        if not config.tuning.search_missing:
            return given
    found = workspace.tuning / "record.json"
    if not search_anew and found.is_file():
        return {**load_record(found).models, **given}
    shipped = load_spaces(SHIPPED_SPACES)
    missing = {*wanted, config.towers.teacher} - set(given)
    spaces = {name: space for name, space in shipped.items() if name in missing}
    total = len(spaces) * config.tuning.trials
    done = 0

    def tell(entry: str, trial: Trial) -> None:
        nonlocal done
        done += 1
        progress(f"tuning {entry}, trial {trial.number + 1}", done / total)

    record = tune_all(
        split,
        spaces,
        Budget(max_trials=config.tuning.trials, max_cpu_s=config.tuning.cpu_s),
        seed=config.seed,
        journal_folder=workspace.tuning,
        progress=tell,
    )
    save_record(record, found)
    return {**record.models, **given}


def tuned_towers(
    config: RunConfig,
    split: Split,
    prepared: Prepared,
    tuned: Mapping[str, TunedModel],
    progress: Progress,
) -> tuple[TowersConfig, tuple[CurvePoint, ...]]:
    """Return the towers' settings with the steps that were best on validation, and their curve.

    A teacher has the settings that ``tuned`` holds of it. Where the run's configuration states the
    steps, nothing is trained and the curve is empty.
    """
    known = {"text_model": prepared.encoder, **tuned_teacher(config.towers, tuned)}
    towers = config.towers.model_copy(update=known)
    if "steps" in config.towers.model_fields_set:
        return towers, ()
    train = TrainingData(
        split.visible_dataset("train"), split.interactions("train"), split.graph(), config.seed
    )
    progress("towers: early stopping on validation", 0.0)
    task = split.validation()[split.primary_slice]
    fitted = TowersScorer(towers, texts=side_of(prepared.text_vectors)).fit(train, task)
    return towers.model_copy(update={"steps": fitted.best_steps}), fitted.curve


def tuned_teacher(towers: TowersConfig, tuned: Mapping[str, TunedModel]) -> dict[str, Any]:
    """Return the short name of the towers' teacher and all its settings; nothing without one.

    Raises:
        ConfigError: It is no baseline, or does not have such settings.
    """
    if towers.teacher is None:
        return {}
    found = tuned.get(towers.teacher)
    model, settings = (towers.teacher, {}) if found is None else (found.model, found.best_settings)
    settings = {**settings, **towers.teacher_settings}
    make_baseline(model, settings)  # refuses what is wrong before anything is fitted
    return {"teacher": model, "teacher_settings": settings}
