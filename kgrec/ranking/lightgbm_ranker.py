"""Gradient-boosted trees behind the ranker contract: a model for each objective, summed.

LightGBM enters here and nowhere else; it is stored in its own text format.
"""

from __future__ import annotations

import importlib
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.interactions import FloatArray
from kgrec.errors import ArtifactError, MissingDependencyError, NotFittedError
from kgrec.ranking.behaviour import Behaviour
from kgrec.ranking.ranker import Ranker, RankingRows
from kgrec.ranking.trees import Trees, trees_of_text

_CONFIG = "ranker.json"
Objective = Literal["lambdarank", "rank_xendcg", "binary"]
_SAMPLE_ROWS = 20_000  # rows that suffice to place bins and scales, and to keep one thread busy


@cache
def import_lightgbm() -> ModuleType:
    """Return the ``lightgbm`` module.

    Raises:
        MissingDependencyError: It is not installed; the message carries the install command.
    """
    try:
        return importlib.import_module("lightgbm")
    except ImportError as error:
        raise MissingDependencyError(
            "Expected the library 'lightgbm' for the ranker 'lightgbm', found none; install it "
            "with 'pip install lightgbm', or choose the ranker 'cross_network'"
        ) from error


class LightGBMConfig(BaseModel):
    """Trees and their growth."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    objectives: tuple[Objective, ...] = Field(("lambdarank", "binary"), min_length=1)
    """What is fitted, each a model of its own; their standardised scores are summed."""
    rounds: int = Field(160, ge=1)
    """Trees of each objective at most."""
    patience: int = Field(20, ge=1)
    """Rounds without a better validation metric before growth stops."""
    learning_rate: float = Field(0.06, gt=0.0)
    """Shrinkage of each tree."""
    leaves: int = Field(15, ge=2)
    """Leaves of a tree."""
    min_rows: int = Field(40, ge=1)
    """Rows of a leaf at least."""
    feature_share: float = Field(0.4, gt=0.0, le=1.0)
    """Features that a tree may use."""
    row_share: float = Field(0.7, gt=0.0, le=1.0)
    """Rows that a tree sees."""
    l2: float = Field(5.0, ge=0.0)
    """L2 weight on leaf values."""
    max_bins: int = Field(63, ge=2)
    """Histogram bins of a feature."""
    threads: int = Field(2, ge=1)
    """Threads; a fixed number, since sums depend on it in the last bits."""
    seed: int = Field(0, ge=0)
    """Seed of the draws."""


class LightGBMRanker(Ranker):
    """Sum of the standardised raw scores of one model for each objective."""

    name: ClassVar[str] = "lightgbm"

    def __init__(self, config: LightGBMConfig | None = None) -> None:
        self.config: LightGBMConfig = config or LightGBMConfig()
        self._boosters: dict[str, Any] = {}
        self._trees: dict[str, Trees | None] = {}
        self._spread: dict[str, float] = {}
        self.best_rounds: dict[str, int] = {}

    def fit(self, train: RankingRows, val: RankingRows | None = None) -> Self:
        """Grow both models, stopping on ``val`` where it is given."""
        lightgbm = import_lightgbm()
        # binned once for both objectives; the binary one leaves the groups alone
        data = lightgbm.Dataset(
            train.values,
            label=train.label,
            group=np.diff(train.indptr),
            params=self._parameters(self.config.objectives[0]),
            free_raw_data=False,
        )
        held = []
        if val is not None:
            held.append(data.create_valid(val.values, label=val.label, group=np.diff(val.indptr)))
        for objective in self.config.objectives:
            rounds, callbacks = self.best_rounds.get(objective, self.config.rounds), []
            if val is not None:
                rounds = self.config.rounds
                callbacks.append(lightgbm.early_stopping(self.config.patience, verbose=False))
            booster = lightgbm.train(
                self._parameters(objective), data, rounds, valid_sets=held, callbacks=callbacks
            )
            if val is not None:
                self.best_rounds[objective] = max(booster.best_iteration, 1)
            self._boosters[objective] = booster
            self._trees[objective] = trees_of_text(booster.model_to_string())
            raw = self._raw(objective, train.values[:_SAMPLE_ROWS])
            self._spread[objective] = float(np.std(raw)) or 1.0
        return self

    def _parameters(self, objective: str) -> dict[str, Any]:
        config = self.config
        metric = "binary_logloss" if objective == "binary" else "ndcg"
        return {
            "objective": objective,
            "metric": metric,
            "eval_at": [20],
            "lambdarank_truncation_level": 30,
            "learning_rate": config.learning_rate,
            "max_bin": config.max_bins,
            "bin_construct_sample_cnt": _SAMPLE_ROWS,
            "num_leaves": config.leaves,
            "min_data_in_leaf": config.min_rows,
            "feature_fraction": config.feature_share,
            "bagging_fraction": config.row_share,
            "bagging_freq": 1,
            "lambda_l2": config.l2,
            "num_threads": config.threads,
            "deterministic": True,
            "force_col_wise": True,
            "seed": config.seed,
            "verbose": -1,
        }

    def scores(self, values: FloatArray, behaviour: Behaviour | None = None) -> FloatArray:
        """Return the summed standardised raw scores, shape (n,), float32."""
        if not self._boosters:
            raise NotFittedError(
                f"Expected a fitted ranker '{self.name}', got one without trees; "
                "call fit() or load() first"
            )
        if len(values) == 0:
            return np.empty(0, dtype=np.float32)
        total = np.zeros(len(values))
        for objective in self._boosters:
            total += self._raw(objective, values) / self._spread[objective]
        return total.astype(np.float32)

    def _raw(self, objective: str, values: FloatArray) -> npt.NDArray[np.float64]:
        """Return the raw scores of one model; its own library is ten times slower on one list."""
        trees = self._trees[objective]
        if trees is not None:
            return trees.sums(values)
        threads = self.config.threads if len(values) > _SAMPLE_ROWS else 1
        booster = self._boosters[objective]
        return np.asarray(booster.predict(values, raw_score=True, num_threads=threads))

    def save(self, folder: Path) -> None:
        """Write both models as LightGBM text, and configuration and scales as JSON."""
        if not self._boosters:
            raise NotFittedError(
                f"Expected a fitted ranker '{self.name}' to save; call fit() first"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for objective, booster in self._boosters.items():
            best = booster.best_iteration
            text = booster.model_to_string(num_iteration=best if best > 0 else None)
            (folder / f"{objective}.txt").write_text(text)
        meta = {
            "config": self.config.model_dump(mode="json"),
            "spread": self._spread,
            "best_rounds": self.best_rounds,
        }
        (folder / _CONFIG).write_text(json.dumps(meta, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the ranker written by ``save``."""
        lightgbm = import_lightgbm()
        meta = json.loads(_present(folder / _CONFIG).read_text())
        ranker = cls(LightGBMConfig.model_validate(meta["config"]))
        ranker._spread, ranker.best_rounds = meta["spread"], meta["best_rounds"]
        for objective in ranker.config.objectives:
            text = _present(folder / f"{objective}.txt").read_text()
            ranker._boosters[objective] = lightgbm.Booster(model_str=text)
            ranker._trees[objective] = trees_of_text(text)
        return ranker


def _present(file: Path) -> Path:
    if not file.is_file():
        raise ArtifactError(
            f"Expected the file {file} of a ranker, found none; train and save the pipeline again"
        )
    return file
