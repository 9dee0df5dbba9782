"""Run configurations: shipped YAML loads, default.yaml shows every default, errors are clear."""

from pathlib import Path

import pytest
import yaml

from kgrec.config import NightlyConfig, RunConfig, load_config, load_run_config
from kgrec.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"
NIGHTLY = CONFIGS / "nightly.yaml"
FILES = sorted({*CONFIGS.glob("*.yaml"), *CONFIGS.glob("bench/*.yaml")} - {NIGHTLY})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_shipped_config_loads(path: Path) -> None:
    config = load_run_config(path)
    assert config.tuning.file is None or config.tuning.file.is_file()


def test_default_yaml_shows_every_field_with_its_default() -> None:
    shown = yaml.safe_load((CONFIGS / "default.yaml").read_text())
    assert shown == RunConfig(dataset="demo").model_dump(mode="json")


def test_nightly_yaml_loads_and_shows_its_defaults() -> None:
    config = load_config(NIGHTLY, NightlyConfig)
    shown = yaml.safe_load(NIGHTLY.read_text())
    own = set(NightlyConfig.model_fields) - set(RunConfig.model_fields)
    assert own <= set(shown)
    default = NightlyConfig(name="nightly", dataset=config.dataset)
    assert config.model_dump() == default.model_dump()


def test_load_run_config_takes_a_dataset_yaml_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("name: shop\nitems: {}\n")
    config = load_run_config(path)
    assert (config.name, config.dataset) == ("shop", str(path))
    assert config == RunConfig(name="shop", dataset=str(path))


def test_load_run_config_makes_paths_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("dataset: data/dataset.yaml\ntuning: {file: tuned.json}\n")
    config = load_run_config(path)
    assert config.dataset == str(tmp_path / "data" / "dataset.yaml")
    assert config.tuning.file == tmp_path / "tuned.json"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dataset: demo\nsplitt: per_user_time\n", "splitt"),
        ("dataset: demo\nsplit: new_users\n", "further_splits repeats the split 'new_users'"),
        ("- demo\n", "Expected a mapping at the top"),
        ("dataset: [unclosed\n", "Expected YAML"),
    ],
)
def test_load_run_config_names_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_run_config(path)


def test_off_is_a_word_with_and_without_quotes(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "dataset: demo\nencoder: off\ntowers: {sequence: off}\nlearn_from_texts: no\n"
        'source_recall: false\nablations: {graph: [off, "off"], without_text: yes}\n'
    )
    config = load_run_config(file)
    assert (config.encoder, config.towers.sequence) == ("off", "off")
    assert config.ablations.graph == ("off", "off")
    assert config.ablations.without_text
    assert not config.learn_from_texts
    assert not config.source_recall


def test_load_run_config_of_nothing_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found nothing"):
        load_run_config(tmp_path / "absent.yaml")


def test_cold_items_are_asked_of_the_model_that_is_measured_on_warm_ones() -> None:
    warm, cold = (
        load_run_config(CONFIGS / "bench" / f"{name}.yaml")
        for name in ("ml-latest-small-rated", "ml-latest-small-cold")
    )
    for field in ("dataset", "tuning", "encoder", "sources", "source_settings", "pipeline"):
        assert getattr(warm, field) == getattr(cold, field)
