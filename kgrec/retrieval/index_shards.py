"""One index over several files: each holds consecutive vectors, and their answers are merged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import ArtifactError, ConfigError
from kgrec.models.top_items import TopItems
from kgrec.retrieval.index import IndexConfig, VectorIndex

_META = "shards.json"


class ShardedIndex:
    """Searches shards in turn, so that only one needs its lists in memory at a time.

    Args:
        shards: Each over the vectors after those of the one before it.
    """

    def __init__(self, shards: list[VectorIndex]) -> None:
        if not shards:
            raise ConfigError("Expected at least one shard of a vector index, got none")
        self.shards = shards
        sizes = [int(shard.description["num_items"]) for shard in shards]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @classmethod
    def build(
        cls,
        vectors: FloatArray,
        rows_of_a_shard: int,
        config: IndexConfig | None = None,
        queries: FloatArray | None = None,
    ) -> ShardedIndex:
        """Return shards over the vectors, each tuned as ``VectorIndex.build`` does.

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
        return cls([VectorIndex(config).build(part, queries) for part in parts])

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

    def save(self, folder: Path) -> None:
        """Write each shard into a folder of its own under ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, shard in enumerate(self.shards):
            shard.save(folder / f"{number:04d}")
        (folder / _META).write_text(json.dumps({"shards": len(self.shards)}))

    @classmethod
    def load(cls, folder: Path, *, mapped: bool = True) -> ShardedIndex:
        """Return the shards that ``save`` wrote, left in their files unless ``mapped`` is False.

        Raises:
            ArtifactError: A file is absent or cannot be read.
        """
        if not (folder / _META).is_file():
            raise ArtifactError(
                f"Expected the file {folder / _META} of a sharded index, found none; build it again"
            )
        count = json.loads((folder / _META).read_text())["shards"]
        return cls(
            [VectorIndex.load(folder / f"{number:04d}", mapped=mapped) for number in range(count)]
        )


def _between(
    excluded: tuple[IntArray, IntArray], start: int, stop: int
) -> tuple[IntArray, IntArray]:
    indptr, items = excluded
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    here = (items >= start) & (items < stop)
    counts = np.bincount(rows[here], minlength=len(indptr) - 1)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), items[here] - start
