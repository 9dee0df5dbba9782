"""What features are computed from: counts, times, text, graph slots and groups of train time.

Fitted on the very events that the sources were fitted on, so that no feature knows a label.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import save_file
from scipy import sparse

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import FloatArray
from kgrec.data.mapped_arrays import mapped_arrays
from kgrec.errors import ArtifactError
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import TextVectors, vectors_of
from kgrec.ranking.entity_popularity import FIGURES, entity_popularity, slot_popularity
from kgrec.ranking.kernels import largest_entries
from kgrec.ranking.user_groups import count_groups
from kgrec.retrieval.content_ridge import content_matrix, ridge_prediction
from kgrec.retrieval.content_vectors import centred, hashed_text_vectors, idf_of

Arrays = dict[str, npt.NDArray[Any]]
_META, _ARRAYS = "feature_state.json", "feature_state.safetensors"
_PAIRS_AT_A_TIME = 10_000_000


class FeatureConfig(BaseModel):
    """Which features are computed, and their constants."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    use_graph: bool = True
    """Features from the knowledge graph."""
    use_text: bool = True
    """Features from text vectors."""
    use_attributes: bool = True
    """Features from user attributes."""
    use_cold_flag: bool = True
    """The flag of an item without train events."""
    use_entity_popularity: bool = False
    """How popular the other items of an item's entities are, and how many entities it has, for
    each relation: what is known of an item's popularity before anyone has met it."""
    max_relations: int = Field(8, ge=1)
    """Relations with features of their own, the most frequent; the others share one group."""
    max_groups: int = Field(32, ge=2)
    """Values of a user attribute that count, the most frequent; numeric ones are cut in fifths."""
    smoothing: float = Field(20.0, gt=0.0)
    """Events that pull a rate towards its average."""
    half_life: float = Field(10.0, gt=0.0)
    """Events after which the weight of an older event has halved, in recent profiles."""
    recent_days: tuple[float, ...] = (30.0, 365.0)
    """Windows of recent popularity, in days before the request."""
    row_length: int = Field(200, ge=1)
    """Kept entries of each row of the item-item matrices."""
    text_history: int = Field(200, ge=1)
    """Last events of a history whose texts are compared."""


