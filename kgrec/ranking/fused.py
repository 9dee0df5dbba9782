"""Candidates ordered without a learned ranker: what a table shows to tell what the ranker gives."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.errors import NotFittedError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.ranking.pipeline import Pipeline

_RANK_OFFSET = 60.0


class FusedCandidates(Scorer):
    """The union of a pipeline's candidates by reciprocal rank fusion.

    score = sum over sources of 1 / (60 + rank). A source counts for its best ``depth``
    items; items outside the union follow, the popular first. It is measured, never served.

    Source: Cormack, Clarke, Buettcher, Reciprocal rank fusion outperforms Condorcet and individual
    rank learning methods, SIGIR 2009.

    Args:
        pipeline: Fitted; its rankers are not asked.
    """

    name: ClassVar[str] = "fused_candidates"

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def fit(self, train: TrainingData) -> Self:
        """Raise NotFittedError: it is made of a fitted pipeline."""
        raise NotFittedError("Expected FusedCandidates(pipeline) of a fitted pipeline, got fit()")

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32."""
        found = self.pipeline.generator.generate(histories)
        depth = self.pipeline.config.candidates.depth
        share = np.where(found.rank <= depth, 1.0 / (_RANK_OFFSET + found.rank), 0.0)
        popularity = self.pipeline.state.arrays["likes"].astype(np.float64)
        outside = popularity / (popularity.max(initial=0.0) + 1.0) - 1.0
        scores = np.broadcast_to(outside, (len(histories), len(outside))).astype(np.float32)
        scores[found.row_of_pair, found.item_idx] = share.sum(axis=1)
        return scores

    def save(self, folder: Path) -> None:
        """Raise NotFittedError: the pipeline is what is saved."""
        raise NotFittedError("Expected the pipeline to be saved, got its candidates alone")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raise NotFittedError: the pipeline is what is saved."""
        raise NotFittedError(f"Expected a pipeline in {folder}, which has no candidates alone")
