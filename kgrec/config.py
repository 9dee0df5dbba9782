"""The configuration of one run: which data, splits, models and ablations; YAML overrides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kgrec.data.graph import GraphMode
from kgrec.data.splits.config import Part, SplitConfig, SplitName
from kgrec.errors import ConfigError
from kgrec.models.text.finetuning_config import FineTuningConfig
from kgrec.models.towers_config import TowersConfig
from kgrec.ranking.config import PipelineConfig

DEFAULT_BASELINES = (
    "popularity", "itemknn", "rp3beta", "ease", "ease_weighted", "svd", "slim", "ials",
    "rp3_kg", "slim_kg", "ease_kg", "ease_session", "transitions",
)  # fmt: skip

MAPPING = "mapping:"


class _OffIsAWord(yaml.SafeLoader):
    """Reads true and false alone as truth values: ``encoder: off`` says "off" without quotes."""


_OffIsAWord.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if first in "tTfF" or not tag.endswith(":bool")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TuningConfig(_Settings):
    """How the settings of baselines are found, the same budget for each."""

    file: Path | None = None
    """Settings that a search found before (JSON of kgrec.tuning); null: search now."""
    search_missing: bool = False
    """Whether what the file does not hold is searched now; else it has its defaults."""
    trials: int = Field(default=10, ge=1)
    """Trials of each model, where a search runs."""
    cpu_s: float = Field(default=30.0, gt=0)
    """CPU seconds of each model's search, whichever ends first."""


class AblationConfig(_Settings):
    """Rows beside the full pipeline; each costs another training of what it changes."""

    graph: tuple[GraphMode, ...] = ()
    """Pipelines on another graph: "off", "shuffled", "random", or "tables" (without the triples
    that were extracted from text)."""
    without_towers: bool = True
    """A pipeline without the towers' source and features."""
    without_text: bool = False
    """A pipeline that reads no text of items or users."""
    without_cold: bool = False
    """The same pipeline with items without train events below all others: what they cost."""
    without_ranker: bool = False
    """The candidates without the ranker: each source's order, joined by reciprocal rank fusion."""
    splits: tuple[SplitName, ...] = ("per_user_time", "cold_items")
    """Splits on which these rows are made."""


class RunConfig(_Settings):
    """One run of ``kgrec run``: tables in; snapshot, artifact, records and report out."""

    name: str = "run"
    """Name of the run, as the report shows it."""
    dataset: str
    """A dataset.yaml, a folder that a shipped mapping recognises, "mapping:NAME" for a shipped
    mapping on the folder ``data``, or "demo": public data that is fetched. A relative path is
    relative to the YAML file."""
    data: Path | None = None
    """Folder of the tables that dataset.yaml names; null: the folder of dataset.yaml."""
    store: Literal["kglite", "neo4j", "none"] = "kglite"
    """Graph store that mirrors the snapshot: embedded, the Neo4j server that the environment names
    (else the local one), or none."""
    encoder: str = "demo"
    """Text encoder: "demo" (all-MiniLM-L6-v2, fetched), a Hugging Face folder or name, or "off"."""
    text_tuning: FineTuningConfig = FineTuningConfig()
    """What the text encoder itself learns, of the catalogue's texts and of train events."""
    learn_from_texts: bool = True
    """Whether models see the triples that were extracted from texts. false where only some items
    have a text and those were chosen by what shall be foretold: having triples would tell it."""
    seed: int = 0
    """Seed of splits, models and resampling."""
    split: SplitName = "per_user_time"
    """The split whose model is published."""
    further_splits: tuple[SplitName, ...] = ("cold_items", "new_users")
    """Splits that are measured beside it."""
    cold_min_positives: int = Field(default=1, ge=1)
    """cold_items holds out items with so many positives only: with 1 the catalogue's long tail
    stands among them, which hardly anybody asks for."""
    refit_on: Part = "train+val"
    """What the measured models learn from; "train" where a published protocol says so."""
    test_history: Part = "train+val"
    """What they are told of when test is asked; validation is masked in any case."""
    publish_on: Literal["all", "measured"] = "all"
    """What the published model has learned from: all events, fitted once more after its measured
    twin with the same settings; or "measured": the model of the tables itself, which has not seen
    test. The latter where others score it on events that stand in the tables."""
    baselines: tuple[str, ...] = DEFAULT_BASELINES
    """Baselines in the tables: entries of the search spaces, or short names."""
    tuning: TuningConfig = TuningConfig()
    """Where the baselines' settings come from."""
    sources: tuple[str, ...] = ()
    """Candidate sources of the pipeline: entries of the search spaces, or short names; empty:
    those the project found best on validation."""
    source_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Source -> settings that differ from the tuned ones or its defaults; ``model`` names the model
    of a source whose own name is of none, so that one model can be there with several settings."""
    towers: TowersConfig = TowersConfig()
    """The graph, text and behaviour towers."""
    pipeline: PipelineConfig = PipelineConfig()
    """Candidates, features, cross-fitting and rankers."""
    ablations: AblationConfig = AblationConfig()
    """Further rows of the tables."""
    cutoffs: tuple[int, ...] = (10, 20, 50)
    """k of the metrics."""
    source_recall: bool = True
    """Whether the recall that each candidate source gives is measured on validation; the sources
    are fitted once more for it."""
    explained: int = Field(default=1000, ge=0)
    """Explanations that the deletion test tries; 0 leaves the test out."""
    shown_users: int = Field(default=3, ge=0)
    """Users whose top 10 is printed and stands in the report."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.split in self.further_splits:
            raise ValueError(f"further_splits repeats the split '{self.split}'")
        if self.encoder == "off" and self.text_tuning.mode != "frozen":
            raise ValueError(f"text_tuning.mode: {self.text_tuning.mode} needs an encoder, got off")
        return self

    def split_config(self, name: SplitName) -> SplitConfig:
        """Return one of the run's splits with its seed and what its models may learn from."""
        return SplitConfig(
            name=name,
            seed=self.seed,
            cold_min_positives=self.cold_min_positives,
            refit_on=self.refit_on,
            test_history=self.test_history,
        )


