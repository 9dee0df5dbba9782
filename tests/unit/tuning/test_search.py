"""The search: equal budgets, validation only, the same trials whether or not it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kgrec.data.splits import Split
from kgrec.errors import ConfigError, DataError, TestLockError
from kgrec.evaluation.evaluator import evaluate
from kgrec.models.baselines import BASELINES, Popularity, make_baseline
from kgrec.models.scorer import TrainingData
from kgrec.tuning import Budget, SearchSpace, Trial, TuningRecord, tune_all


def values(record: TuningRecord, entry: str = "e") -> list[tuple[dict[str, Any], float | None]]:
    return [(trial.settings, trial.value) for trial in record.models[entry].trials]


def test_search_measures_the_start_first_and_keeps_the_best(
    split: Split, space: SearchSpace
) -> None:
    tuned = tune_all(split, {"e": space}, Budget(max_trials=12)).models["e"]
    assert len(tuned.trials) == 12
    assert tuned.trials[0].settings == space.start
    assert tuned.best_value == max(trial.value or 0 for trial in tuned.trials)
    assert tuned.trials[tuned.best_number].settings == tuned.best_settings
    assert tuned.cpu_s == pytest.approx(sum(trial.cpu_s for trial in tuned.trials))


def test_search_tries_floats_of_four_digits(split: Split, space: SearchSpace) -> None:
    trials = tune_all(split, {"e": space}, Budget(max_trials=6)).models["e"].trials
    drawn = [trial.settings["ridge"] for trial in trials[1:]]
    assert all(value == float(f"{value:.4g}") for value in drawn)
    assert len(set(drawn)) > 1


def test_search_value_is_the_validation_metric_of_a_model_fitted_on_train(
    split: Split, space: SearchSpace
) -> None:
    trial = tune_all(split, {"e": space}, Budget(max_trials=3)).models["e"].trials[2]
    train = TrainingData(
        split.visible_dataset("train"), split.interactions("train"), split.graph(), 0
    )
    model = make_baseline("ease", trial.settings).fit(train)
    means = evaluate(model, split.validation()["all"], (20,), num_items=train.num_items).means()
    assert trial.value == pytest.approx(means["ndcg@20"], abs=1e-12)
    assert trial.others["recall@20"] == pytest.approx(means["recall@20"], abs=1e-12)


def test_search_with_one_seed_repeats(split: Split, space: SearchSpace) -> None:
    budget = Budget(max_trials=13)
    first = values(tune_all(split, {"e": space}, budget, seed=4))
    assert first == values(tune_all(split, {"e": space}, budget, seed=4))
    assert first != values(tune_all(split, {"e": space}, budget, seed=5))


def test_search_that_was_stopped_ends_with_the_same_trials(
    split: Split, space: SearchSpace, tmp_path: Path
) -> None:
    whole = tune_all(split, {"e": space}, Budget(max_trials=14))
    tune_all(split, {"e": space}, Budget(max_trials=6), journal_folder=tmp_path)
    journal = tmp_path / "e.jsonl"
    text = journal.read_text()
    journal.write_text(text[: text.rfind("\n", 0, -1) + 20])  # killed while writing trial 5
    seen: list[int] = []
    resumed = tune_all(
        split,
        {"e": space},
        Budget(max_trials=14),
        journal_folder=tmp_path,
        progress=lambda _entry, trial: seen.append(trial.number),
    )
    assert values(resumed) == values(whole)
    assert seen == list(range(5, 14))


def test_search_refuses_the_journal_of_another_search(
    split: Split, space: SearchSpace, tmp_path: Path
) -> None:
    tune_all(split, {"e": space}, Budget(max_trials=1), journal_folder=tmp_path)
    with pytest.raises(ConfigError, match=r"Expected the journal of .*e\.jsonl.*delete"):
        tune_all(split, {"e": space}, Budget(max_trials=1), seed=9, journal_folder=tmp_path)


def test_search_refuses_a_damaged_journal(split: Split, space: SearchSpace, tmp_path: Path) -> None:
    tune_all(split, {"e": space}, Budget(max_trials=1), journal_folder=tmp_path)
    with (tmp_path / "e.jsonl").open("a") as file:
        file.write('{"number": "x"}\n')
    with pytest.raises(ConfigError, match=r"one trial a line in .*e\.jsonl"):
        tune_all(split, {"e": space}, Budget(max_trials=3), journal_folder=tmp_path)


def test_search_stops_when_cpu_seconds_are_used_up(split: Split, space: SearchSpace) -> None:
    record = tune_all(split, {"e": space}, Budget(max_trials=50, max_cpu_s=1e-6))
    assert len(record.models["e"].trials) == 1


def test_search_counts_settings_drawn_twice_without_fitting_again(split: Split) -> None:
    space = SearchSpace.model_validate(
        {
            "model": "popularity",
            "search": {"half_life_days": {"choices": [None, 30]}},
            "start": {"half_life_days": None},
        }
    )
    trials = tune_all(split, {"p": space}, Budget(max_trials=6)).models["p"].trials
    assert [trial.number for trial in trials] == list(range(6))
    assert sum(trial.cpu_s > 0 for trial in trials) <= 2


def test_search_gives_every_entry_the_same_trials(split: Split, space: SearchSpace) -> None:
    other = space.model_copy(update={"model": "itemknn"})
    with pytest.raises(ConfigError, match="settings of 'itemknn'"):
        tune_all(split, {"e": space, "k": other}, Budget(max_trials=2))
    twin = space.model_copy(update={"fixed": {"ridge_exponent": 0.5}})
    record = tune_all(split, {"e": space, "w": twin}, Budget(max_trials=4))
    assert {len(model.trials) for model in record.models.values()} == {4}
    assert record.settings("w")["ridge_exponent"] == 0.5


def test_search_records_failed_trials_and_goes_on(split: Split) -> None:
    space = SearchSpace.model_validate(
        {
            "model": "ease",
            "search": {"max_memory_bytes": {"choices": [100, 8_000_000_000]}},
            "start": {"max_memory_bytes": 100},
        }
    )
    tuned = tune_all(split, {"e": space}, Budget(max_trials=8)).models["e"]
    failed = [trial for trial in tuned.trials if trial.value is None]
    assert failed
    assert "bytes" in (failed[0].error or "")
    assert tuned.best_settings == {"max_memory_bytes": 8_000_000_000}


def test_search_whose_every_trial_fails_says_why(split: Split, space: SearchSpace) -> None:
    tiny = space.model_copy(update={"fixed": {"max_memory_bytes": 10}})
    with pytest.raises(DataError, match=r"a trial of 'e'.*got 3 failures.*bytes"):
        tune_all(split, {"e": tiny}, Budget(max_trials=3))


class _Ledger:
    def record_opening(self, **_: object) -> None:
        raise AssertionError("the lock must refuse before the ledger is asked")


def test_search_may_not_open_test(split: Split, space: SearchSpace) -> None:
    def peek(_entry: str, _trial: Trial) -> None:
        split.open_test(_Ledger(), model="ease", config_hash="x")

    with pytest.raises(TestLockError, match="tuning"):
        tune_all(split, {"e": space}, Budget(max_trials=1), progress=peek)


def test_model_that_asks_for_test_while_tuned_fails(
    split: Split, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Peeking(Popularity):
        name = "peeking"

        def fit(self, train: TrainingData) -> Peeking:
            split.open_test(_Ledger(), model="peeking", config_hash="x")
            return self

    monkeypatch.setitem(BASELINES, "peeking", Peeking)
    sneaky = SearchSpace.model_validate(
        {
            "model": "peeking",
            "search": {"half_life_days": {"choices": [1, 2]}},
            "start": {"half_life_days": 1},
        }
    )
    with pytest.raises(TestLockError, match="tuning"):
        tune_all(split, {"e": sneaky}, Budget(max_trials=2))
