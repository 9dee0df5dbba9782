"""Equal-budget tuning: every model gets the same trials or CPU seconds, and validation only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import optuna

from kgrec.data.splits import Split, test_forbidden
from kgrec.data.task import EvaluationTask
from kgrec.errors import DataError, MemoryBudgetError
from kgrec.evaluation.environment import machine, versions
from kgrec.evaluation.evaluator import evaluate
from kgrec.models.baselines import Baseline, GramCache, make_baseline
from kgrec.models.scorer import TrainingData
from kgrec.tuning.journal import TrialJournal
from kgrec.tuning.record import Budget, Trial, TunedModel, TuningRecord
from kgrec.tuning.space import SearchSpace, Setting

METRIC = "ndcg@20"
OTHERS = ("recall@20",)
STARTUP_TRIALS = 5  # half of a run's default budget; the others learn from them

Progress = Callable[[str, Trial], None]


def tune_all(
    split: Split,
    spaces: Mapping[str, SearchSpace],
    budget: Budget,
    *,
    seed: int = 0,
    journal_folder: Path | None = None,
    progress: Progress | None = None,
) -> TuningRecord:
    """Return the best settings of each model on the validation part of a split.

    Models learn from the train part; the metric is NDCG@20 on the split's primary slice. While
    the search runs, opening test raises TestLockError in the whole process.

    Args:
        split: Train and validation come from it; its test part is never touched.
        spaces: What is tuned, by entry name.
        budget: The same for every entry.
        seed: Seed of the search and of the models.
        journal_folder: Where finished trials are kept, so that a stopped search goes on and ends
            with the same trials; None keeps none.
        progress: Called with the entry name after each trial.

    Raises:
        DataError: The split has no validation users, or an entry's every trial failed.
        ConfigError: A journal in ``journal_folder`` belongs to another search.
    """
    with test_forbidden("tuning"):
        task = split.validation().get(split.primary_slice)
        if task is None:
            raise DataError(
                f"Expected validation users in slice '{split.primary_slice}' of split "
                f"'{split.name}' (got none); choose a larger val_fraction"
            )
        train = TrainingData(
            split.visible_dataset("train"), split.interactions("train"), split.graph(), seed
        )
        tuned = {}
        for entry, space in spaces.items():
            journal = None
            if journal_folder is not None:
                header = {
                    "space": space.model_dump(mode="json"),
                    "split_checksum": split.checksum,
                    "snapshot_id": split.dataset.snapshot_id,
                    "metric": METRIC,
                    "seed": seed,
                }
                journal = TrialJournal(journal_folder / f"{entry}.jsonl", header)
            tuned[entry] = tune(entry, space, train, task, budget, journal, progress)
    return TuningRecord(
        dataset=split.dataset.name,
        snapshot_id=split.dataset.snapshot_id,
        split=split.name,
        split_seed=split.seed,
        split_checksum=split.checksum,
        slice=split.primary_slice,
        metric=METRIC,
        seed=seed,
        budget=budget,
        versions={**versions(), "optuna": metadata.version("optuna")},
        machine=machine(),
        models=tuned,
    )


def tune(
    entry: str,
    space: SearchSpace,
    train: TrainingData,
    task: EvaluationTask,
    budget: Budget,
    journal: TrialJournal | None = None,
    progress: Progress | None = None,
) -> TunedModel:
    """Return the best of a seeded TPE search; each trial depends on the trials before it alone.

    Settings drawn twice are measured once and count as a trial without CPU time.

    Raises:
        DataError: No trial could be fitted; the message carries the last reason.
    """
    trials = journal.trials()[: budget.max_trials] if journal is not None else []
    grams = GramCache()
    while len(trials) < budget.max_trials and sum(t.cpu_s for t in trials) < budget.max_cpu_s:
        number = len(trials)
        settings = _suggest(space, trials, train.seed)
        trial = _known(number, settings, trials) or _measured(
            number, space, settings, train, task, grams
        )
        trials.append(trial)
        if journal is not None:
            journal.append(trial)
        if progress is not None:
            progress(entry, trial)
    return _outcome(entry, space, trials)


def _measured(
    number: int,
    space: SearchSpace,
    settings: dict[str, Setting],
    train: TrainingData,
    task: EvaluationTask,
    grams: GramCache,
) -> Trial:
    started = time.process_time()
    try:
        model: Baseline = make_baseline(space.model, {**space.fixed, **settings}, grams)
        model.fit(train)
    except (MemoryBudgetError, DataError) as error:  # an unlucky draw; all else is a mistake
        cpu_s = round(time.process_time() - started, 4)
        return Trial(number=number, settings=settings, value=None, cpu_s=cpu_s, error=str(error))
    result = evaluate(model, task, (20,), num_items=train.num_items, seed=train.seed)
    means = result.means()
    return Trial(
        number=number,
        settings=settings,
        value=means[METRIC],
        others={name: means[name] for name in OTHERS},
        cpu_s=round(time.process_time() - started, 4),
    )


def _known(number: int, settings: dict[str, Setting], trials: list[Trial]) -> Trial | None:
    for trial in trials:
        if trial.settings == settings:
            return trial.model_copy(update={"number": number, "cpu_s": 0.0})
    return None


def _outcome(entry: str, space: SearchSpace, trials: list[Trial]) -> TunedModel:
    measured = [trial for trial in trials if trial.value is not None]
    if not measured:
        raise DataError(
            f"Expected a trial of '{entry}' that can be fitted (got {len(trials)} failures); "
            f"the last: {trials[-1].error}"
        )
    best = max(measured, key=lambda trial: (trial.value or 0.0, -trial.number))
    return TunedModel(
        model=space.model,
        best_settings={**space.fixed, **best.settings},
        best_value=best.value or 0.0,
        best_number=best.number,
        cpu_s=round(sum(trial.cpu_s for trial in trials), 4),
        trials=tuple(trials),
    )


def _suggest(space: SearchSpace, trials: list[Trial], seed: int) -> dict[str, Setting]:
    """Return the settings to try next; they follow from the trials so far and the seed alone.

    A new study and sampler each time: a search that was stopped draws what it would have drawn.
    """
    if not trials:
        return dict(space.start)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = space.distributions()
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=STARTUP_TRIALS, seed=(seed * 100_003 + len(trials)) % 2**32
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    state = optuna.trial.TrialState
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(
                state=state.FAIL if trial.value is None else state.COMPLETE,
                params=dict(trial.settings),
                distributions=distributions,
                value=trial.value,
            )
        )
    drawn = study.ask(distributions).params
    return {name: _rounded(value) for name, value in drawn.items()}


def _rounded(value: Setting) -> Setting:
    """Return a float with four significant digits: no more of it matters, and it can be read."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