class NightlyConfig(RunConfig):
    """A nightly job: a run without tables and ablations, and when its model is published."""

    split: Literal["global_time"] = "global_time"
    """The newest events of all users are held out: only of those it is sure that the published
    model has not learned from them. Data without times cannot be compared from night to night."""
    event_log: Path | None = None
    """Folder of the event log that serving writes; its events, up to where the log ends when the
    night begins, become interactions beside those of the tables. null: the tables alone."""
    state: Path | None = None
    """Serving folder with the ledger of forgotten users: they stand in no snapshot and no artifact
    that is made, and versions that hold them are deleted once another one is published. null:
    nobody is left out."""
    events_left_out: tuple[str, ...] = ("impression",)
    """Kinds of events that become no interaction: what was merely shown."""
    newest_fraction: float = Field(default=0.05, gt=0, lt=0.5)
    """Share of all events, the newest, that a candidate is measured on and does not learn from."""
    warm_start_below: float = Field(default=0.0, ge=0, lt=1)
    """Largest share of changed triples and interactions at which the towers begin with the
    published weights and train ``towers.warm_start_steps``; 0: always anew."""
    max_drop: float = Field(default=0.02, ge=0)
    """A larger relative loss of NDCG@20 against the published model is refused, where its p is
    below ``drop_p_value``."""
    drop_p_value: float = Field(default=0.2, gt=0, le=1)
    """With at least this p (paired bootstrap) a loss beyond ``max_drop`` may be chance and is
    published: NDCG@20 of a hundred users moves by several per cent from night to night. 1: any such
    loss is refused."""
    p_value: float = Field(default=0.05, gt=0, lt=1)
    """A loss with a smaller p (paired bootstrap) is refused, however small."""
    min_users: int = Field(default=50, ge=1)
    """With fewer users among the newest events a loss cannot be told from chance."""
    keep_artifacts: int = Field(default=7, ge=1)
    """Artifacts that stay, the published one among them."""


Kind = TypeVar("Kind", bound=RunConfig)


def load_run_config(path: Path) -> RunConfig:
    """Return the run that a YAML describes; see ``load_config``."""
    return load_config(path, RunConfig)


def load_config(path: Path, kind: type[Kind]) -> Kind:
    """Return the run or nightly job that a YAML describes, paths made absolute.

    Args:
        kind: RunConfig or NightlyConfig.
        path: A run configuration (it has the key "dataset"), a dataset.yaml, or a folder of data;
            the latter two run with the defaults.

    Raises:
        ConfigError: The file is absent, no YAML, or says something that a run does not know.
    """
    if path.is_dir():
        return kind(name=path.resolve().name, dataset=str(path.resolve()))
    if not path.is_file():
        raise ConfigError(
            f"Expected a run configuration, a dataset.yaml or a folder of data at {path}, found "
            "nothing; configs/demo.yaml is an example"
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _OffIsAWord)  # a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Expected YAML in {path}, got: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"Expected a mapping at the top of {path}, got {type(content).__name__}")
    if "dataset" not in content:
        return kind(name=str(content.get("name", path.stem)), dataset=str(path.resolve()))
    try:
        config = kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"Expected a run configuration in {path}; {error}") from error
    return _absolute(config, path.resolve().parent)


def _absolute(config: Kind, folder: Path) -> Kind:
    changes: dict[str, Any] = {}
    if config.dataset != "demo" and not config.dataset.startswith(MAPPING):
        changes["dataset"] = str(folder / config.dataset)
    if config.data is not None:
        changes["data"] = folder / config.data
    if isinstance(config, NightlyConfig):
        given = {"event_log": config.event_log, "state": config.state}
        changes |= {name: folder / path for name, path in given.items() if path is not None}
    if config.tuning.file is not None:
        changes["tuning"] = config.tuning.model_copy(update={"file": folder / config.tuning.file})
    if config.encoder not in ("demo", "off") and (folder / config.encoder).is_dir():
        changes["encoder"] = str(folder / config.encoder)
    return config.model_copy(update=changes)
