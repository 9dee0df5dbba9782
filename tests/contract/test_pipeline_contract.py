"""The pipeline and the content sources hold the scorer contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from ranking_data import make_sources, small_config
from scorer_contract import ScorerContract

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.errors import NotFittedError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.sources import ContentKernel, ContentRidge, KgNeighbours, TextSimilarity


class CrossFitted(Scorer):
    """A pipeline that is not fitted yet; ``fit`` returns the pipeline."""

    name: ClassVar[str] = "pipeline"

    def fit(self, train: TrainingData) -> Any:
        return fit_pipeline(train, make_sources, small_config())

    def scores(self, histories: HistoryBatch) -> FloatArray:
        raise NotFittedError("call fit")

    def save(self, folder: Path) -> None:
        raise NotFittedError("call fit")

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


class TestPipelineContract(ScorerContract):
    rtol = 1e-3
    atol = 1e-3

    @classmethod
    def make_scorer(cls) -> Scorer:
        return CrossFitted()

    def test_fitted_scorer_is_the_pipeline(self) -> None:
        assert isinstance(self.fitted(), Pipeline)


class TestTextSimilarityContract(ScorerContract):
    @classmethod
    def make_scorer(cls) -> Scorer:
        return TextSimilarity()


class TestKgNeighboursContract(ScorerContract):
    @classmethod
    def make_scorer(cls) -> Scorer:
        return KgNeighbours()


class TestContentKernelContract(ScorerContract):
    @classmethod
    def make_scorer(cls) -> Scorer:
        return ContentKernel()


class TestContentRidgeContract(ScorerContract):
    @classmethod
    def make_scorer(cls) -> Scorer:
        return ContentRidge()
