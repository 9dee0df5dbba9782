"""The union of what the candidate sources return, with its provenance; ranking it is not done here.

Scores of different sources do not compare. Each is therefore expressed against the source's own
best ``depth`` items for that user, taken before any filter: a standardised score and a rank. Both
depend on the user and the item alone, so a pair looks the same whatever else is in the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import ConfigError
from kgrec.models.answers import Answers, AskedAnswers, DenseAnswers
from kgrec.models.compiled import compiled
from kgrec.models.scorer import Scorer
from kgrec.models.top_items import TopItems
from kgrec.retrieval.index import VectorIndex
from kgrec.retrieval.indexed_source import IndexedAnswers, VectorModel
from kgrec.retrieval.standing import EQUAL, RankArray, standing_of

Quota = Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0.0, lt=1.0)]

_FEW_ITEMS = 10_000  # up to here a row of all scores costs less than a table of those above 0


class CandidateConfig(BaseModel):
    """How many items each source may bring."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    depth: int = Field(100, ge=1)
    """Best items of each source; ranks and standardised scores refer to them."""
    quotas: dict[str, Quota] = Field(default_factory=dict)
    """Source -> items that it brings, where it is not ``depth``: a number (0 makes it a feature
    only), or a share of ``depth`` above 0 and below 1."""
    cold_depth: int = Field(25, ge=0)
    """Best items without train events that each source named in ``cold_sources`` adds."""
    cold_sources: tuple[str, ...] = (
        "text_similarity", "kg_neighbours", "content_ridge", "content_kernel"
    )  # fmt: skip
    """Sources that can score an item without train events and bring such items; what ranks them
    learns from these sources alone, each fitted once more for every one of ``cold_folds``."""
    batch_bytes: int = Field(256_000_000, ge=1_000_000)
    """Bytes of dense scores held at a time; catalogues beyond it are asked pair by pair."""

    def quota_of(self, source: str) -> int:
        """Return how many items a source brings, those of ``cold_depth`` apart."""
        quota = self.quotas.get(source, self.depth)
        return quota if isinstance(quota, int) else max(1, round(quota * self.depth))


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
        best: Each source's best items and their scores, which z and rank refer to, both of shape
            (B, S, depth), -1 and -inf where there are fewer; None where they were not kept.
        added: For each source what it brought that is not among its best: for want of train events
            (``cold_depth``), or because only such items are allowed; shape (B, any), int64, -1
            where there are fewer. Empty where pairs were chosen otherwise.
    """

    indptr: IntArray
    item_idx: IntArray
    source_names: tuple[str, ...]
    z: FloatArray
    rank: RankArray
    best: TopItems | None = None
    added: tuple[IntArray, ...] = ()

    @property
    def row_of_pair(self) -> IntArray:
        """Shape (n,), int64: the user row that owns each candidate."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def of_users(self, start: int, stop: int) -> Candidates:
        """Return the lists of the users start..stop - 1."""
        first, last = self.indptr[start], self.indptr[stop]
        return Candidates(
            self.indptr[start : stop + 1] - first,
            self.item_idx[first:last],
            self.source_names,
            self.z[first:last],
            self.rank[first:last],
            None if self.best is None else _rows(self.best, slice(start, stop)),
            tuple(items[start:stop] for items in self.added),
        )


def concatenate(parts: list[Candidates]) -> Candidates:
    """Return the lists of consecutive user batches as one."""
    if len(parts) == 1:
        return parts[0]
    sizes = np.concatenate([np.diff(part.indptr) for part in parts])
    return Candidates(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([part.item_idx for part in parts]),
        parts[0].source_names,
        np.concatenate([part.z for part in parts]),
        np.concatenate([part.rank for part in parts]),
        TopItems(
            np.concatenate([part.best.item_idx for part in parts if part.best is not None]),
            np.concatenate([part.best.score for part in parts if part.best is not None]),
        ),
        tuple(np.concatenate(items) for items in zip(*(part.added for part in parts), strict=True)),
    )


def _rows(best: TopItems, rows: slice) -> TopItems:
    return TopItems(best.item_idx[rows], best.score[rows])


