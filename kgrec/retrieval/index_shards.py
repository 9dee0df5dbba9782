"""One index over several files: each holds consecutive vectors, and their answers are merged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import ArtifactError, ConfigError
from kgrec.models.top_items import TopItems
from kgrec.retrieval.index import IndexConfig, VectorIndex

_META = "shards.json"


def build_index(
    vectors: FloatArray, queries: FloatArray | None, config: IndexConfig | None = None
) -> VectorIndex:
    """Return an index over vectors, of as many shards as the configuration says.

    Args:
        vectors: Shape (num_items, dim), finite.
        queries: Shape (n, dim), to tune the effort and measure recall with; None not to.
        config: Kind, effort and shards.

    Raises:
        ConfigError: There are more shards than vectors.
        DataError: The vectors are no finite matrix.
    """
    shards = 1 if config is None else config.shards
    if shards == 1:
        return VectorIndex(config).build(vectors, queries)
    if shards > len(vectors):
        raise ConfigError(
            f"Expected at most {len(vectors)} shards, one for each vector, got {shards}; take fewer"
        )
    return ShardedIndex.over(vectors, -(-len(vectors) // shards), config, queries)


def load_index(folder: Path, vectors: FloatArray | None = None) -> VectorIndex:
    """Return the index, whole or in shards, that was saved in a folder.

    Args:
        folder: Where it lies.
        vectors: What it was built over, where the caller holds it anyway.

    Raises:
        ArtifactError: A file is absent or cannot be read.
    """
    if (folder / _META).is_file():
        return ShardedIndex.load(folder, vectors=vectors)
    return VectorIndex.load(folder, vectors=vectors)


class ShardedIndex(VectorIndex):
    """Searches shards in turn, so that only one needs its lists in memory at a time.

    Args:
        shards: Each over the vectors after those of the one before it.
    """

    def __init__(self, shards: list[VectorIndex]) -> None:
        if not shards:
            raise ConfigError("Expected at least one shard of a vector index, got none")
        super().__init__(shards[0].config)
        self.shards = shards
        sizes = [int(shard.description["num_items"]) for shard in shards]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._describe()

    @classmethod
    def over(
        cls,
        vectors: FloatArray,
        rows_of_a_shard: int,
        config: IndexConfig | None = None,
        queries: FloatArray | None = None,
    ) -> ShardedIndex:
        """Return shards over the vectors, each tuned as ``VectorIndex.build`` does, then together.

        Args:
            vectors: Shape (num_items, dim); may be memory-mapped, one shard is read at a time.
            rows_of_a_shard: Vectors of each shard, the last one has the rest.
            config: Kind and effort.
            queries: Shape (n, dim), to tune with; None not to.
        """
        if rows_of_a_shard < 1:
            raise ConfigError(f"Expected rows_of_a_shard of at least 1, got {rows_of_a_shard}")
        starts = range(0, max(len(vectors), 1), rows_of_a_shard)
        parts = (vectors[start : start + rows_of_a_shard] for start in starts)
        index = cls([VectorIndex(config).build(part, queries) for part in parts])
        if queries is not None and len(queries):
            index.tune(queries)
        return index

    def search(
        self,
        queries: FloatArray,
        k: int,
        *,
        allowed: BoolArray | None = None,
        excluded: tuple[IntArray, IntArray] | None = None,
    ) -> TopItems:
        """Return the k items of largest inner product, as ``VectorIndex.search`` does."""
        found = []
        for shard, start, stop in zip(self.shards, self.starts, self.starts[1:], strict=False):
            part = None if allowed is None else allowed[start:stop]
            without = None if excluded is None else _between(excluded, int(start), int(stop))
            top = shard.search(queries, k, allowed=part, excluded=without)
            rows = np.where(top.item_idx >= 0, top.item_idx + start, -1)
            found.append(TopItems(rows, top.score))
        score = np.concatenate([top.score for top in found], axis=1)
        item_idx = np.concatenate([top.item_idx for top in found], axis=1)
        order = np.argsort(-score, axis=1, kind="stable")[:, :k]
        return TopItems(
            np.take_along_axis(item_idx, order, axis=1), np.take_along_axis(score, order, axis=1)
        )

    def found_for(self, queries: FloatArray, wanted: IntArray) -> IntArray:
        """Return what each shard finds, as ``VectorIndex.found_for`` does."""
        found = [shard.found_for(queries, wanted) for shard in self.shards]
        moved = zip(found, self.starts[:-1], strict=True)
        return np.concatenate([np.where(one >= 0, one + at, -1) for one, at in moved], axis=1)

    def _eased(self, recall: float, measured: Callable[[], float]) -> float:
        return recall  # each shard has an effort of its own

    def tune(self, queries: FloatArray) -> float:
        """Raise all shards' effort until the whole reaches ``target_recall``; return the recall."""
        recall = super().tune(queries)
        measured = {name: self.description[name] for name in ("recall", "recall_k", "queries")}
        self._describe()
        self.description |= measured
        return recall

    def search_harder(self) -> bool:
        """Double the effort of each shard; return False where nothing is left in any."""
        harder = [shard.search_harder() for shard in self.shards]  # each, whatever the others say
        return any(harder)

    def save(self, folder: Path, *, vectors: bool = True) -> None:
        """Write each shard into a folder of its own under ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, shard in enumerate(self.shards):
            shard.save(folder / f"{number:04d}", vectors=vectors)
        (folder / _META).write_text(json.dumps(self.description, indent=1, sort_keys=True))

    @classmethod
    def load(
        cls, folder: Path, *, mapped: bool = True, vectors: FloatArray | None = None
    ) -> ShardedIndex:
        """Return the shards that ``save`` wrote, left in their files unless ``mapped`` is False.

        Args:
            folder: Where they lie.
            mapped: As ``VectorIndex.load`` takes it.
            vectors: What all of them were built over; None takes them out of the shards.

        Raises:
            ArtifactError: A file is absent or cannot be read.
        """
        if not (folder / _META).is_file():
            raise ArtifactError(
                f"Expected the file {folder / _META} of a sharded index, found none; build it again"
            )
        description = json.loads((folder / _META).read_text())
        shards, start = [], 0
        for number in range(description["shards"]):
            part = None if vectors is None else vectors[start:]
            shards.append(_loaded(folder / f"{number:04d}", mapped, part))
            start += int(shards[-1].description["num_items"])
        index = cls(shards)
        index.description = description
        return index

    def _describe(self) -> None:
        parts = [shard.description for shard in self.shards]
        efforts = [part["effort"] for part in parts if part["effort"] is not None]
        kinds = list(dict.fromkeys(part["kind"] for part in parts))
        self.description = {
            "kind": kinds[0] if len(kinds) == 1 else "+".join(kinds),
            "shards": len(parts),
            "num_items": int(self.starts[-1]),
            "dim": parts[0]["dim"],
            "config": parts[0]["config"],
            "effort": max(efforts, default=None),
            "memory_bytes": sum(part["memory_bytes"] for part in parts),
        }

    def _every_score(self, queries: FloatArray) -> FloatArray:
        return np.concatenate([shard._every_score(queries) for shard in self.shards], axis=1)


def _loaded(folder: Path, mapped: bool, vectors: FloatArray | None) -> VectorIndex:
    """Return one shard; of vectors that begin with its own, it takes those."""
    if vectors is None or not (folder / "index.json").is_file():
        return VectorIndex.load(folder, mapped=mapped)
    described: dict[str, Any] = json.loads((folder / "index.json").read_text())
    own = vectors[: int(described["num_items"])]
    return VectorIndex.load(folder, mapped=mapped, vectors=own)


def _between(
    excluded: tuple[IntArray, IntArray], start: int, stop: int
) -> tuple[IntArray, IntArray]:
    indptr, items = excluded
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    here = (items >= start) & (items < stop)
    counts = np.bincount(rows[here], minlength=len(indptr) - 1)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), items[here] - start
