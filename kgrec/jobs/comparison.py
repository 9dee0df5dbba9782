"""All rows of one split: baselines, towers, the pipeline and its ablations, measured alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kgrec.config import RunConfig
from kgrec.data.graph import GraphMode
from kgrec.data.splits import Split
from kgrec.errors import ConfigError
from kgrec.evaluation.records import StoredRun
from kgrec.evaluation.source_recall import UnionRecall, union_recall
from kgrec.jobs.measure import Referee
from kgrec.jobs.night_warm_start import WarmTowers
from kgrec.jobs.prepare import Prepared
from kgrec.jobs.progress import Progress
from kgrec.jobs.source_pool import SourcePool
from kgrec.models.baselines import BASELINES, make_baseline
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.text.side import side_of
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.fused import FusedCandidates
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.candidates import CandidateGenerator
from kgrec.retrieval.sources import (
    ContentKernel,
    ContentKernelConfig,
    ContentRidge,
    ContentRidgeConfig,
    KgNeighbours,
    NewItems,
    NewItemsConfig,
    ProfileConfig,
    TextSimilarity,
    Trending,
    TrendingConfig,
)
from kgrec.tuning import TunedModel

# What the project found best on validation of its own data sets: benchmarks/records.
DEFAULT_SOURCES = (
    "ease", "ease_session", "ease_kg_session", "transitions", "itemknn_session", "ials", "svd",
    "rp3_kg", "slim_kg", "text_similarity", "kg_neighbours", "content_ridge", "content_kernel",
    "towers",
)  # fmt: skip
DEFAULT_SETTINGS: dict[str, dict[str, Any]] = {
    "content_kernel": {"ridge": 60.0, "graph_dim": 256, "number_knots": 20}
}
"""Settings of sources whose entry stands neither in the tuning record nor in source_settings."""
TOWERS = "towers"
CONTENT = (KgNeighbours.name, TextSimilarity.name, ContentRidge.name, ContentKernel.name)
OF_ALL = (Trending.name, NewItems.name)


def source_names(config: RunConfig) -> tuple[str, ...]:
    """Return the candidate sources of a run's full pipeline."""
    return config.sources or DEFAULT_SOURCES


