"""The kinds of FAISS index: how each is made, how hard it searches, what it holds in memory."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.interactions import BoolArray, FloatArray
from kgrec.retrieval.faiss_module import import_faiss

IndexKind = Literal["flat", "hnsw", "ivf", "ivf_4bit", "ivf_pq"]
KINDS: tuple[IndexKind, ...] = ("flat", "hnsw", "ivf", "ivf_4bit", "ivf_pq")
CODED: tuple[IndexKind, ...] = ("ivf_4bit", "ivf_pq")
"""Kinds that find by codes, and take the scores of what they find from the whole vectors."""
_ROWS_OF_A_CENTRE = 39  # fewer training vectors for each centre, and FAISS warns
_ROWS_OF_A_LIST = 64  # training vectors of a list; FAISS takes 256, at four times the work
_LEVELS = 16  # what four bits tell apart


class IndexConfig(BaseModel):
    """Kind and effort of the index."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["auto", "flat", "hnsw", "ivf", "ivf_4bit", "ivf_pq"] = "auto"
    """"auto": exact up to ``flat_limit`` vectors, HNSW up to ``hnsw_limit`` where it reaches
    ``target_recall``, else IVF; IVF-PQ where the kind would take more than ``max_memory_bytes``.
    "ivf_4bit" is IVF with four bits a number, which vector instructions add up: the fastest of
    large ones, and a sixth of the memory of IVF."""
    flat_limit: int = Field(default=50_000, ge=0)
    """Vectors up to which exact search is used."""
    hnsw_limit: int = Field(default=2_000_000, ge=0)
    """Vectors up to which HNSW is used."""
    max_memory_bytes: int | None = Field(default=None, ge=1)
    """Memory that the index may take; None for any."""
    target_recall: float = Field(default=0.99, gt=0.0, le=1.0)
    """Recall at ``recall_k`` against exact search that the search effort is raised to."""
    recall_k: int = Field(default=100, ge=1)
    """Items of a list whose recall is measured."""
    neighbours: int = Field(default=32, ge=2)
    """Links of a vector in HNSW."""
    construction_effort: int = Field(default=120, ge=8)
    """Candidates held while HNSW is built."""
    code_bytes: int = Field(default=32, ge=1)
    """Bytes of a vector in IVF-PQ at most; the largest divisor of the dimension is taken."""
    refine: int = Field(default=4, ge=1)
    """Kinds with codes bring this many times the items wanted; their exact scores choose. Doubled,
    to 64 at most, where the search of every list does not reach the target."""
    shards: int = Field(default=1, ge=1)
    """Indexes that the vectors are divided among, each built and read by itself; searched in
    turn, their answers are those of one."""
    seed: int = Field(default=0, ge=0)
    """Seed of the clusterings and of the sample of queries."""


def chosen_kind(config: IndexConfig, size: int, dim: int) -> IndexKind:
    """Return the kind that a configuration means for so many vectors."""
    if size < 2:
        return "flat"  # there is nothing to divide
    if config.kind != "auto":
        return config.kind
    kind: IndexKind = "ivf"
    if size <= config.flat_limit:
        kind = "flat"
    elif size <= config.hnsw_limit:
        kind = "hnsw"
    most = config.max_memory_bytes
    return "ivf_pq" if most is not None and memory_bytes(config, kind, size, dim) > most else kind