@dataclass(frozen=True)
class FeatureState:
    """Arrays of train time; I items, U users, S graph slots, one for each (relation, entity).

    Attributes:
        config: The configuration that it was fitted with.
        relations: Names of the R relation groups.
        numeric_names, group_names: Names of numeric item features and of user attributes.
        arrays: Name -> array, as ``fit_feature_state`` lists them.
    """

    config: FeatureConfig
    relations: tuple[str, ...]
    numeric_names: tuple[str, ...]
    group_names: tuple[str, ...]
    arrays: Arrays

    @property
    def num_items(self) -> int:
        """Number of items of the catalogue."""
        return len(self.arrays["events"])

    @cached_property
    def cold(self) -> npt.NDArray[np.bool_]:
        """Shape (num_items,), bool: items without train events."""
        return np.asarray(self.arrays["events"] == 0)

    @property
    def listed(self) -> npt.NDArray[np.bool_] | None:
        """Shape (num_items,), bool: items that may be recommended; None where all may."""
        return self.arrays.get("listed")

    @cached_property
    def has_times(self) -> bool:
        """Whether the train events have times."""
        return bool(self.arrays["times"].any())

    @property
    def item_names(self) -> tuple[str, ...]:
        """Names of the features of an item alone."""
        named = ["log_events", "log_likes", "like_rate", "value_bias"]
        named += ["content_popularity", "content_like_rate"]
        if self.config.use_cold_flag:
            named.append("cold")
        names = tuple(f"item.{name}" for name in named)
        if "slot_popularity" in self.arrays:
            names += tuple(f"graph.{name}.{kind}" for name in self.relations for kind in FIGURES)
        return names

    @cached_property
    def item_table(self) -> FloatArray:
        """Shape (num_items, len(item_names)), float32: the features of an item alone."""
        arrays = self.arrays
        columns = [np.log1p(arrays["events"]), np.log1p(arrays["likes"])]
        columns += [arrays["like_rate"], arrays["value_bias"], *arrays["content"].T]
        if self.config.use_cold_flag:
            columns.append(self.cold)
        if "slot_popularity" in self.arrays:
            columns += list(entity_popularity(arrays, len(self.relations)).T)
        return np.stack(columns, axis=1, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write the state into ``folder``: JSON and safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        save_file(arrays, folder / _ARRAYS)
        meta = {
            "config": self.config.model_dump(mode="json"),
            "relations": self.relations,
            "numeric_names": self.numeric_names,
            "group_names": self.group_names,
        }
        (folder / _META).write_text(json.dumps(meta, indent=1))

    @classmethod
    def load(cls, folder: Path) -> FeatureState:
        """Return the state written by ``save``."""
        for name in (_META, _ARRAYS):
            if not (folder / name).is_file():
                raise ArtifactError(
                    f"Expected the file {folder / name} of a ranker's features, found none; "
                    "train and save the pipeline again"
                )
        meta = json.loads((folder / _META).read_text())
        return cls(
            FeatureConfig.model_validate(meta["config"]),
            tuple(meta["relations"]),
            tuple(meta["numeric_names"]),
            tuple(meta["group_names"]),
            mapped_arrays(folder / _ARRAYS),
        )


def fit_feature_state(
    train: TrainingData, config: FeatureConfig, text_vectors: TextVectors | None = None
) -> FeatureState:
    """Return the state of one moment of training.

    Args:
        train: The events that the sources were fitted on too.
        config: Which features, and their constants.
        text_vectors: Shape (num_items, dim), raw vectors of an encoder, or what gives those of a
            training set; None for hashed words.
    """
    arrays: Arrays = {}
    if train.dataset.items.listed is not None:
        arrays["listed"] = train.dataset.items.listed
    _count_events(train, config, arrays)
    _index_times(train, arrays)
    _count_rows(train, config, arrays)
    texts = vectors_of(text_vectors, train) if config.use_text else None
    if texts is None and config.use_text:
        texts = hashed_text_vectors(train.dataset.items, seed=train.seed)
    if texts is not None:
        arrays["text"] = centred(texts)
    _predict_popularity(train, config, texts, arrays)
    relations = _index_slots(train, config, arrays) if config.use_graph else ()
    if config.use_entity_popularity and relations:
        arrays["slot_popularity"] = slot_popularity(arrays)
    numeric = _scale_numeric(train, arrays)
    groups: tuple[str, ...] = ()
    if config.use_attributes:
        groups = count_groups(train, arrays, config.smoothing, config.max_groups)
    return FeatureState(config, relations, numeric, groups, arrays)


def _count_events(train: TrainingData, config: FeatureConfig, arrays: Arrays) -> None:
    events = train.interactions
    item, size = events.item_idx, train.num_items
    count = np.bincount(item, minlength=size).astype(np.float32)
    likes = np.bincount(item, weights=events.positive, minlength=size).astype(np.float32)
    mean_like = float(events.positive.mean()) if len(events) else 0.0
    known = np.isfinite(events.value)
    mean_value = float(events.value[known].mean()) if known.any() else 0.0
    total = np.bincount(item[known], weights=events.value[known] - mean_value, minlength=size)
    rated = np.bincount(item[known], minlength=size)
    arrays["events"] = count
    arrays["likes"] = likes
    arrays["like_rate"] = (
        (likes + config.smoothing * mean_like) / (count + config.smoothing)
    ).astype(np.float32)
    arrays["value_bias"] = (total / (rated + config.smoothing)).astype(np.float32)
    arrays["means"] = np.array([mean_like, mean_value], dtype=np.float32)


def _index_times(train: TrainingData, arrays: Arrays) -> None:
    events = train.interactions
    order = np.lexsort((events.timestamp, events.item_idx))
    arrays["times"] = events.timestamp[order]
    bounds = np.arange(train.num_items + 1)
    arrays["times_indptr"] = np.searchsorted(events.item_idx[order], bounds).astype(np.int64)


def _count_rows(train: TrainingData, config: FeatureConfig, arrays: Arrays) -> None:
    """Keep the strongest directed transitions and co-occurrences of each item."""
    events, size = train.interactions, train.num_items
    inverse = 1.0 / np.sqrt(np.maximum(arrays["events"].astype(np.float64), 1.0))
    steps = sparse.csr_matrix((size, size), dtype=np.float64)
    for gap in (1, 2, 3):
        same = events.user_idx[gap:] == events.user_idx[:-gap]
        start, stop = events.item_idx[:-gap][same], events.item_idx[gap:][same]
        weight = events.positive[gap:][same] / gap
        steps = steps + sparse.csr_matrix((weight, (start, stop)), shape=(size, size))
    steps = sparse.diags(inverse) @ steps @ sparse.diags(inverse)
    _store_rows("steps", [sparse.csr_matrix(steps)], config.row_length, arrays)
    likes = events.positives().matrix(train.num_users, size).astype(np.float64)
    _store_rows("together", _likes_together(likes), config.row_length, arrays)


def _likes_together(likes: sparse.csr_matrix) -> Iterator[sparse.csr_matrix]:
    """Yield rows of how alike the items' users are, block by block: all of them at once can be
    as many as the users' histories have pairs.
    """
    length = np.maximum(np.asarray(likes.sum(axis=1)).ravel(), 1.0)
    scaled = sparse.csr_matrix(sparse.diags(length**-0.25) @ likes)
    turned = sparse.csr_matrix(scaled.T)
    inverse = 1.0 / np.sqrt(np.maximum(np.asarray(scaled.power(2).sum(axis=0)).ravel(), 1e-9))
    pairs = np.concatenate([[0.0], np.cumsum(likes.T @ length)])  # upper bound of entries
    start = 0
    while start < len(inverse):
        most = pairs[start] + _PAIRS_AT_A_TIME
        stop = max(start + 1, int(np.searchsorted(pairs, most, side="right")) - 1)
        block = sparse.csr_matrix(turned[start:stop] @ scaled)
        row = np.repeat(np.arange(start, stop), np.diff(block.indptr))
        block.data[block.indices == row] = 0.0  # dropped with the other zeros
        block.data *= inverse[row]
        block.data *= inverse[block.indices]
        yield block
        start = stop


def _store_rows(
    name: str, blocks: Iterable[sparse.csr_matrix], length: int, arrays: Arrays
) -> None:
    """Keep the largest entries of each row of a matrix that comes in blocks of rows."""
    kept = [largest_per_row(block, length).astype(np.float32) for block in blocks]
    counts = np.concatenate([np.diff(block.indptr) for block in kept])
    arrays[f"{name}_indptr"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    arrays[f"{name}_items"] = np.concatenate([block.indices for block in kept], dtype=np.int32)
    arrays[f"{name}_values"] = np.concatenate([block.data for block in kept])


def largest_per_row(matrix: sparse.csr_matrix, length: int) -> sparse.csr_matrix:
    """Return the matrix with only the ``length`` largest entries of each row (ties by column)."""
    matrix.eliminate_zeros()
    matrix.sort_indices()
    kept = largest_entries(matrix.indptr, matrix.data, length)
    counts = np.add.reduceat(np.append(kept, False), matrix.indptr[:-1], dtype=np.int64)
    counts[np.diff(matrix.indptr) == 0] = 0
    indptr = np.concatenate([[0], np.cumsum(counts)])
    entries = (matrix.data[kept], matrix.indices[kept], indptr)
    return sparse.csr_matrix(entries, shape=matrix.shape)


def _predict_popularity(
    train: TrainingData,
    config: FeatureConfig,
    text_vectors: FloatArray | None,
    arrays: Arrays,
) -> None:
    """Regress log popularity on content: all that a cold item's popularity can be guessed from."""
    graph = train.graph if config.use_graph else train.graph.ablated("off", 0)
    text = text_vectors if config.use_text else np.zeros((train.num_items, 1), dtype=np.float32)
    content = content_matrix(
        TrainingData(train.dataset, train.interactions, graph, train.seed), text
    )
    count = arrays["events"].astype(np.float64)
    target = np.stack([np.log1p(arrays["likes"]), arrays["like_rate"]], axis=1)
    mean = target[count > 0].mean(axis=0) if (count > 0).any() else target.mean(axis=0)
    weight = (count > 0).astype(np.float32)
    arrays["content"] = ridge_prediction(content, target - mean, weight, 20.0)


@dataclass(frozen=True)
class RelationSlots:
    """The slots of the relations of one name, one for each entity that several items touch so.

    Attributes:
        relation: The name.
        entity_idx: Shape (s,), int64.
        touched: Shape (num_items, s), float32.
        idf: Shape (s,), float32.
    """

    relation: str
    entity_idx: npt.NDArray[np.int64]
    touched: sparse.csr_matrix
    idf: FloatArray


def slots_of(graph: KnowledgeGraph) -> list[RelationSlots]:
    """Return the slots of a graph in the order of their numbers: frequent relations first."""
    found = []
    num_items = len(graph.item_entity)
    for name in sorted(set(graph.relations)):
        total = sparse.csr_matrix((num_items, graph.num_entities), dtype=np.float32)
        for relation in np.flatnonzero(np.array(graph.relations) == name):
            total = total + graph.item_entity_matrix(int(relation))
        if total.nnz:
            found.append((name, total.tocsr()))
    found.sort(key=lambda named: (-named[1].nnz, named[0]))
    slots = []
    for name, total in found:
        idf = idf_of(total)
        shared = np.flatnonzero(idf > 0)
        slots.append(RelationSlots(name, shared, total[:, shared], idf[shared]))
    return slots


def _index_slots(train: TrainingData, config: FeatureConfig, arrays: Arrays) -> tuple[str, ...]:
    """List the (relation, entity) slots of each item; relations of one name are one."""
    slots = slots_of(train.graph)
    groups = [part.relation for part in slots[: config.max_relations]]
    if len(slots) > config.max_relations:
        groups.append("other")
    blocks = [part.touched for part in slots]
    idf = [part.idf for part in slots]
    group_of = [
        np.full(len(part.idf), min(place, config.max_relations)) for place, part in enumerate(slots)
    ]
    stacked = sparse.hstack(blocks).tocsr() if blocks else sparse.csr_matrix((train.num_items, 0))
    arrays["slot_indptr"] = stacked.indptr.astype(np.int64)
    arrays["slots"] = stacked.indices.astype(np.int32)
    arrays["slot_idf"] = np.concatenate([*idf, np.empty(0)]).astype(np.float32)
    arrays["slot_relation"] = np.concatenate([*group_of, np.empty(0)]).astype(np.int64)
    return tuple(groups)


def _scale_numeric(train: TrainingData, arrays: Arrays) -> tuple[str, ...]:
    """Standardise numeric item features; log popularity is one of them."""
    columns, names = [], []
    log_popularity = np.log1p(arrays["events"].astype(np.float32))
    for name, values in [*train.dataset.items.numeric.items(), ("log_popularity", log_popularity)]:
        known = np.isfinite(values)
        if known.any() and float(values[known].std()) > 0:
            columns.append((values - values[known].mean()) / values[known].std())
            names.append(name)
    shape = (train.num_items, len(columns))
    arrays["numeric"] = (
        np.stack(columns, axis=1).astype(np.float32) if columns else np.empty(shape, np.float32)
    )
    return tuple(names)
