"""Labelled rows of windows on disk, so that a killed training goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from kgrec.data.interactions import FloatArray
from kgrec.models.text.side import TextVectors, vectors_of
from kgrec.ranking.behaviour import Behaviour
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.ranker import RankingRows
from kgrec.ranking.windows import Window

_FIELDS = ("values", "indptr", "label", "positives")
_BEHAVIOUR = ("item_idx", "known", "list_of_row", "history", "liked")


@dataclass(frozen=True)
class WindowRows:
    """The labelled lists of one window; the last window's are whole, the others sampled.

    Attributes:
        warm: Lists of items with events in the window.
        cold: Lists of items without.
    """

    warm: RankingRows
    cold: RankingRows


def cache_key(
    window: Window,
    sources: dict[str, dict[str, Any]],
    config: PipelineConfig,
    text_vectors: TextVectors | None,
) -> str:
    """Return a checksum of all that the rows of a window depend on.

    Args:
        window: The cut.
        sources: Name -> what ``describe`` says of each source.
        config: Depths, windows and features; its rankers do not count.
        text_vectors: Shape (num_items, dim), what gives those of the window, or None.
    """
    settings = config.model_dump(
        mode="json", include={"candidates", "features", "windows", "negatives", "history_events"}
    )
    digest = hashlib.sha256(json.dumps([sources, settings], sort_keys=True).encode())
    events, graph = window.train.interactions, window.train.graph
    arrays: list[Any] = [events.user_idx, events.item_idx, events.timestamp, events.value]
    arrays += [events.positive, window.histories.user_idx, window.label_items]
    arrays += [graph.head, graph.relation, graph.tail]
    if window.train.dataset.items.listed is not None:
        arrays.append(window.train.dataset.items.listed)
    if window.train.dataset.items.vectors is not None:
        arrays.append(window.train.dataset.items.vectors)
    texts = vectors_of(text_vectors, window.train)
    for array in arrays if texts is None else [*arrays, texts]:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:20]


def write_rows(rows: WindowRows, file: Path) -> None:
    """Write the rows beside their place, then rename them into it; item content is not kept."""
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for kind, part in (("warm", rows.warm), ("cold", rows.cold)):
        fields = {field: getattr(part, field) for field in _FIELDS}
        fields |= {field: getattr(part.behaviour, field) for field in _BEHAVIOUR}
        arrays |= {
            f"{kind}.{field}": np.ascontiguousarray(array) for field, array in fields.items()
        }
    metadata = {"warm": json.dumps(rows.warm.names), "cold": json.dumps(rows.cold.names)}
    staging = file.with_suffix(".new")
    save_file(arrays, staging, metadata=metadata)
    staging.replace(file)


def read_rows(file: Path, content: FloatArray) -> WindowRows:
    """Return the rows that ``write_rows`` wrote.

    Args:
        file: Where they lie.
        content: Shape (num_items, D): the content of the items, as ``item_content`` gives it.
    """
    with safe_open(file, framework="numpy") as handle:
        metadata = handle.metadata()
        warm, cold = (_part(handle, kind, metadata[kind], content) for kind in ("warm", "cold"))
    return WindowRows(warm, cold)


def _part(handle: Any, kind: str, names: str, content: FloatArray) -> RankingRows:
    fields = {field: handle.get_tensor(f"{kind}.{field}") for field in _FIELDS}
    behaviour = {field: handle.get_tensor(f"{kind}.{field}") for field in _BEHAVIOUR}
    return RankingRows(
        names=tuple(json.loads(names)), behaviour=Behaviour(**behaviour, content=content), **fields
    )
