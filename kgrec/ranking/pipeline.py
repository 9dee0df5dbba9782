"""Retrieve, then rank: the scorer that is served. Training it is the business of crossfit.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import ArtifactError, NotFittedError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.top_items import TopItems, tie_keys, top_of_scores
from kgrec.ranking.behaviour import Behaviour, behaviour_of
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.feature_state import FeatureState
from kgrec.ranking.features import FeatureBuilder
from kgrec.ranking.likes import LikeModel
from kgrec.ranking.preselection import Preselection
from kgrec.ranking.ranked_items import RankedItems
from kgrec.ranking.selection import ChosenRanker
from kgrec.ranking.source_registry import load_source
from kgrec.retrieval.candidates import CandidateGenerator, Candidates
from kgrec.retrieval.changed import HistoryChanges
from kgrec.retrieval.index import VectorIndex
from kgrec.retrieval.index_shards import load_index
from kgrec.retrieval.indexed_source import VectorModel
from kgrec.retrieval.standing import RankArray

_META, _SOURCES, _FEATURES, _INDEXES = "pipeline.json", "sources", "features", "indexes"
_WARM, _COLD, _LIKES, _PRESELECTION = "ranker_warm", "ranker_cold", "likes", "preselection"
OUTSIDE = -100.0
_ROWS_AT_A_TIME = 10_000  # features of this many candidates stay in the caches


class Pipeline(Scorer):
    """Union of candidate sources, ranked by a cross-fitted model.

    score = log P_warm(like | features), or log(cold_weight * P_cold(like | features)) for an item
    without train events. Items that no source brings score below OUTSIDE, the popular first.

    Args:
        config: What it was fitted with.
        sources: Name -> scorer, fitted on all train events.
        state: Feature state of the same events.
        warm: Ranker of items with train events.
        cold: Ranker of items without; None ranks them by ``warm``.
        indexes: Name of a source -> FAISS index over its item vectors.
        likes: Says what is liked of what is met; None where no dislikes are known.
        preselection: Says which candidates are ranked where there are more than
            ``config.reranked``; None ranks all.
        cold_weight: Factor on the probability of items without train events; None: that of
            ``config``, or 1 where it gives none.
    """

    name: ClassVar[str] = "pipeline"

    def __init__(
        self,
        config: PipelineConfig,
        sources: Mapping[str, Scorer],
        state: FeatureState,
        warm: ChosenRanker,
        cold: ChosenRanker | None,
        indexes: Mapping[str, VectorIndex] | None = None,
        likes: LikeModel | None = None,
        preselection: Preselection | None = None,
        cold_weight: float | None = None,
    ) -> None:
        self.config, self.state, self.warm, self.cold = config, state, warm, cold
        given = config.cold_weight if cold_weight is None else cold_weight
        self.cold_weight = 1.0 if given is None else given
        self.likes, self.preselection = likes, preselection
        self.generator = CandidateGenerator(
            sources, config.candidates, state.cold, indexes, state.listed
        )
        self.builder = FeatureBuilder(state)

    @property
    def sources(self) -> dict[str, Scorer]:
        """The candidate sources by name."""
        return self.generator.sources

    @property
    def indexes(self) -> dict[str, VectorIndex]:
        """The FAISS indexes by the name of their source."""
        return self.generator.indexes

    def fit(self, train: TrainingData) -> Self:
        """Raise NotFittedError: a pipeline is fitted by ``fit_pipeline``, which needs sources.

        Raises:
            NotFittedError: Always.
        """
        raise NotFittedError(
            "Expected a pipeline to be fitted by kgrec.ranking.fit_pipeline(train, make_sources), "
            "got Pipeline.fit(); it cannot make its own sources"
        )

    def with_cold_weight(self, weight: float) -> Self:
        """Return a pipeline of the same parts that weighs items without train events so."""
        other = copy(self)
        other.cold_weight = weight
        return other

    def candidates(
        self,
        histories: HistoryBatch,
        k: int = 0,
        *,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> Candidates:
        """Return what is ranked: of the union of the sources' best allowed items, without the
        history, the ``config.reranked`` or ``k`` that the preselection puts first.
        """
        found = self.generator.generate(histories, allowed=allowed, seed=seed)
        if self.preselection is None or self.config.reranked is None:
            return found
        return self.preselection.best(found, self.state.cold, max(self.config.reranked, k))

    def log_odds(self, histories: HistoryBatch, candidates: Candidates) -> npt.NDArray[np.float64]:
        """Return the calibrated log-odds of each candidate, shape (n,), float64."""
        odds = np.empty(len(candidates.item_idx), dtype=np.float64)
        start, indptr = 0, candidates.indptr
        while start < len(histories):
            fitting = np.searchsorted(indptr, indptr[start] + _ROWS_AT_A_TIME, side="right") - 1
            stop = max(start + 1, min(int(fitting), len(histories)))
            users = histories.take(np.arange(start, stop))
            part = self._log_odds(users, candidates.of_users(start, stop))
            odds[indptr[start] : indptr[stop]] = part
            start = stop
        return odds

    def _log_odds(self, histories: HistoryBatch, candidates: Candidates) -> npt.NDArray[np.float64]:
        matrix = self.builder.build(histories, candidates)
        behaviour = self._behaviour(histories, candidates)
        cold = self.state.cold[candidates.item_idx]
        if self.cold is None or not cold.any():
            return self.warm.scores(matrix.values, behaviour)
        odds = np.empty(len(cold), dtype=np.float64)
        for rows, ranker in ((~cold, self.warm), (cold, self.cold)):
            part = behaviour and behaviour.take_rows(rows)
            values = matrix.values[rows]
            if ranker.names != matrix.names:
                values = values[:, [matrix.names.index(name) for name in ranker.names]]
            odds[rows] = ranker.scores(values, part)
        return odds

    def _behaviour(self, histories: HistoryBatch, candidates: Candidates) -> Behaviour | None:
        """Return what rankers that read histories need; None where none was chosen."""
        rankers = [ranker for ranker in (self.warm, self.cold) if ranker is not None]
        if not any(ranker.reads_behaviour for ranker in rankers):
            return None
        return behaviour_of(self.state, histories, candidates, self.config.history_events)

    def candidate_scores(
        self, histories: HistoryBatch, candidates: Candidates
    ) -> tuple[FloatArray, FloatArray]:
        """Return (score, probability) of each candidate, both shape (n,), float32."""
        odds = self.log_odds(histories, candidates)
        probability = 0.5 * (1.0 + np.tanh(0.5 * odds))
        return self.scores_of(odds, candidates), probability.astype(np.float32)

    def scores_of(self, log_odds: npt.NDArray[np.float64], candidates: Candidates) -> FloatArray:
        """Return the score of candidates whose calibrated log-odds are known, shape (n,)."""
        score = -np.logaddexp(0.0, -log_odds)
        weight = max(self.cold_weight, 1e-6)
        score = score + np.log(weight) * self.state.cold[candidates.item_idx]
        return np.asarray(score, dtype=np.float32)

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32.

        Items of the history are never candidates: they score as outside the union.
        """
        outside = self._outside()
        scores = np.broadcast_to(outside, (len(histories), len(outside))).copy()
        candidates = self.candidates(histories)
        score, _ = self.candidate_scores(histories, candidates)
        scores[candidates.row_of_pair, candidates.item_idx] = score
        return scores

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> TopItems:
        """Return the k best items, as Scorer.top says.

        With ``allowed``, the sources are asked for their best allowed items, so that a narrow
        filter still finds candidates of every source. Unlisted items stand in no list.
        """
        listed = self.state.listed
        if listed is not None:
            allowed = listed if allowed is None else allowed & listed
        if not exclude_history or allowed is None:
            return super().top(
                histories, k, exclude_history=exclude_history, allowed=allowed, seed=seed
            )
        ranked = self.rank_candidates(histories, k, allowed=allowed, seed=seed)
        return self._filled(histories, TopItems(ranked.item_idx, ranked.score), allowed, seed)

    def rank_candidates(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> RankedItems:
        """Return the k best candidates of each user with probabilities and provenance.

        Only candidates come back: where the union has fewer than k, so does the answer.

        Args:
            histories: B users.
            k: Items wanted.
            allowed: Shape (num_items,), bool; only these items; None for all.
            seed: Seed of the order among equal scores.
        """
        candidates = self.candidates(histories, k, allowed=allowed, seed=seed)
        score, probability = self.candidate_scores(histories, candidates)
        rows = candidates.row_of_pair
        tie = tie_keys(seed, histories.user_idx[rows], candidates.item_idx)
        order = np.lexsort((tie, -score, rows))
        place = np.arange(len(order)) - candidates.indptr[:-1][rows[order]]
        chosen, slot = order[place < k], place[place < k]
        where = (rows[chosen], slot)
        shape = (len(histories), k)
        found = len(self.generator.names)
        item_idx = np.full(shape, -1, dtype=np.int64)
        out_score = np.full(shape, -np.inf, dtype=np.float32)
        out_probability = np.zeros(shape, dtype=np.float32)
        rank = np.zeros((*shape, found), dtype=np.int32)
        source_z = np.zeros((*shape, found), dtype=np.float32)
        item_idx[where] = candidates.item_idx[chosen]
        out_score[where], out_probability[where] = score[chosen], probability[chosen]
        rank[where] = candidates.rank[chosen]
        source_z[where] = candidates.z[chosen]
        return RankedItems(
            item_idx,
            out_score,
            out_probability,
            candidates.source_names,
            np.where(self._brought(candidates, item_idx, rank), rank, 0),
            source_z,
            rank,
            candidates.best,
        )

    def _brought(self, candidates: Candidates, item_idx: IntArray, rank: RankArray) -> BoolArray:
        """Return which sources brought which items, shape (B, k, S)."""
        wanted = self.config.candidates
        most = [min(wanted.quota_of(name), wanted.depth) for name in self.generator.names]
        brought = (rank > 0) & (rank <= np.array(most))
        there = item_idx >= 0
        row, slot = np.nonzero(there & (self.state.cold[item_idx] | ~brought.any(axis=2)))
        for column, items in enumerate(candidates.added):
            same = items[row] == item_idx[row, slot][:, None]
            brought[row, slot, column] |= same.any(axis=1)
        return brought

    def score_candidates(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return (score, probability) of chosen pairs as the ranker sees them, in the union or not.

        Unlike ``score_pairs`` it never answers "outside": use it to compare a pair before and
        after a change of the history.

        Args:
            histories: B users.
            indptr: Shape (B + 1,), int64.
            item_idx: Shape (num_pairs,), int64, in any order within a user.
        """
        rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
        order = np.lexsort((item_idx, rows))
        candidates = self.generator.describe_pairs(histories, indptr, item_idx[order])
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        score, probability = self.candidate_scores(histories, candidates)
        return score[back], probability[back]

    def score_changed(
        self,
        variants: HistoryBatch,
        changed: HistoryChanges,
        removed: IntArray,
        indptr: IntArray,
        item_idx: IntArray,
    ) -> FloatArray:
        """Return scores of items under variants of one history, near those of ``score_candidates``.

        Args:
            variants: The whole history, then one without each of ``removed``.
            changed: What is known of the history.
            removed: Shape (R,), items of the history, ascending.
            indptr: Shape (R + 2,), int64.
            item_idx: Shape (num_pairs,), items that ``changed`` knows, ascending in a variant.
        """
        candidates = changed.candidates(variants, removed, indptr, item_idx)
        return self.candidate_scores(variants, candidates)[0]

    def _outside(self) -> FloatArray:
        """Return a score below OUTSIDE for every item, shape (num_items,), float32."""
        popularity = np.log1p(self.state.arrays["likes"].astype(np.float64))
        popularity = popularity + 0.01 * self.state.arrays["content"][:, 0]
        span = float(np.ptp(popularity)) or 1.0
        return np.asarray(OUTSIDE - 1.0 + 0.9 * (popularity - popularity.min()) / span, np.float32)

    def _filled(
        self, histories: HistoryBatch, top: TopItems, allowed: BoolArray, seed: int
    ) -> TopItems:
        """Fill lists that the candidates leave short with allowed items from outside the union."""
        short = np.flatnonzero((top.item_idx < 0).any(axis=1))
        if not len(short):
            return top
        item_idx, score = top.item_idx.copy(), top.score.copy()
        outside = np.where(allowed, self._outside(), np.float32(-np.inf))
        for row in short:
            own = slice(histories.indptr[row], histories.indptr[row + 1])
            free = np.flatnonzero(item_idx[row] < 0)
            rest = outside.copy()
            rest[histories.item_idx[own]] = -np.inf
            rest[item_idx[row][item_idx[row] >= 0]] = -np.inf
            found = top_of_scores(rest[None], len(free), seed, histories.user_idx[row : row + 1])
            item_idx[row, free], score[row, free] = found.item_idx[0], found.score[0]
        return TopItems(item_idx, score)

    def describe(self) -> dict[str, Any]:
        """Return settings, sources, chosen rankers and their quality on the last window."""
        described = super().describe()
        described["sources"] = {name: source.describe() for name, source in self.sources.items()}
        described["indexes"] = {name: index.description for name, index in self.indexes.items()}
        described["rankers"] = {
            kind: {"chosen": list(ranker.rankers), "quality": ranker.quality}
            for kind, ranker in (("warm", self.warm), ("cold", self.cold))
            if ranker is not None
        }
        made = self.preselection
        described["cold_weight"] = self.cold_weight
        described["preselection"] = None if made is None else {"best_20_kept": made.kept}
        described["likes"] = None if self.likes is None else self.likes.describe()
        return described

    def save(self, folder: Path) -> None:
        """Write sources, features, rankers and configuration into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in self.sources.items():
            source.save(folder / _SOURCES / name)
        for name, index in self.indexes.items():
            index.save(folder / _INDEXES / name, vectors=False)  # the source has them
        self.state.save(folder / _FEATURES)
        self.warm.save(folder / _WARM)
        if self.cold is not None:
            self.cold.save(folder / _COLD)
        if self.likes is not None:
            self.likes.save(folder / _LIKES)
        if self.preselection is not None:
            self.preselection.save(folder / _PRESELECTION)
        meta = {
            "config": self.config.model_dump(mode="json"),
            "sources": [[name, source.name] for name, source in self.sources.items()],
            "indexes": list(self.indexes),
            "cold_ranker": self.cold is not None,
            "cold_weight": self.cold_weight,
            "likes": self.likes is not None,
            "preselection": self.preselection is not None,
        }
        (folder / _META).write_text(json.dumps(meta, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the pipeline written by ``save``.

        Raises:
            ArtifactError: The folder holds no pipeline, or one with an unknown source.
        """
        if not (folder / _META).is_file():
            raise ArtifactError(
                f"Expected the file {folder / _META} of a pipeline, found none; "
                "train and save the pipeline again"
            )
        meta = json.loads((folder / _META).read_text())
        sources = {
            name: load_source(kind, folder / _SOURCES / name) for name, kind in meta["sources"]
        }
        return cls(
            PipelineConfig.model_validate(meta["config"]),
            sources,
            FeatureState.load(folder / _FEATURES),
            ChosenRanker.load(folder / _WARM),
            ChosenRanker.load(folder / _COLD) if meta["cold_ranker"] else None,
            {
                name: load_index(folder / _INDEXES / name, _vectors_of(sources[name]))
                for name in meta["indexes"]
            },
            LikeModel.load(folder / _LIKES) if meta.get("likes") else None,
            Preselection.load(folder / _PRESELECTION) if meta.get("preselection") else None,
            meta.get("cold_weight"),
        )


def _vectors_of(source: Scorer) -> FloatArray | None:
    return source.item_vectors() if isinstance(source, VectorModel) else None