def memory_bytes(config: IndexConfig, kind: IndexKind, size: int, dim: int) -> int:
    """Return about what an index holds in memory; whole vectors beside codes stay in their file."""
    whole = 4 * dim * size
    if kind == "flat":
        return whole
    if kind == "hnsw":
        return whole + size * (2 * config.neighbours * 4 + 16)
    centres = 4 * dim * num_lists(size)
    if kind == "ivf":
        return whole + 8 * size + centres
    if kind == "ivf_4bit":
        return size * ((dim + 1) // 2 + 8) + centres
    return size * (parts_of_a_code(dim, config.code_bytes) + 8) + centres + 4 * dim * (dim + 256)


def num_lists(size: int) -> int:
    """Return the inverted lists for so many vectors."""
    return int(np.clip(4 * np.sqrt(size), 1, max(size // _ROWS_OF_A_CENTRE, 1)))


def parts_of_a_code(dim: int, most: int) -> int:
    """Return the largest divisor of the dimension that is not above ``most``."""
    return max(part for part in range(1, min(dim, most) + 1) if dim % part == 0)


def make_index(config: IndexConfig, kind: IndexKind, vectors: FloatArray) -> Any:
    """Return a FAISS index that holds the vectors."""
    faiss = import_faiss()
    size, dim = vectors.shape
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, config.neighbours, metric)
        index.hnsw.efConstruction = config.construction_effort
    elif kind == "ivf":
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, num_lists(size), metric)
        index.cp.seed = config.seed + 1
        index.train(vectors)
    elif kind == "ivf_4bit":
        coarse = faiss.IndexFlatIP(dim)
        index = faiss.IndexIVFPQFastScan(coarse, dim, num_lists(size), dim, 4, metric)
        index.cp.seed = index.pq.cp.seed = config.seed + 1
        index.cp.max_points_per_centroid = _ROWS_OF_A_LIST
        # a small catalogue is read again until there are enough to learn the levels from
        least = _LEVELS * _ROWS_OF_A_CENTRE
        index.train(vectors if size >= least else np.resize(vectors, (least, dim)))
    else:
        parts = parts_of_a_code(dim, config.code_bytes)
        bits = int(np.clip(np.log2(max(size / _ROWS_OF_A_CENTRE, 2)), 1, 8))
        coarse = faiss.IndexFlatIP(dim)
        lists = faiss.IndexIVFPQ(coarse, dim, num_lists(size), parts, bits, metric)
        lists.cp.seed = lists.pq.cp.seed = config.seed + 1
        if size < dim:  # OPQ cannot learn from fewer vectors than numbers: FAISS 1.15 crashes
            rotation = faiss.RandomRotationMatrix(dim, dim)
            rotation.init(config.seed + 1)
            index = faiss.IndexPreTransform(rotation, lists)
            index.train(vectors)
        else:
            rotation = faiss.OPQMatrix(dim, parts)
            quantizer = faiss.ProductQuantizer(dim, parts, bits)
            rotation.pq = quantizer
            index = faiss.IndexPreTransform(rotation, lists)
            index.train(vectors)
            rotation.pq = None  # it was needed for training alone
    index.add(vectors)
    return index


def set_effort(index: Any, kind: IndexKind, effort: int) -> None:
    """Set efSearch (HNSW) or the number of lists searched (IVF)."""
    if kind == "hnsw":
        index.hnsw.efSearch = effort
    elif kind != "flat":
        import_faiss().extract_index_ivf(index).nprobe = effort


def most_effort(index: Any, kind: IndexKind) -> int:
    """Return the effort at which everything is searched."""
    if kind not in ("flat", "hnsw"):
        return int(import_faiss().extract_index_ivf(index).nlist)
    return int(index.ntotal)


def filtered_parameters(index: Any, kind: IndexKind, k: int, allowed: BoolArray) -> tuple[Any, Any]:
    """Return search parameters that let only allowed rows through, and what must outlive them."""
    faiss = import_faiss()
    bits = np.packbits(allowed, bitorder="little")
    selector = faiss.IDSelectorBitmap(bits)
    if kind == "flat":
        return faiss.SearchParameters(sel=selector), bits
    if kind == "hnsw":
        effort = max(index.hnsw.efSearch, 2 * k)
        return faiss.SearchParametersHNSW(sel=selector, efSearch=effort), bits
    probes = faiss.extract_index_ivf(index).nprobe
    lists = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
    if kind != "ivf_pq":
        return lists, bits
    return faiss.SearchParametersPreTransform(index_params=lists), (bits, lists)
