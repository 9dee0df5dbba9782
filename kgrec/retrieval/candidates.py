"""The union of what the candidate sources return, with its provenance; ranking it is not done here.

Scores of different sources do not compare. Each is therefore expressed against the source's own
best ``depth`` items for that user, taken before any filter: a standardised score and a rank. Both
depend on the user and the item alone, so a pair looks the same whatever else is in the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import ConfigError
from kgrec.models.scorer import Scorer
from kgrec.models.top_items import TopItems, top_of_scores
from kgrec.retrieval.index import VectorIndex
from kgrec.retrieval.indexed_source import IndexedSource, VectorModel
from kgrec.retrieval.standing import RankArray, standing_of


class CandidateConfig(BaseModel):
    """How many items each source may bring."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    depth: int = Field(100, ge=1)
    """Best items of each source; ranks and standardised scores refer to them."""
    quotas: dict[str, int] = Field(default_factory=dict)
    """Items of a named source, where it is not ``depth``; 0 makes it a feature only."""
    cold_depth: int = Field(25, ge=0)
    """Best items without train events that each source named in ``cold_sources`` adds."""
    cold_sources: tuple[str, ...] = ("towers", "text_similarity", "kg_neighbours", "content_ridge")
    """Sources that can score an item without train events."""
    batch_bytes: int = Field(256_000_000, ge=1_000_000)
    """Bytes of dense scores held at a time; catalogues beyond it are asked pair by pair."""


