"""Cross-fitted training of the pipeline: features never come from a model that saw the label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import IntArray
from kgrec.errors import ConfigError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.text.side import TextVectors, share_encoders
from kgrec.ranking.behaviour import Behaviour, behaviour_of, item_content
from kgrec.ranking.cold_weight import largest_weight
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.feature_state import fit_feature_state
from kgrec.ranking.features import FeatureBuilder, FeatureMatrix
from kgrec.ranking.likes import fit_likes
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.preselection import fit_preselection
from kgrec.ranking.ranker import RankingRows, sampled_lists, stack_rows
from kgrec.ranking.row_cache import WindowRows, cache_key, read_rows, write_rows
from kgrec.ranking.selection import ChosenRanker, choose_ranker, usable_rankers
from kgrec.ranking.windows import Window, make_cold_windows, make_windows
from kgrec.retrieval.candidates import CandidateGenerator, Candidates
from kgrec.retrieval.index import VectorIndex
from kgrec.retrieval.indexed_source import IndexedSource, VectorModel


class UnfittedSource(Protocol):
    """What a source is before it has learned: a Scorer, or a stand-in whose fit returns one."""

    def fit(self, train: TrainingData) -> Scorer:
        """Return the fitted scorer."""

    def describe(self) -> dict[str, Any]:
        """Return name and settings."""


SourceMaker = Callable[[], Mapping[str, UnfittedSource]]
Progress = Callable[[str, float], None]
_SETTLING_USERS = 300
_NO_COLD = "new items have no ranker: no source of cold_sources, or too few likes of hidden items"


def fit_pipeline(
    train: TrainingData,
    make_sources: SourceMaker,
    config: PipelineConfig | None = None,
    *,
    text_vectors: TextVectors | None = None,
    progress: Progress | None = None,
    cache_folder: Path | None = None,
) -> Pipeline:
    """Return the fitted pipeline: sources, features, rankers and their calibration.

    For each window the sources are fitted on what lies before its slice, their candidates get
    features from the same past, and the slice gives the labels. The rankers learn from all
    windows but the last, which chooses among them, stops and calibrates them; the chosen one is
    then fitted on every window, and the sources on all of train.

    Args:
        train: Train events, graph and catalogue.
        make_sources: Called once a window and once at the end; returns new, unfitted scorers by
            name, always the same names.
        config: Depths, windows, features and rankers.
        text_vectors: Shape (num_items, dim), raw vectors of a text encoder, for features, or what
            gives those of a window; None for hashed words.
        progress: Called with a step's name and the share of work done, 0 to 1.
        cache_folder: Where each window's rows are kept, so that a killed run goes on; None to
            keep nothing.

    Raises:
        ConfigError: ``make_sources`` gives no source, or the rankers are not usable.
        DataError: A window has no user to learn from.
    """
    config = config or PipelineConfig()
    usable_rankers(config)  # what it raises is better known before the sources are fitted
    report = progress or (lambda step, share: None)
    windows = make_windows(train, config.windows)
    share_encoders(text_vectors, [window.train for window in windows])
    steps, rows = len(windows) + 2, []
    for window in windows:
        report(f"window {window.number + 1} of {len(windows)}", window.number / steps)
        rows.append(_rows_of(window, windows, make_sources, config, text_vectors, cache_folder))
    report("rankers", len(windows) / steps)
    warm = _fit_rankers([part.warm for part in rows], config)
    cold_rows = [part.cold for part in rows]
    if config.windows.cold_folds:
        report("windows of hidden items", len(windows) / steps)
        cold_rows = _rows_of_hidden(train, make_sources, config, text_vectors, cache_folder)
    cold = _fit_rankers(cold_rows, config) if _has_cold(cold_rows) else None
    if cold is None and config.windows.cold_folds:
        report(_NO_COLD, len(windows) / steps)
    report("sources on all of train", (len(windows) + 1) / steps)
    sources = _fitted(make_sources, train)
    state = fit_feature_state(train, config.features, text_vectors)
    likes = fit_likes(train, config.likes, text_vectors)
    indexes = _indexes(sources, train, config)
    pipeline = Pipeline(config, sources, state, warm, cold, indexes, likes)
    settle(pipeline, train)
    report("done", 1.0)
    return pipeline


def settle(pipeline: Pipeline, train: TrainingData) -> None:
    """Weigh items without events and fit what chooses the candidates to rank.

    Both look at the lists of some train users as they stand at the end.
    """
    count, weight = pipeline.config.reranked, pipeline.config.cold_weight
    if count is None and weight is not None:
        return
    pipeline.preselection = None  # to learn from it, every candidate is ranked
    users = np.unique(train.interactions.user_idx)
    drawn = np.random.default_rng(train.seed).permutation(users)[:_SETTLING_USERS]
    histories = HistoryBatch.from_interactions(train.interactions, np.sort(drawn))
    candidates = pipeline.candidates(histories)
    odds, cold = pipeline.log_odds(histories, candidates), pipeline.state.cold
    if weight is None:
        is_cold = cold[candidates.item_idx]
        pipeline.cold_weight = largest_weight(odds, candidates, is_cold, pipeline.config.cold_loss)
    if count is not None:
        scores = pipeline.scores_of(odds, candidates)
        pipeline.preselection = fit_preselection(candidates, scores, cold, count)


def _indexes(
    sources: Mapping[str, Scorer], train: TrainingData, config: PipelineConfig
) -> dict[str, VectorIndex]:
    """Index the vector sources; their recall is measured on the histories of train users."""
    users = np.unique(train.interactions.user_idx)
    drawn = np.random.default_rng(train.seed).permutation(users)[:500]
    histories = HistoryBatch.from_interactions(train.interactions, np.sort(drawn))
    indexes: dict[str, VectorIndex] = {}
    for name in config.indexed_sources:
        source = sources.get(name)
        if isinstance(source, VectorModel):
            indexes[name] = IndexedSource.build(source, histories, config.index).index
    return indexes


def _fitted(make_sources: SourceMaker, train: TrainingData) -> dict[str, Scorer]:
    sources = make_sources()
    if not sources:
        raise ConfigError("Expected make_sources to return at least one candidate source, got none")
    return {name: source.fit(train) for name, source in sources.items()}


def window_rows(
    window: Window,
    sources: Mapping[str, Scorer],
    config: PipelineConfig,
    text_vectors: TextVectors | None,
    whole: bool,
) -> WindowRows:
    """Return the labelled lists of a window: items with events, and items without.

    Args:
        window: The cut.
        sources: Fitted on ``window.train``.
        config: Depths and features.
        text_vectors: Shape (num_items, dim), what gives those of the window, or None.
        whole: Keep every candidate; else positives and a sample of the others.
    """
    state = fit_feature_state(window.train, config.features, text_vectors)
    builder = FeatureBuilder(state)
    listed = window.train.dataset.items.listed
    generator = CandidateGenerator(sources, config.candidates, window.cold, listed=listed)
    nobody = np.zeros_like(window.cold)  # where nothing of a kind is asked, no list is made
    filters = [~window.cold, window.cold]
    positives = [window.positives_among(allowed) for allowed in filters]
    filters = [
        allowed if count.any() else nobody
        for allowed, count in zip(filters, positives, strict=True)
    ]
    parts: list[list[RankingRows]] = [[], []]
    rng = np.random.default_rng((config.windows.seed, window.number))
    for start in range(0, len(window.histories), 256):
        users = np.arange(start, min(start + 256, len(window.histories)))
        histories = window.histories.take(users)
        lists = generator.generate_each(histories, filters, seed=config.windows.seed)
        for found, candidates, count in zip(parts, lists, positives, strict=True):
            matrix = builder.build(histories, candidates)
            behaviour = behaviour_of(state, histories, candidates, config.history_events)
            rows = _labelled(window, users, candidates, matrix, behaviour, count)
            rows = rows.take_rows((count[users] > 0)[rows.group_of_row])
            found.append(rows if whole else sampled_lists(rows, config.negatives, rng))
    return WindowRows(*(stack_rows(found) for found in parts))


def _labelled(
    window: Window,
    users: IntArray,
    candidates: Candidates,
    matrix: FeatureMatrix,
    behaviour: Behaviour,
    positives: IntArray,
) -> RankingRows:
    sizes = np.zeros(len(window.histories), dtype=np.int64)
    sizes[users] = np.diff(candidates.indptr)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    label = window.labels_of(indptr, candidates.item_idx).astype(np.float32)
    return RankingRows(
        matrix.names, matrix.values, candidates.indptr, label, positives[users], behaviour
    )


def _rows_of_hidden(
    train: TrainingData,
    make_sources: SourceMaker,
    config: PipelineConfig,
    text_vectors: TextVectors | None,
    cache_folder: Path | None,
) -> list[RankingRows]:
    """Return the labelled lists of items hidden in turn, with what content tells of them.

    Only the sources that can score an item without events are asked, and where there is none of
    them there is no list; the means over all sources are left out, since there are more of them
    when the ranker is asked.
    """
    named = config.candidates.cold_sources
    quotas = {name: kept for name, kept in config.candidates.quotas.items() if name in named}
    candidates = config.candidates.model_copy(update={"quotas": quotas})
    config = config.model_copy(update={"candidates": candidates})

    def of_content() -> dict[str, UnfittedSource]:
        return {name: made for name, made in make_sources().items() if name in named}

    if not of_content():
        return []
    windows = make_cold_windows(train, config.windows)
    share_encoders(text_vectors, [window.train for window in windows], hidden=True)
    rows = []
    for window in windows:
        part = _rows_of(window, windows, of_content, config, text_vectors, cache_folder).cold
        means = [name.startswith("source.mean.") for name in part.names]
        rows.append(part.take_columns(np.flatnonzero(~np.array(means))))
    return rows


def _has_cold(rows: list[RankingRows]) -> bool:
    return len(rows) > 1 and all(len(part) > 0 and part.label.any() for part in rows)


def _fit_rankers(parts: list[RankingRows], config: PipelineConfig) -> ChosenRanker:
    return choose_ranker(stack_rows(parts[:-1]), parts[-1], config)


def _rows_of(
    window: Window,
    windows: list[Window],
    make_sources: SourceMaker,
    config: PipelineConfig,
    text_vectors: TextVectors | None,
    cache_folder: Path | None,
) -> WindowRows:
    whole = window is windows[-1]
    file = None
    if cache_folder is not None:
        described = {name: source.describe() for name, source in make_sources().items()}
        key = cache_key(window, described, config, text_vectors)
        file = cache_folder / f"window-{window.number}-{key}.safetensors"
        if file.is_file():
            return read_rows(file, item_content(window.train, config.features, text_vectors))
    rows = window_rows(window, _fitted(make_sources, window.train), config, text_vectors, whole)
    if file is not None:
        write_rows(rows, file)
    return rows
