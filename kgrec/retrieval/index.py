"""A FAISS index over item vectors whose recall is measured, not assumed.

Scores are inner products, higher is better. Which vectors go in is the business of the caller.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import ArtifactError, ConfigError, DataError, NotFittedError
from kgrec.models.top_items import TopItems
from kgrec.retrieval.exact_search import dense_search, exact_scores, first_of, search_some
from kgrec.retrieval.faiss_module import import_faiss
from kgrec.retrieval.index_kinds import (
    CODED,
    IndexConfig,
    IndexKind,
    chosen_kind,
    filtered_parameters,
    make_index,
    memory_bytes,
    most_effort,
    set_effort,
)

__all__ = ["IndexConfig", "VectorIndex"]

_INDEX, _META, _VECTORS = "index.faiss", "index.json", "vectors.npy"
_MOST_REFINE = 64
_LEAST_EASED = 16  # below it, a finer step saves nothing


class VectorIndex:
    """Inner-product search over ``num_items`` vectors; row number is item_idx.

    HNSW and IVF start with a small search effort; ``tune`` doubles it until the recall measured
    on real queries reaches the target, or until the whole index is searched. "ivf_4bit" and
    "ivf_pq" (rotated by OPQ) find by codes, and score what they find by the whole vectors.

    Args:
        config: Kind and effort.
    """

    def __init__(self, config: IndexConfig | None = None) -> None:
        self.config = config or IndexConfig()
        self.description: dict[str, Any] = {}
        self._index: Any = None
        self._vectors: FloatArray | None = None

    def build(self, vectors: FloatArray, queries: FloatArray | None = None) -> Self:
        """Index the vectors and return self.

        Args:
            vectors: Shape (num_items, dim), finite.
            queries: Shape (n, dim), real user vectors to tune the effort and measure recall with;
                None leaves the smallest effort and no measurement. The kind "auto" gives up HNSW
                for IVF, which reaches any recall, where the whole graph searched falls short: by
                inner products of vectors that share a direction some items are never met.

        Raises:
            DataError: The vectors are not a finite matrix with at least one row.
        """
        if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all():
            raise DataError(
                f"Expected finite item vectors of shape (num_items, dim), got shape "
                f"{vectors.shape} with {int((~np.isfinite(vectors)).sum())} values that are not "
                "finite; check the training of the model that made them"
            )
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        kind = chosen_kind(self.config, *vectors.shape)
        self._make(kind)
        if queries is not None and len(queries):
            recall = self.tune(queries)
            if self.config.kind == "auto" and kind == "hnsw" and recall < self.config.target_recall:
                self._make("ivf")
                self.tune(queries)
        return self

    def _make(self, kind: IndexKind) -> None:
        vectors = self._vectors
        assert vectors is not None
        self._index = make_index(self.config, kind, vectors)
        self.description = {
            "kind": kind,
            "num_items": len(vectors),
            "dim": vectors.shape[1],
            "config": self.config.model_dump(mode="json"),
            "effort": None,
            "memory_bytes": memory_bytes(self.config, kind, *vectors.shape),
        }
        if kind in CODED:
            self.description["refine"] = self.config.refine
        if kind != "flat":
            self.set_effort(self._start(kind))

    def search(
        self,
        queries: FloatArray,
        k: int,
        *,
        allowed: BoolArray | None = None,
        excluded: tuple[IntArray, IntArray] | None = None,
    ) -> TopItems:
        """Return the k items of largest inner product for each query.

        Args:
            queries: Shape (B, dim).
            k: Items wanted; fewer come where fewer are allowed.
            allowed: Shape (num_items,), bool; only these items; None for all.
            excluded: (indptr, item_idx), ragged: items left out for each query; None for none.

        Returns:
            Shape (B, k), -1 and -inf where there are fewer.
        """
        index, vectors = self._built()
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if allowed is not None and len(allowed) != len(vectors):
            raise ConfigError(
                f"Expected 'allowed' of {len(vectors)} items, got {len(allowed)}; "
                "pass one flag for each item of the index"
            )
        longest = 0 if excluded is None else int(np.diff(excluded[0]).max(initial=0))
        asked = min(k + longest, len(vectors))
        if len(queries) == 0 or asked == 0:
            empty = np.full((len(queries), k), -1, dtype=np.int64)
            return TopItems(empty, np.full(empty.shape, -np.inf, dtype=np.float32))
        if self._kind == "flat":
            return dense_search(queries, vectors, k, allowed, excluded)
        wide = min(asked * int(self.description.get("refine", 1)), len(vectors))
        if allowed is None:
            score, found = index.search(queries, wide)
        else:
            score, found = self._filtered(index, queries, wide, allowed)
        found = found.astype(np.int64)
        if self._kind in CODED:
            score = exact_scores(queries, vectors, found)
        score = np.where(found >= 0, score, -np.inf)
        if excluded is None and wide == k and self._kind not in CODED:
            return TopItems(found, score)  # in order already
        if excluded is not None:
            rows = np.repeat(np.arange(len(queries)), np.diff(excluded[0]))
            keys = rows * len(vectors) + excluded[1]
            ours = np.arange(len(queries))[:, None] * len(vectors) + found
            score = np.where(np.isin(ours, keys) & (found >= 0), -np.inf, score)
        return first_of(found, score, k)

    def found_for(self, queries: FloatArray, wanted: IntArray) -> IntArray:
        """Return items among which the best of each query are, in no order; who asks scores them.

        What is found for a query depends on no other one of the batch.

        Args:
            queries: Shape (B, dim).
            wanted: Shape (B,), int64, how many of the best are wanted for each query.

        Returns:
            Shape (B, n), int64, -1 where there are fewer.
        """
        most = int(wanted.max(initial=0))
        if self._kind not in CODED:
            return self.search(queries, most).item_idx
        index, vectors = self._built()
        brought = np.minimum(wanted * int(self.description["refine"]), len(vectors))
        found = np.full((len(queries), int(brought.max(initial=0))), -1, dtype=np.int64)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        for row, count in enumerate(brought):
            found[row, :count] = index.search(queries[row : row + 1], int(count))[1]
        return found

    def measured_recall(self, queries: FloatArray, k: int | None = None) -> float:
        """Return the mean share of the exact k best that the index finds, 0 to 1.

        An item that ties with the k-th best counts as found.

        Args:
            queries: Shape (n, dim), real user vectors; 500 of them are drawn by seed.
            k: Items of a list; None for ``recall_k``.
        """
        k = min(k or self.config.recall_k, int(self.description["num_items"]))
        sample, borders = self._exact_borders(queries, k)
        return self._share_found(sample, borders, k)

    def _exact_borders(self, queries: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
        """Return the queries drawn, and the least score of each one's exact k best, (n, 1)."""
        rng = np.random.default_rng(self.config.seed)
        chosen = rng.permutation(len(queries))[:500]
        sample = np.ascontiguousarray(queries[chosen], dtype=np.float32)
        borders = np.empty((len(sample), 1), dtype=np.float32)
        for start in range(0, len(sample), 64):
            exact = self._every_score(sample[start : start + 64])
            borders[start : start + 64] = -np.partition(-exact, k - 1, axis=1)[:, k - 1 : k]
        return sample, borders

    def _share_found(self, sample: FloatArray, borders: FloatArray, k: int) -> float:
        found = self.search(sample, k)
        slack = 1e-5 * (1.0 + np.abs(borders))
        hits = (found.score >= borders - slack) & (found.item_idx >= 0)
        return int(hits.sum()) / (k * len(sample))

    def _every_score(self, queries: FloatArray) -> FloatArray:
        """Return the score of every vector, shape (B, num_items)."""
        return np.asarray(queries @ self._built()[1].T)

    def tune(self, queries: FloatArray) -> float:
        """Raise the effort until ``target_recall`` is measured; return and record the recall."""
        k = min(self.config.recall_k, int(self.description["num_items"]))
        sample, borders = self._exact_borders(queries, k)
        recall = self._share_found(sample, borders, k)
        while recall < self.config.target_recall and self.search_harder():
            recall = self._share_found(sample, borders, k)
        recall = self._eased(recall, lambda: self._share_found(sample, borders, k))
        self.description["recall"] = recall
        self.description["recall_k"] = k
        self.description["queries"] = min(len(queries), 500)
        return recall

    def _eased(self, recall: float, measured: Callable[[], float]) -> float:
        """Go back towards the effort before the last doubling as far as the target allows."""
        most = self.description["effort"]
        if recall < self.config.target_recall or most is None or most < _LEAST_EASED:
            return recall
        low, high = int(most) // 2, int(most)  # the lower one fell short
        for _ in range(2):
            middle = (low + high) // 2
            self.set_effort(middle)
            found = measured()
            if found < self.config.target_recall:
                low = middle
            else:
                high, recall = middle, found
        self.set_effort(high)
        return recall

    def save(self, folder: Path, *, vectors: bool = True) -> None:
        """Write index.faiss and index.json into ``folder``, with codes vectors.npy too.

        Args:
            folder: Made if absent.
            vectors: False leaves vectors.npy out: who loads the index brings them.
        """
        index, whole = self._built()
        folder.mkdir(parents=True, exist_ok=True)
        import_faiss().write_index(index, str(folder / _INDEX))
        if vectors and self._kind in CODED:  # codes alone do not give the vectors back
            np.save(folder / _VECTORS, whole)
        (folder / _META).write_text(json.dumps(self.description, indent=1, sort_keys=True))

    @classmethod
    def load(
        cls, folder: Path, *, mapped: bool = False, vectors: FloatArray | None = None
    ) -> VectorIndex:
        """Return the index written by ``save``.

        Args:
            folder: Where it lies.
            mapped: Leave lists and vectors in their files, and let the system read what searches
                touch; the files may not change meanwhile. Whole vectors beside codes always
                stay there.
            vectors: What it was built over, where the caller holds it anyway; None takes them
                out of the index, which copies those of IVF.

        Raises:
            ArtifactError: A file is absent, or FAISS cannot read it.
        """
        for name in (_INDEX, _META):
            if not (folder / name).is_file():
                raise ArtifactError(
                    f"Expected the file {folder / name} of a vector index, found none; "
                    "build it again with 'kgrec index build'"
                )
        description = json.loads((folder / _META).read_text())
        loaded = cls(IndexConfig.model_validate(description["config"]))
        try:
            faiss = import_faiss()
            flags = faiss.IO_FLAG_MMAP_IFC if mapped else 0
            loaded._index = faiss.read_index(str(folder / _INDEX), flags)
        except RuntimeError as error:
            raise ArtifactError(
                f"Expected a FAISS index in {folder / _INDEX}, got a file that it cannot read; "
                "build it again with 'kgrec index build'"
            ) from error
        loaded.description = description
        shape = (description["num_items"], description["dim"])
        same = vectors is not None and vectors.shape == shape
        loaded._vectors = vectors if same else loaded._vectors_of(folder)
        if description["effort"] is not None:
            loaded.set_effort(description["effort"])
        return loaded

    @property
    def _kind(self) -> IndexKind:
        kind: IndexKind = self.description["kind"]
        return kind

    def _start(self, kind: IndexKind) -> int:
        return max(16, self.config.recall_k) if kind == "hnsw" else 1

    def search_harder(self) -> bool:
        """Double the effort, then what codes bring; return False where nothing is left."""
        if self.description["effort"] is None:
            return False
        effort, most = int(self.description["effort"]), most_effort(self._index, self._kind)
        refine = int(self.description.get("refine", _MOST_REFINE))
        if effort < most:
            self.set_effort(min(effort * 2, most))
        elif refine < _MOST_REFINE:
            self.description["refine"] = min(2 * refine, _MOST_REFINE)
        else:
            return False
        return True

    def set_effort(self, effort: int) -> None:
        """Set how much is searched: lists of IVF, candidates held by HNSW."""
        self.description["effort"] = effort
        set_effort(self._index, self._kind, effort)

    def _filtered(
        self, index: Any, queries: FloatArray, k: int, allowed: BoolArray
    ) -> tuple[FloatArray, IntArray]:
        """Search among the allowed items; a narrow filter is answered exactly."""
        vectors = self._built()[1]
        ids = np.flatnonzero(allowed).astype(np.int64)
        kind = self._kind
        if len(ids) <= max(10 * k, len(vectors) // 20):
            return search_some(queries, vectors, ids, k)
        parameters, alive = filtered_parameters(index, kind, k, allowed)
        score, found = index.search(queries, k, params=parameters)
        del alive
        return score, found

    def _vectors_of(self, folder: Path) -> FloatArray:
        index, faiss = self._index, import_faiss()
        shape = (self.description["num_items"], self.description["dim"])
        if self._kind in CODED:
            if not (folder / _VECTORS).is_file():
                raise ArtifactError(
                    f"Expected the file {folder / _VECTORS} of a vector index, found none; "
                    "build it again with 'kgrec index build'"
                )
            return np.asarray(np.load(folder / _VECTORS, mmap_mode="r"))
        if self._kind == "ivf":
            index.make_direct_map()
            return np.ascontiguousarray(index.reconstruct_n(0, index.ntotal), dtype=np.float32)
        held = index if self._kind == "flat" else faiss.downcast_index(index.storage)
        view = faiss.rev_swig_ptr(held.get_xb(), shape[0] * shape[1])  # no copy
        return np.asarray(view.reshape(shape))

    def _built(self) -> tuple[Any, FloatArray]:
        if self._index is None or self._vectors is None:
            raise NotFittedError(
                "Expected a built vector index, got an empty one; call build() or load() first"
            )
        return self._index, self._vectors
