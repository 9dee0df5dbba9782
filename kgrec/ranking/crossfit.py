"""Cross-fitted training of the pipeline: features never come from a model that saw the label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.errors import ConfigError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.feature_state import fit_feature_state
from kgrec.ranking.features import FeatureBuilder, FeatureMatrix
from kgrec.ranking.likes import fit_likes
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.ranker import RankingRows, sampled_lists, stack_rows
from kgrec.ranking.row_cache import WindowRows, cache_key, read_rows, write_rows
from kgrec.ranking.selection import ChosenRanker, choose_ranker
from kgrec.ranking.windows import Window, make_windows
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


def fit_pipeline(
    train: TrainingData,
    make_sources: SourceMaker,
    config: PipelineConfig | None = None,
    *,
    text_vectors: FloatArray | None = None,
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
        text_vectors: Shape (num_items, dim), raw vectors of a text encoder, for features; None
            for hashed words.
        progress: Called with a step's name and the share of work done, 0 to 1.
        cache_folder: Where each window's rows are kept, so that a killed run goes on; None to
            keep nothing.

    Raises:
        ConfigError: ``make_sources`` gives no source.
        DataError: A window has no user to learn from.
    """
    config = config or PipelineConfig()
    report = progress or (lambda step, share: None)
    windows = make_windows(train, config.windows)
    steps, rows = len(windows) + 2, []
    for window in windows:
        report(f"window {window.number + 1} of {len(windows)}", window.number / steps)
        rows.append(_rows_of(window, windows, make_sources, config, text_vectors, cache_folder))
    report("rankers", len(windows) / steps)
    warm = _fit_rankers([part.warm for part in rows], config)
    cold = _fit_rankers([part.cold for part in rows], config) if _has_cold(rows) else None
    report("sources on all of train", (len(windows) + 1) / steps)
    sources = _fitted(make_sources, train)
    state = fit_feature_state(train, config.features, text_vectors)
    likes = fit_likes(train, config.likes, text_vectors)
    report("done", 1.0)
    return Pipeline(config, sources, state, warm, cold, _indexes(sources, train, config), likes)


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
    text_vectors: FloatArray | None,
    whole: bool,
) -> WindowRows:
    """Return the labelled lists of a window: items with events, and items without.

    Args:
        window: The cut.
        sources: Fitted on ``window.train``.
        config: Depths and features.
        text_vectors: Shape (num_items, dim), or None.
        whole: Keep every candidate; else positives and a sample of the others.
    """
    state = fit_feature_state(window.train, config.features, text_vectors)
    builder = FeatureBuilder(state)
    generator = CandidateGenerator(sources, config.candidates, window.cold)
    filters = [~window.cold, window.cold]
    positives = [window.positives_among(allowed) for allowed in filters]
    parts: list[list[RankingRows]] = [[], []]
    rng = np.random.default_rng((config.windows.seed, window.number))
    for start in range(0, len(window.histories), 256):
        users = np.arange(start, min(start + 256, len(window.histories)))
        histories = window.histories.take(users)
        lists = generator.generate_each(histories, filters, seed=config.windows.seed)
        for found, candidates, count in zip(parts, lists, positives, strict=True):
            rows = _labelled(window, users, candidates, builder.build(histories, candidates), count)
            rows = rows.take_rows((count[users] > 0)[rows.group_of_row])
            found.append(rows if whole else sampled_lists(rows, config.negatives, rng))
    return WindowRows(*(stack_rows(found) for found in parts))


def _labelled(
    window: Window,
    users: IntArray,
    candidates: Candidates,
    matrix: FeatureMatrix,
    positives: IntArray,
) -> RankingRows:
    sizes = np.zeros(len(window.histories), dtype=np.int64)
    sizes[users] = np.diff(candidates.indptr)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    label = window.labels_of(indptr, candidates.item_idx).astype(np.float32)
    return RankingRows(matrix.names, matrix.values, candidates.indptr, label, positives[users])


def _has_cold(rows: list[WindowRows]) -> bool:
    return all(len(part.cold) > 0 and part.cold.label.any() for part in rows)


def _fit_rankers(parts: list[RankingRows], config: PipelineConfig) -> ChosenRanker:
    return choose_ranker(stack_rows(parts[:-1]), parts[-1], config)


def _rows_of(
    window: Window,
    windows: list[Window],
    make_sources: SourceMaker,
    config: PipelineConfig,
    text_vectors: FloatArray | None,
    cache_folder: Path | None,
) -> WindowRows:
    whole = window is windows[-1]
    file = None
    if cache_folder is not None:
        described = {name: source.describe() for name, source in make_sources().items()}
        key = cache_key(window, described, config, text_vectors)
        file = cache_folder / f"window-{window.number}-{key}.safetensors"
        if file.is_file():
            return read_rows(file)
    rows = window_rows(window, _fitted(make_sources, window.train), config, text_vectors, whole)
    if file is not None:
        write_rows(rows, file)
    return rows
