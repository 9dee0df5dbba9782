"""Fitted candidate sources, kept by what they were fitted on, so that variants share them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kgrec.models.scorer import Scorer, TrainingData

SourceMaker = Callable[[bool], Scorer]


class SourcePool:
    """Makes and fits sources, each once for the same events, graph and texts.

    A pipeline without the towers, without texts or with another graph needs most sources of the
    full one again, on the same windows.

    Args:
        makers: Name -> function that is told whether there are texts and returns a new, unfitted
            source.
        progress: Called with a source's name before it is fitted.
    """

    def __init__(
        self,
        makers: Mapping[str, SourceMaker],
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._makers = dict(makers)
        self._fitted: dict[tuple[str, bool, str], Scorer] = {}
        self._progress = progress or (lambda name: None)

    def sources(
        self, without: Collection[str] = (), *, texts: bool = True
    ) -> dict[str, PooledSource]:
        """Return all sources but ``without``, to be fitted through the pool."""
        return {
            name: PooledSource(self, name, texts) for name in self._makers if name not in without
        }

    def fitted(self, name: str, train: TrainingData, *, texts: bool = True) -> Scorer:
        """Return a source fitted on ``train``, the same one for the same events, graph and texts.

        Args:
            name: Of a maker.
            train: What it learns from.
            texts: Whether ``train`` holds texts.
        """
        source = self._makers[name](texts)
        key = (name, texts or not source.reads_texts, _fingerprint(train, source.reads_graph))
        if key not in self._fitted:
            self._progress(name)
            self._fitted[key] = source.fit(train)
        return self._fitted[key]

    def describe(self, name: str, texts: bool) -> dict[str, Any]:
        """Return what the unfitted source says of itself."""
        return self._makers[name](texts).describe()


class PooledSource:
    """One source of a pool: fitting it returns the pool's fitted scorer."""

    def __init__(self, pool: SourcePool, name: str, texts: bool) -> None:
        self._pool, self._name, self._texts = pool, name, texts

    def fit(self, train: TrainingData) -> Scorer:
        """Return the scorer fitted on ``train``."""
        return self._pool.fitted(self._name, train, texts=self._texts)

    def describe(self) -> dict[str, Any]:
        """Return name and settings."""
        return self._pool.describe(self._name, self._texts)


def _fingerprint(train: TrainingData, with_graph: bool) -> str:
    """Return a digest of the events, the seed and, where it is read, the graph."""
    digest = hashlib.sha256(str(train.seed).encode())
    events, graph = train.interactions, train.graph
    for array in (
        events.user_idx,
        events.item_idx,
        events.value,
        events.timestamp,
        events.positive,
    ):
        digest.update(array.tobytes())
    if with_graph:
        for array in (graph.head, graph.relation, graph.tail):
            digest.update(array.tobytes())
    return digest.hexdigest()
