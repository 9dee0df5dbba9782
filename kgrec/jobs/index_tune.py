"""What each kind of index costs on an artifact's own vectors: recall, time, memory; the best."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kgrec.artifact import load_artifact
from kgrec.data.interactions import FloatArray
from kgrec.jobs.index_build import queries_of, training_of, vectors_of
from kgrec.jobs.progress import Progress
from kgrec.retrieval.index import VectorIndex
from kgrec.retrieval.index_kinds import KINDS, IndexConfig

_REPEATS = 3
_ENOUGH = 0.9999


@dataclass(frozen=True)
class Setting:
    """One kind at one effort.

    Attributes:
        kind: Kind of index.
        effort: Lists searched, or candidates held; None for exact search.
        refine: Times the items wanted that IVF-PQ scores by whole vectors; 1 for the others.
        recall: Against exact search, 0 to 1.
        cpu_ms: CPU time of one query, asked in a batch, the least of a few.
        memory_bytes: About what the index holds in memory.
        on_frontier: Whether no other is as good in all three and better in one.
    """

    kind: str
    effort: int | None
    refine: int
    recall: float
    cpu_ms: float
    memory_bytes: int
    on_frontier: bool = False


@dataclass(frozen=True)
class Tuning:
    """What was measured.

    Attributes:
        source: Source of the vectors.
        num_items, dim: Their shape.
        queries: Histories of train users that were asked with.
        recall_k: k of the recall.
        settings: By kind, with rising effort.
        chosen: The fastest that reaches the target within the memory; None where none does.
    """

    source: str
    num_items: int
    dim: int
    queries: int
    recall_k: int
    settings: tuple[Setting, ...]
    chosen: Setting | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def tune_index(
    path: Path, config: IndexConfig, source: str = "towers", progress: Progress | None = None
) -> Tuning:
    """Measure every kind of index at rising effort on the vectors of a source.

    Args:
        path: Pointer file or artifact folder.
        config: Target, memory and sizes; its ``kind`` does not matter.
        source: The candidate source whose vectors are indexed.
        progress: Told which kind is measured.

    Raises:
        ArtifactError: The artifact is damaged.
        ConfigError: It has no such source.
    """
    artifact = load_artifact(path)
    _, model = vectors_of(artifact, source)
    vectors = np.asarray(model.item_vectors(), dtype=np.float32)
    users = model.user_vectors(queries_of(training_of(artifact)))
    return tuned(vectors, np.asarray(users, dtype=np.float32), config, source, progress)


def tuned(
    vectors: FloatArray,
    queries: FloatArray,
    config: IndexConfig,
    source: str,
    progress: Progress | None = None,
) -> Tuning:
    """Measure every kind of index on vectors, shape (num_items, dim), with queries, (n, dim)."""
    settings: list[Setting] = []
    for number, kind in enumerate(KINDS):
        if progress is not None:
            progress(f"index of kind {kind}", number / len(KINDS))
        index = VectorIndex(config.model_copy(update={"kind": kind})).build(vectors)
        settings.append(_measured(index, queries))
        while settings[-1].recall < _ENOUGH and index.search_harder():
            settings.append(_measured(index, queries))
    settings = [replace(one, on_frontier=not _beaten(one, settings)) for one in settings]
    most = config.max_memory_bytes
    able = [
        one
        for one in settings
        if one.recall >= config.target_recall and (most is None or one.memory_bytes <= most)
    ]
    chosen = min(able, key=lambda one: (one.cpu_ms, one.memory_bytes), default=None)
    size, dim = vectors.shape
    k = min(config.recall_k, size)
    return Tuning(source, size, dim, len(queries), k, tuple(settings), chosen)


def _measured(index: VectorIndex, queries: FloatArray) -> Setting:
    described, k = index.description, index.config.recall_k
    cpu = []
    for _ in range(_REPEATS):
        start = time.process_time()
        index.search(queries, k)
        cpu.append((time.process_time() - start) * 1e3 / len(queries))
    return Setting(
        kind=described["kind"],
        effort=described["effort"],
        refine=described.get("refine", 1),
        recall=index.measured_recall(queries),
        cpu_ms=min(cpu),
        memory_bytes=described["memory_bytes"],
    )


def _beaten(one: Setting, settings: list[Setting]) -> bool:
    def costs(other: Setting) -> tuple[float, float, int]:
        return -other.recall, other.cpu_ms, other.memory_bytes

    mine = costs(one)
    return any(
        costs(other) != mine and all(a <= b for a, b in zip(costs(other), mine, strict=True))
        for other in settings
    )


def plot(found: Tuning, path: Path) -> None:
    """Draw recall over CPU time of each kind, the chosen setting marked, as SVG, PDF or PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for kind in dict.fromkeys(one.kind for one in found.settings):
        own = [one for one in found.settings if one.kind == kind]
        label = f"{kind}, {own[0].memory_bytes / 1e6:.1f} MB"
        axes.plot([one.cpu_ms for one in own], [one.recall for one in own], "o-", label=label)
    if found.chosen is not None:
        axes.plot(found.chosen.cpu_ms, found.chosen.recall, "k*", markersize=14, label="chosen")
    axes.set_xscale("log")
    axes.set_xlabel("CPU milliseconds a query")
    axes.set_ylabel(f"recall@{found.recall_k}")
    axes.set_title(f"{found.source}: {found.num_items:,} vectors of {found.dim} numbers")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
