"""Search spaces in YAML and records in JSON: what is shipped loads, what is wrong is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kgrec.data.splits import Split
from kgrec.errors import ConfigError
from kgrec.models.baselines import BASELINES, make_baseline
from kgrec.tuning import (
    SHIPPED_SPACES,
    Budget,
    SearchSpace,
    load_record,
    load_spaces,
    save_record,
    tune_all,
)

CONFIGS = Path(__file__).parents[3] / "configs"
SPACES = SHIPPED_SPACES


def test_shipped_spaces_cover_every_baseline() -> None:
    assert {space.model for space in load_spaces(SPACES).values()} == set(BASELINES)


@pytest.mark.parametrize("entry", sorted(load_spaces(SPACES)))
def test_shipped_space_bounds_are_settings_that_the_model_takes(entry: str) -> None:
    space = load_spaces(SPACES)[entry]
    for name, dimension in space.search.items():
        ends = dimension.choices or (dimension.low, dimension.high)
        for value in ends:
            whole = int(value) if dimension.whole and value is not None else value
            make_baseline(space.model, {**space.fixed, **space.start, name: whole})


PARTS = {"lastfm-networks": "lastfm-recbole"}  # records of some models alone -> their data set


@pytest.mark.parametrize("path", sorted((CONFIGS / "tuned").glob("*.json")), ids=lambda p: p.stem)
def test_shipped_records_load_and_name_settings_that_models_take(path: Path) -> None:
    record = load_record(path)
    assert record.dataset == PARTS.get(path.stem, path.stem)
    for entry, model in record.models.items():
        assert len(model.trials) >= 30 or model.cpu_s >= 600, entry
        make_baseline(model.model, record.settings(entry))


def test_record_comes_back_as_it_was(split: Split, space: SearchSpace, tmp_path: Path) -> None:
    record = tune_all(split, {"b": space, "a": space}, Budget(max_trials=3))
    save_record(record, tmp_path / "deep" / "r.json")
    assert load_record(tmp_path / "deep" / "r.json") == record
    assert record.split_checksum == split.checksum
    assert record.metric == "ndcg@20"
    assert {"python", "numpy", "optuna"} <= set(record.versions)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["r.json"]


def test_record_keeps_older_entries_of_the_same_search_only(
    split: Split, space: SearchSpace
) -> None:
    older = tune_all(split, {"a": space}, Budget(max_trials=2))
    newer = tune_all(split, {"b": space}, Budget(max_trials=2))
    assert set(newer.with_models_of(older).models) == {"a", "b"}
    other = tune_all(split, {"a": space}, Budget(max_trials=1))
    assert set(newer.with_models_of(other).models) == {"b"}


def test_record_of_an_entry_not_tuned_lists_the_others(split: Split, space: SearchSpace) -> None:
    record = tune_all(split, {"a": space}, Budget(max_trials=1))
    with pytest.raises(ConfigError, match=r"tuned entry of \['a'\] \(got 'z'\)"):
        record.settings("z")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected a tuning record"),
        ("{}", "schema version 1"),
        ('{"schema_version": 2}', "got 2"),
        ('{"schema_version": 1}', "dataset"),
    ],
)
def test_load_record_refuses_what_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_record(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "oracle"}, "got 'oracle'"),
        ({"search": {}}, "at least 1"),
        ({"start": {}}, "expected start to name"),
        ({"search": {"ridge": {"low": 3}}}, "either low and high, or choices"),
        ({"search": {"ridge": {"low": 3, "high": 3}}}, "low < high"),
        ({"search": {"ridge": {"low": 0, "high": 3, "log": True}}}, "low > 0"),
        ({"fixed": {"colour": 3}}, "colour"),
        ({"extra": 1}, "extra"),
    ],
)
def test_load_spaces_refuses_an_impossible_entry(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    entry = {
        "model": "ease",
        "search": {"ridge": {"low": 1, "high": 3}},
        "start": {"ridge": 2},
        **change,
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"e": entry}))
    with pytest.raises(ConfigError, match=message):
        load_spaces(tmp_path / "s.yaml")


@pytest.mark.parametrize("text", ["", "- a", "a: ["])
def test_load_spaces_refuses_a_file_without_entries(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"s\.yaml"):
        load_spaces(tmp_path / "s.yaml")


def test_load_spaces_of_absent_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_spaces(tmp_path / "none.yaml")
