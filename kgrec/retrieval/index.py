"""A FAISS index over item vectors whose recall is measured, not assumed.

Scores are inner products, higher is better. Which vectors go in is the business of the caller.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import ArtifactError, ConfigError, DataError, NotFittedError
from kgrec.models.top_items import TopItems
from kgrec.retrieval.faiss_module import import_faiss

IndexKind = Literal["flat", "hnsw", "ivf"]
_INDEX, _META = "index.faiss", "index.json"


class IndexConfig(BaseModel):
    """Kind and effort of the index."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["auto", "flat", "hnsw", "ivf"] = "auto"
    """"auto": exact up to ``flat_limit`` vectors, HNSW up to ``hnsw_limit``, IVF above."""
    flat_limit: int = Field(default=50_000, ge=0)
    """Vectors up to which exact search is used."""
    hnsw_limit: int = Field(default=2_000_000, ge=0)
    """Vectors up to which HNSW is used."""
    target_recall: float = Field(default=0.97, gt=0.0, le=1.0)
    """Recall at ``recall_k`` against exact search that the search effort is raised to."""
    recall_k: int = Field(default=100, ge=1)
    """Items of a list whose recall is measured."""
    neighbours: int = Field(default=32, ge=2)
    """Links of a vector in HNSW."""
    construction_effort: int = Field(default=120, ge=8)
    """Candidates held while HNSW is built."""
    seed: int = Field(default=0, ge=0)
    """Seed of the IVF clustering and of the sample of queries."""