def model_of(
    entry: str, tuned: Mapping[str, TunedModel], given: Mapping[str, dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    """Return a model's short name and its settings.

    Args:
        entry: A baseline or source as a run names it: an entry of the search spaces, a short name,
            or one of ``given`` that tells its ``model``.
        tuned: What was searched for, by entry.
        given: ``source_settings`` of the run; they stand above tuned ones.
    """
    if entry not in tuned and entry not in given:
        return entry, dict(DEFAULT_SETTINGS.get(entry, {}))
    found = tuned.get(entry)
    model, settings = (entry, {}) if found is None else (found.model, found.best_settings)
    settings = {**settings, **given.get(entry, {})}
    return str(settings.pop("model", model)), settings


def check_quotas(config: RunConfig) -> None:
    """Raise ConfigError where a quota names no source of the run, before anything is built."""
    names = source_names(config)
    unknown = sorted(set(config.pipeline.candidates.quotas) - set(names))
    if unknown:
        raise ConfigError(
            f"Expected 'pipeline.candidates.quotas' for sources of the run ({', '.join(names)}), "
            f"got {', '.join(unknown)}; correct the names, or add them to 'sources'"
        )


@dataclass(frozen=True)
class Parts:
    """What a pipeline of the tables goes with, to tell what a part gives.

    Attributes:
        graph: Graph that it learns from and answers with.
        towers: Whether the towers are among its sources.
        texts: Whether it reads the texts of items and users.
    """

    graph: GraphMode = "on"
    towers: bool = True
    texts: bool = True

    @property
    def label(self) -> str:
        """Row of the tables."""
        without = [] if self.towers else ["no towers"]
        without += [] if self.texts else ["text off"]
        without += [] if self.graph == "on" else [f"graph {self.graph}"]
        return ", ".join(["pipeline", *without])


WHOLE = Parts()


@dataclass
class Comparison:
    """Fits and measures the models of one split.

    Attributes:
        config: The run.
        prepared: Its data.
        split: What is asked.
        tuned: Entry -> baseline and the settings that validation chose.
        towers: Settings of the towers, steps fixed on validation.
        referee: Measures and records.
        progress: Told what is being fitted.
        rows_folder: Where the windows' rows are kept, so that a killed training goes on.
        earlier_towers: Towers whose weights the last fit of the towers begins with; None: anew.
    """

    config: RunConfig
    prepared: Prepared
    split: Split
    tuned: Mapping[str, TunedModel]
    towers: TowersConfig
    referee: Referee
    progress: Progress
    rows_folder: Path | None = None
    earlier_towers: TowersScorer | None = None
    _pool_of_split: SourcePool | None = None
    _pipelines: dict[str, Pipeline] = field(default_factory=dict)

    def training(self, parts: Parts = WHOLE) -> TrainingData:
        """Return what the models whose test is opened learn from."""
        part = self.split.config.refit_on
        dataset = self.split.visible_dataset(part, parts.graph, self.config.seed)
        return TrainingData(
            dataset if parts.texts else dataset.without_texts(),
            self.split.interactions(part),
            self.split.graph(parts.graph, self.config.seed),
            self.config.seed,
        )

    def training_on_all(self) -> TrainingData:
        """Return what a model learns from that is published and no more measured."""
        events, graph = self.split.all_interactions(), self.split.graph("on", self.config.seed)
        dataset = replace(self.split.dataset, interactions=events, graph=graph)
        return TrainingData(dataset, events, graph, self.config.seed)

    def baselines(self) -> list[StoredRun]:
        """Return the rows of the baselines, each refitted with its tuned settings."""
        runs = []
        for number, name in enumerate(self.config.baselines):
            self.progress(f"{self.split.name}: {name}", number / len(self.config.baselines))
            fit = partial(self._fit, name)
            runs.append(self.referee.measure(name, self._source_described(name), fit))
        return runs

    def pipeline(self, parts: Parts = WHOLE) -> Pipeline:
        """Return a fitted pipeline, fitted once for each set of parts."""
        if parts.label not in self._pipelines:
            step = f"{self.split.name}: {parts.label}"
            self._pipelines[parts.label] = self._fit_pipeline(self.training(parts), parts, step)
        return self._pipelines[parts.label]

    def pipeline_on_all(self) -> Pipeline:
        """Return the full pipeline fitted on all events; it is not kept."""
        return self._fit_pipeline(self.training_on_all(), WHOLE, "pipeline on all events")

    def source_recall(self) -> UnionRecall:
        """Return what each source brings of validation's answers, fitted on train alone."""
        seed, config = self.config.seed, self.config.pipeline.candidates
        train = TrainingData(
            self.split.visible_dataset("train", "on", seed),
            self.split.interactions("train"),
            self.split.graph("on", seed),
            seed,
        )
        cold = np.bincount(train.interactions.item_idx, minlength=train.num_items) == 0
        task = self.split.validation()[self.split.primary_slice]
        brought = {}
        for name in source_names(self.config):
            if quota := config.quota_of(name):
                source = {name: self._pool().fitted(name, train)}
                own = config.model_copy(update={"quotas": {name: quota}})
                listed = train.dataset.items.listed
                found = CandidateGenerator(source, own, cold, listed=listed).generate(
                    task.histories, allowed=task.allowed, seed=seed
                )
                brought[name] = (found.indptr, found.item_idx)
        targets = (task.target_indptr, task.target_items)
        return union_recall(task.name, targets, brought, train.num_items)

    def measure_pipeline(
        self, parts: Parts = WHOLE, served: Callable[[], Scorer] | None = None
    ) -> StoredRun:
        """Return the row of a pipeline.

        Args:
            parts: What it goes with.
            served: Returns the pipeline as it is read back from an artifact, to be measured in
                place of the one in memory.
        """
        fitted = served or (lambda: self.pipeline(parts))
        return self.referee.measure(parts.label, self._described(parts), fitted)

    def measure_cold_last(self) -> StoredRun:
        """Return the row of the full pipeline where items without train events come last."""
        described = self._described(WHOLE) | {"cold_weight": 0.0}
        return self.referee.measure(
            "pipeline, cold last", described, lambda: self.pipeline().with_cold_weight(0.0)
        )

    def measure_candidates(self) -> StoredRun:
        """Return the row of the full pipeline's candidates without its ranker."""
        described = self._described(WHOLE) | {"ranker": "reciprocal rank fusion"}
        return self.referee.measure(
            "pipeline, ranker off", described, lambda: FusedCandidates(self.pipeline())
        )

    def measure_towers(self) -> StoredRun:
        """Return the row of the towers alone, those that are a source of the full pipeline."""
        described = {"towers": self._towers_described(), **self._encoder_described(True)}
        return self.referee.measure(TOWERS, described, lambda: self.pipeline().sources[TOWERS])

    def forget_models(self) -> None:
        """Let go of all fitted models."""
        self._pool_of_split = None
        self._pipelines.clear()

    def _fit(self, name: str) -> Scorer:
        return self._make(name).fit(self.training())

    def _fit_pipeline(self, train: TrainingData, parts: Parts, label: str) -> Pipeline:
        without = () if parts.towers else (TOWERS,)
        return fit_pipeline(
            train,
            lambda: self._pool().sources(without, texts=parts.texts),
            self._pipeline_config(without),
            text_vectors=self.prepared.text_vectors if parts.texts else None,
            cache_folder=self.rows_folder,
            progress=lambda step, share: self.progress(f"{label}: {step}", share),
        )

    def _pipeline_config(self, without: Collection[str]) -> PipelineConfig:
        """Return the pipeline's settings without quotas of sources that are left out."""
        config = self.config.pipeline
        quotas = {
            name: quota for name, quota in config.candidates.quotas.items() if name not in without
        }
        candidates = config.candidates.model_copy(update={"quotas": quotas})
        return config.model_copy(update={"candidates": candidates})

    def _described(self, parts: Parts) -> dict[str, Any]:
        names = [name for name in source_names(self.config) if parts.towers or name != TOWERS]
        return {
            "pipeline": self.config.pipeline.model_dump(mode="json"),
            "sources": {name: self._source_described(name) for name in names},
            "towers": self._towers_described() if parts.towers else None,
            "graph": parts.graph,
            **self._encoder_described(parts.texts),
        }

    def _encoder_described(self, texts: bool) -> dict[str, Any]:
        """Return the text encoder and, where it learns, how."""
        told: dict[str, Any] = {"encoder": self.config.encoder if texts else "off"}
        if texts and side_of(self.prepared.text_vectors) is not None:
            told["text_tuning"] = self.config.text_tuning.model_dump(mode="json")
        return told

    def _towers_described(self) -> dict[str, Any]:
        """Return the towers' settings without the folder that the encoder lies in here."""
        return self.towers.model_dump(mode="json", exclude={"text_model"})

    def _pool(self) -> SourcePool:
        if self._pool_of_split is None:
            makers = {name: partial(self._make, name) for name in source_names(self.config)}
            self._pool_of_split = SourcePool(
                makers, lambda name: self.progress(f"{self.split.name}: source {name}", 0.0)
            )
        return self._pool_of_split

    def _source_described(self, entry: str) -> dict[str, Any]:
        model, settings = model_of(entry, self.tuned, self.config.source_settings)
        return {"model": model, "settings": settings}

    def _make(self, entry: str, texts: bool = True) -> Scorer:
        """Return a new, unfitted baseline or source; ``texts`` says whether there are any."""
        vectors = self.prepared.text_vectors if texts else None
        model, settings = model_of(entry, self.tuned, self.config.source_settings)
        if model in BASELINES:
            return make_baseline(model, settings)
        if model == TOWERS:
            if self.earlier_towers is None:
                return TowersScorer(self.towers, texts=side_of(vectors))
            num_events = len(self.split.interactions(self.split.config.refit_on))
            return WarmTowers(self.towers, self.earlier_towers, num_events, side_of(vectors))
        if model == KgNeighbours.name:
            return KgNeighbours(ProfileConfig.model_validate(settings))
        if model == TextSimilarity.name:
            return TextSimilarity(ProfileConfig.model_validate(settings), vectors)
        if model == ContentRidge.name:
            return ContentRidge(ContentRidgeConfig.model_validate(settings), vectors)
        if model == ContentKernel.name:
            return ContentKernel(ContentKernelConfig.model_validate(settings), vectors)
        if model == Trending.name:
            return Trending(TrendingConfig.model_validate(settings))
        if model == NewItems.name:
            seeded = {"seed": self.config.seed, **settings}
            return NewItems(NewItemsConfig.model_validate(seeded))
        known = sorted({*self.tuned, *BASELINES, *CONTENT, *OF_ALL, TOWERS})
        raise ConfigError(f"Expected a baseline or source of {known}, got '{entry}'")