@dataclass(frozen=True)
class Candidates:
    """Ragged candidate lists of B users with what each source says of each candidate.

    Attributes:
        indptr: Shape (B + 1,), int64.
        item_idx: Shape (n,), int64, ascending and without repetition within a user.
        source_names: S names.
        z: Shape (n, S), float32: (score - mean) / deviation of the source's best ``depth`` items,
            clipped; 0 where that source has nothing to say for the user.
        rank: Shape (n, S), int32, 1-based rank within the source's best ``depth`` items (items
            with an equal score share the better rank); depth + 1 beyond them.
    """

    indptr: IntArray
    item_idx: IntArray
    source_names: tuple[str, ...]
    z: FloatArray
    rank: RankArray

    @property
    def row_of_pair(self) -> IntArray:
        """Shape (n,), int64: the user row that owns each candidate."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


def concatenate(parts: list[Candidates]) -> Candidates:
    """Return the lists of consecutive user batches as one."""
    sizes = np.concatenate([np.diff(part.indptr) for part in parts])
    return Candidates(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([part.item_idx for part in parts]),
        parts[0].source_names,
        np.concatenate([part.z for part in parts]),
        np.concatenate([part.rank for part in parts]),
    )


class CandidateGenerator:
    """Asks every source and merges the answers.

    Args:
        sources: Name -> fitted scorer, in a fixed order.
        config: Depths and quotas.
        cold: Shape (num_items,), bool: items without train events.
        indexes: Name of a source with item and user vectors -> index over its item vectors, asked
            where the catalogue is too large for dense scores.

    Raises:
        ConfigError: There is no source, or a quota names one that does not exist.
    """

    def __init__(
        self,
        sources: Mapping[str, Scorer],
        config: CandidateConfig,
        cold: BoolArray,
        indexes: Mapping[str, VectorIndex] | None = None,
    ) -> None:
        if not sources:
            raise ConfigError("Expected at least one candidate source, got none")
        unknown = sorted(set(config.quotas) - set(sources))
        if unknown:
            raise ConfigError(
                f"Expected quotas for the candidate sources {sorted(sources)}, got {unknown}; "
                "correct the names under 'quotas'"
            )
        self.sources = dict(sources)
        self.config = config
        self.cold = cold
        self.indexes = dict(indexes or {})

    @property
    def names(self) -> tuple[str, ...]:
        """The source names, in the order of the columns of Candidates."""
        return tuple(self.sources)

    def generate(
        self, histories: HistoryBatch, *, allowed: BoolArray | None = None, seed: int = 0
    ) -> Candidates:
        """Return the union of the sources' best items; nothing of the history is in it.

        Args:
            histories: B users.
            allowed: Shape (num_items,), bool; only these items; None for all.
            seed: Seed of the order among equal scores.
        """
        return self.generate_each(histories, [allowed], seed=seed)[0]

    def generate_each(
        self, histories: HistoryBatch, filters: Sequence[BoolArray | None], *, seed: int = 0
    ) -> list[Candidates]:
        """Return the union under each of several filters; the sources are asked only once."""
        parts: list[list[Candidates]] = [[] for _ in filters]
        for batch in histories.batches(self._batch_size()):
            dense = self._dense(batch)
            reference = [self._reference(name, batch, dense, seed) for name in self.names]
            for found, allowed in zip(parts, filters, strict=True):
                found.append(self._union(batch, dense, reference, allowed, seed))
        return [concatenate(found) if found else self._empty() for found in parts]

    def describe_pairs(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray, *, seed: int = 0
    ) -> Candidates:
        """Return chosen pairs (ascending items within a user) as Candidates, inside or outside."""
        parts = []
        start, size = 0, self._batch_size()
        for batch in histories.batches(size):
            stop = start + len(batch)
            local = indptr[start : stop + 1] - indptr[start]
            items = item_idx[indptr[start] : indptr[stop]]
            dense = self._dense(batch)
            reference = [self._reference(name, batch, dense, seed) for name in self.names]
            parts.append(self._measure(batch, local, items, dense, reference))
            start = stop
        return concatenate(parts) if parts else self._empty()

    def _union(
        self,
        histories: HistoryBatch,
        dense: dict[str, FloatArray],
        reference: list[TopItems],
        allowed: BoolArray | None,
        seed: int,
    ) -> Candidates:
        users, items = [], []
        for name, top in zip(self.names, reference, strict=True):
            quota = self.config.quotas.get(name, self.config.depth)
            if allowed is not None and quota:
                top = self._top(name, histories, dense, quota + 1, allowed, seed)
            picks = [_told_apart(top, quota)]
            if name in self.config.cold_sources and self.config.cold_depth and self.cold.any():
                mask = self.cold if allowed is None else self.cold & allowed
                if mask.any():
                    depth = self.config.cold_depth
                    top = self._top(name, histories, dense, depth + 1, mask, seed)
                    picks.append(_told_apart(top, depth))
            for pick in picks:
                rows, columns = np.nonzero(pick >= 0)
                users.append(rows)
                items.append(pick[rows, columns])
        num_items = len(self.cold)
        keys = np.sort(np.concatenate(users) * num_items + np.concatenate(items))
        keys = keys[np.diff(keys, prepend=-1) > 0]
        indptr = np.searchsorted(keys, np.arange(len(histories) + 1) * num_items).astype(np.int64)
        return self._measure(histories, indptr, keys % num_items, dense, reference)

    def _measure(
        self,
        histories: HistoryBatch,
        indptr: IntArray,
        item_idx: IntArray,
        dense: dict[str, FloatArray],
        reference: list[TopItems],
    ) -> Candidates:
        shape = (len(item_idx), len(self.names))
        z, rank = np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=np.int32)
        rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
        for column, (name, top) in enumerate(zip(self.names, reference, strict=True)):
            if dense:
                scores = dense[name][rows, item_idx]
            else:
                scores = self.sources[name].score_pairs(histories, indptr, item_idx)
            z[:, column], rank[:, column] = standing_of(
                top.score[:, : self.config.depth], rows, scores
            )
        return Candidates(indptr, item_idx, self.names, z, rank)

    def _dense(self, histories: HistoryBatch) -> dict[str, FloatArray]:
        """Return all scores where the catalogue is small, else nothing."""
        if self._row_bytes() > self.config.batch_bytes:
            return {}
        found = {}
        for name, source in self.sources.items():
            scores = source.scores(histories).astype(np.float32, copy=True)
            scores[histories.row_of_event, histories.item_idx] = -np.inf
            found[name] = scores
        return found

    def _reference(
        self, name: str, histories: HistoryBatch, dense: dict[str, FloatArray], seed: int
    ) -> TopItems:
        depth = max(self.config.depth, self.config.quotas.get(name, 0)) + 1
        return self._top(name, histories, dense, depth, None, seed)

    def _top(
        self,
        name: str,
        histories: HistoryBatch,
        dense: dict[str, FloatArray],
        k: int,
        allowed: BoolArray | None,
        seed: int,
    ) -> TopItems:
        if not dense:
            source = self.sources[name]
            if name in self.indexes and isinstance(source, VectorModel):
                indexed = IndexedSource(source, self.indexes[name])
                return indexed.top(histories, k, allowed=allowed)
            return source.top(histories, k, allowed=allowed, seed=seed)
        if allowed is None:
            return top_of_scores(dense[name], k, seed, histories.user_idx)
        columns = np.flatnonzero(allowed)
        if not len(columns):
            shape = (len(histories), k)
            nothing = np.full(shape, -np.inf, dtype=np.float32)
            return TopItems(np.full(shape, -1, dtype=np.int64), nothing)
        top = top_of_scores(dense[name][:, columns], k, seed, histories.user_idx)
        item_idx = np.where(top.item_idx >= 0, columns[top.item_idx], -1)
        return TopItems(item_idx, top.score)

    def _row_bytes(self) -> int:
        return len(self.cold) * 4 * (len(self.sources) + 2)

    def _batch_size(self) -> int:
        return int(np.clip(self.config.batch_bytes // self._row_bytes(), 1, 512))

    def _empty(self) -> Candidates:
        none = np.empty(0, dtype=np.int64)
        shape = (0, len(self.names))
        z, rank = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.int32)
        return Candidates(np.zeros(1, dtype=np.int64), none, self.names, z, rank)


def _told_apart(top: TopItems, k: int) -> IntArray:
    """Return the best k items, without those that tie with the next one: they are drawn by lot.

    Args:
        top: k + 1 items or more for each user.
        k: Items wanted.
    """
    items = top.item_idx[:, :k]
    if top.item_idx.shape[1] <= k:
        return items
    border = top.score[:, k : k + 1]
    return np.where((top.score[:, :k] > border) | np.isneginf(border), items, -1)