class VectorIndex:
    """Inner-product search over ``num_items`` vectors; row number is item_idx.

    HNSW and IVF start with a small search effort; ``tune`` doubles it until the recall measured on
    real queries reaches the target, or until the whole index is searched.

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
                None leaves the smallest effort and no measurement.

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
        kind = self._kind(len(vectors))
        self._index = self._make(kind, self._vectors)
        self.description = {
            "kind": kind,
            "num_items": len(vectors),
            "dim": vectors.shape[1],
            "config": self.config.model_dump(mode="json"),
            "effort": None,
        }
        if kind != "flat":
            self._set_effort(self._start(kind))
        if queries is not None and len(queries):
            self.tune(queries)
        return self

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
        longest = 0 if excluded is None else int(np.diff(excluded[0]).max(initial=0))
        asked = min(k + longest, len(vectors))
        if len(queries) == 0 or asked == 0:
            empty = np.full((len(queries), k), -1, dtype=np.int64)
            return TopItems(empty, np.full(empty.shape, -np.inf, dtype=np.float32))
        if allowed is None:
            score, found = index.search(queries, asked)
        else:
            score, found = self._filtered(index, queries, asked, allowed)
        found = found.astype(np.int64)
        score = np.where(found >= 0, score, -np.inf)
        if excluded is not None:
            rows = np.repeat(np.arange(len(queries)), np.diff(excluded[0]))
            keys = rows * len(vectors) + excluded[1]
            ours = np.arange(len(queries))[:, None] * len(vectors) + found
            score = np.where(np.isin(ours, keys) & (found >= 0), -np.inf, score)
        return _first(found, score, k)

    def measured_recall(self, queries: FloatArray, k: int | None = None) -> float:
        """Return the mean share of the exact k best that the index finds, 0 to 1.

        An item that ties with the k-th best counts as found.

        Args:
            queries: Shape (n, dim), real user vectors; 500 of them are drawn by seed.
            k: Items of a list; None for ``recall_k``.
        """
        _, vectors = self._built()
        k = min(k or self.config.recall_k, len(vectors))
        rng = np.random.default_rng(self.config.seed)
        chosen = rng.permutation(len(queries))[:500]
        sample = np.ascontiguousarray(queries[chosen], dtype=np.float32)
        hits = 0
        for start in range(0, len(sample), 64):
            part = sample[start : start + 64]
            exact = part @ vectors.T
            border = -np.partition(-exact, k - 1, axis=1)[:, k - 1 : k]
            slack = 1e-5 * (1.0 + np.abs(border))
            found = self.search(part, k)
            hits += int(((found.score >= border - slack) & (found.item_idx >= 0)).sum())
        return hits / (k * len(sample))

    def tune(self, queries: FloatArray) -> float:
        """Raise the effort until ``target_recall`` is measured; return and record the recall."""
        _, vectors = self._built()
        recall = self.measured_recall(queries)
        while recall < self.config.target_recall and self.description["effort"] is not None:
            effort, most = int(self.description["effort"]), self._most(len(vectors))
            if effort >= most:
                break
            self._set_effort(min(effort * 2, most))
            recall = self.measured_recall(queries)
        self.description["recall"] = recall
        self.description["recall_k"] = min(self.config.recall_k, len(vectors))
        self.description["queries"] = min(len(queries), 500)
        return recall

    def save(self, folder: Path) -> None:
        """Write index.faiss and index.json into ``folder`` (made if absent)."""
        index, _ = self._built()
        folder.mkdir(parents=True, exist_ok=True)
        import_faiss().write_index(index, str(folder / _INDEX))
        (folder / _META).write_text(json.dumps(self.description, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> VectorIndex:
        """Return the index written by ``save``.

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
            loaded._index = import_faiss().read_index(str(folder / _INDEX))
        except RuntimeError as error:
            raise ArtifactError(
                f"Expected a FAISS index in {folder / _INDEX}, got a file that it cannot read; "
                "build it again with 'kgrec index build'"
            ) from error
        loaded.description = description
        loaded._vectors = loaded._reconstructed()
        if description["effort"] is not None:
            loaded._set_effort(description["effort"])
        return loaded

    def _kind(self, size: int) -> IndexKind:
        if self.config.kind != "auto":
            return self.config.kind
        if size <= self.config.flat_limit:
            return "flat"
        return "hnsw" if size <= self.config.hnsw_limit else "ivf"

    def _make(self, kind: IndexKind, vectors: FloatArray) -> Any:
        faiss = import_faiss()
        dim, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
        if kind == "flat":
            index = faiss.IndexFlatIP(dim)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(dim, self.config.neighbours, metric)
            index.hnsw.efConstruction = self.config.construction_effort
        else:
            lists = int(np.clip(4 * np.sqrt(len(vectors)), 1, max(len(vectors) // 39, 1)))
            index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, metric)
            index.cp.seed = self.config.seed + 1
            index.train(vectors)
        index.add(vectors)
        return index

    def _start(self, kind: IndexKind) -> int:
        return 1 if kind == "ivf" else max(16, self.config.recall_k)

    def _most(self, size: int) -> int:
        return int(self._index.nlist) if self.description["kind"] == "ivf" else size

    def _set_effort(self, effort: int) -> None:
        """Set nprobe (IVF) or efSearch (HNSW)."""
        self.description["effort"] = effort
        if self.description["kind"] == "ivf":
            self._index.nprobe = effort
        else:
            self._index.hnsw.efSearch = effort

    def _filtered(
        self, index: Any, queries: FloatArray, k: int, allowed: BoolArray
    ) -> tuple[FloatArray, IntArray]:
        """Search among the allowed items; a narrow filter is answered exactly."""
        faiss, vectors = import_faiss(), self._built()[1]
        if len(allowed) != len(vectors):
            raise ConfigError(
                f"Expected 'allowed' of {len(vectors)} items, got {len(allowed)}; "
                "pass one flag for each item of the index"
            )
        ids = np.flatnonzero(allowed).astype(np.int64)
        kind = self.description["kind"]
        if kind != "flat" and len(ids) <= max(10 * k, len(vectors) // 20):
            return _exact(queries, vectors, ids, k)
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)
        if kind == "ivf":
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
        elif kind == "hnsw":
            effort = max(index.hnsw.efSearch, 2 * k)
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=effort)
        else:
            parameters = faiss.SearchParameters(sel=selector)
        score, found = index.search(queries, k, params=parameters)
        return score, found

    def _reconstructed(self) -> FloatArray:
        index = self._index
        if self.description["kind"] == "ivf":
            index.make_direct_map()
        return np.ascontiguousarray(index.reconstruct_n(0, index.ntotal), dtype=np.float32)

    def _built(self) -> tuple[Any, FloatArray]:
        if self._index is None or self._vectors is None:
            raise NotFittedError(
                "Expected a built vector index, got an empty one; call build() or load() first"
            )
        return self._index, self._vectors


def _exact(
    queries: FloatArray, vectors: FloatArray, ids: IntArray, k: int
) -> tuple[FloatArray, IntArray]:
    score = np.full((len(queries), k), -np.inf, dtype=np.float32)
    found = np.full((len(queries), k), -1, dtype=np.int64)
    every = queries @ vectors[ids].T
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    score[:, : order.shape[1]] = np.take_along_axis(every, order, axis=1)
    found[:, : order.shape[1]] = ids[order]
    return score, found


def _first(found: IntArray, score: FloatArray, k: int) -> TopItems:
    """Return the first k entries that are not -inf of each row, best first."""
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]
    item_idx = np.full((len(found), k), -1, dtype=np.int64)
    best = np.full((len(found), k), -np.inf, dtype=np.float32)
    item_idx[:, : order.shape[1]] = np.take_along_axis(found, order, axis=1)
    best[:, : order.shape[1]] = np.take_along_axis(score, order, axis=1)
    item_idx[np.isneginf(best)] = -1
    return TopItems(item_idx, best)