class CandidateGenerator:
    """Asks every source and merges the answers.

    Args:
        sources: Name -> fitted scorer, in a fixed order.
        config: Depths and quotas.
        cold: Shape (num_items,), bool: items without train events.
        indexes: Name of a source with item and user vectors -> index over its item vectors, asked
            where the catalogue is too large for dense scores.
        listed: Shape (num_items,), bool: the items that may be candidates; None for all.

    Raises:
        ConfigError: There is no source, or a quota names one that does not exist.
    """

    def __init__(
        self,
        sources: Mapping[str, Scorer],
        config: CandidateConfig,
        cold: BoolArray,
        indexes: Mapping[str, VectorIndex] | None = None,
        listed: BoolArray | None = None,
    ) -> None:
        if not sources:
            raise ConfigError("Expected at least one candidate source, got none")
        unknown = sorted(set(config.quotas) - set(sources))
        if unknown:
            raise ConfigError(
                f"Expected quotas for the candidate sources {sorted(sources)}, got {unknown}; "
                "correct the names under 'quotas'"
            )
        if not any(config.quota_of(name) for name in sources):
            raise ConfigError(
                "Expected a candidate source that brings items, got the quota 0 for all of "
                f"{sorted(sources)}; leave one out of 'quotas'"
            )
        self.sources = dict(sources)
        self.config = config
        self.cold = cold if listed is None else cold & listed
        self.listed = listed
        self.indexes = dict(indexes or {})
        self._cold_items = np.flatnonzero(self.cold)
        self._vectors_of_cold: dict[str, FloatArray] = {}

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
        filters = [self._narrowed(one) for one in filters]
        parts: list[list[Candidates]] = [[] for _ in filters]
        for batch in histories.batches(self._batch_size()):
            answers = self._answers(batch)
            reference = self._references(answers, seed)
            for found, allowed in zip(parts, filters, strict=True):
                found.append(self._union(batch, answers, reference, allowed, seed))
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
            answers = self._answers(batch)
            reference = self._references(answers, seed)
            parts.append(self._measure(batch, local, items, answers, reference))
            start = stop
        return concatenate(parts) if parts else self._empty()

    def _union(
        self,
        histories: HistoryBatch,
        answers: list[Answers],
        reference: list[TopItems],
        allowed: BoolArray | None,
        seed: int,
    ) -> Candidates:
        best, added = [], []
        for name, source, top in zip(self.names, answers, reference, strict=True):
            quota, depth = self.config.quota_of(name), self.config.cold_depth
            own = np.full((len(histories), quota + depth), -1, dtype=np.int64)
            if allowed is None:
                best.append(_told_apart(top, quota))
            elif quota:
                found = _told_apart(source.top(quota + 1, allowed, seed), quota)
                own[:, : found.shape[1]] = found
            if name in self.config.cold_sources and depth and len(self._cold_items):
                mask = self.cold if allowed is None else self.cold & allowed
                found = _told_apart(source.top(depth + 1, mask, seed), depth)
                own[:, quota : quota + found.shape[1]] = found
            added.append(own if allowed is not None else own[:, quota:])
        indptr, item_idx = _united(np.concatenate([*best, *added], axis=1))
        told = self._measure(histories, indptr, item_idx, answers, reference)
        return replace(told, added=tuple(added))

    def _narrowed(self, allowed: BoolArray | None) -> BoolArray | None:
        """Return which listed items are allowed; None where all of them are."""
        if allowed is None or self.listed is None:
            return None if allowed is None or allowed.all() else allowed
        return None if allowed[self.listed].all() else allowed & self.listed

    def _measure(
        self,
        histories: HistoryBatch,
        indptr: IntArray,
        item_idx: IntArray,
        answers: list[Answers],
        reference: list[TopItems],
    ) -> Candidates:
        shape = (len(item_idx), len(self.names))
        z, rank = np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=np.int32)
        rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
        for column, (source, top) in enumerate(zip(answers, reference, strict=True)):
            z[:, column], rank[:, column] = standing_of(
                top.score[:, : self.config.depth], rows, source.pairs(indptr, item_idx)
            )
        best = TopItems(
            np.stack([top.item_idx[:, : self.config.depth] for top in reference], axis=1),
            np.stack([top.score[:, : self.config.depth] for top in reference], axis=1),
        )
        return Candidates(indptr, item_idx, self.names, z, rank, best)

    def _answers(self, histories: HistoryBatch) -> list[Answers]:
        """Return what each source says, by its rows or index where it has them, else densely."""
        return [self._answers_of(name, histories) for name in self.names]

    def _answers_of(self, name: str, histories: HistoryBatch) -> Answers:
        source = self.sources[name]
        fits = self._row_bytes() <= self.config.batch_bytes
        if name in self.indexes and isinstance(source, VectorModel):
            index = self.indexes[name]
            # where all is searched anyway, one product for all questions is faster
            if index.description["kind"] != "flat" or not fits:
                cold = self._cold_vectors(name, source)
                return IndexedAnswers(source, index, histories, self.cold, self._cold_items, cold)
        if fits and len(self.cold) <= _FEW_ITEMS:
            return DenseAnswers(source, histories)
        found = source.answers(histories)
        if found is not None:
            return found
        return DenseAnswers(source, histories) if fits else AskedAnswers(source, histories)

    def _cold_vectors(self, name: str, source: VectorModel) -> FloatArray:
        if name not in self._vectors_of_cold:
            vectors = np.asarray(source.item_vectors(), dtype=np.float32)
            self._vectors_of_cold[name] = np.ascontiguousarray(vectors[self._cold_items])
        return self._vectors_of_cold[name]

    def _references(self, answers: list[Answers], seed: int) -> list[TopItems]:
        """Return each source's best items before any filter: what ranks and z refer to."""
        depths = [max(self.config.depth, self.config.quota_of(name)) for name in self.names]
        return [
            source.top(depth + 1, self.listed, seed)
            for source, depth in zip(answers, depths, strict=True)
        ]

    def _row_bytes(self) -> int:
        return len(self.cold) * 4 * (len(self.sources) + 2)

    def _batch_size(self) -> int:
        return int(np.clip(self.config.batch_bytes // self._row_bytes(), 1, 512))

    def _empty(self) -> Candidates:
        none = np.empty(0, dtype=np.int64)
        shape = (0, len(self.names))
        z, rank = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.int32)
        size = (0, len(self.names), self.config.depth)
        best = TopItems(np.empty(size, dtype=np.int64), np.empty(size, dtype=np.float32))
        return Candidates(np.zeros(1, dtype=np.int64), none, self.names, z, rank, best)


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
    last = np.isneginf(border)
    equal = np.where(last, 0.0, border)
    equal = equal + EQUAL * np.abs(equal)
    return np.where((top.score[:, :k] > equal) | last, items, -1)


@compiled
def _united(picks: Any) -> Any:
    """Return the different items of each row, ascending, as (indptr, item_idx); -1 is none."""
    count, width = picks.shape
    indptr = np.zeros(count + 1, dtype=np.int64)
    items = np.empty(count * width, dtype=np.int64)
    size = 0
    for row in range(count):
        last = -1
        for item in np.sort(picks[row]):
            if item > last:
                items[size] = item
                size += 1
                last = item
        indptr[row + 1] = size
    return indptr, items[:size].copy()
