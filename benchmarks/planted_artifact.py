"""An artifact of a size that is too large to train for a timing: its sources are planted.

Item vectors and item-item rows are drawn within the clusters of made_catalogue.py; rankers, their
preselection and the user tower are those of a smaller artifact that was trained. Counts, times,
graph and histories are real ones of the made catalogue. It answers at the cost of a trained one and
says nothing of quality. What is large is written block by block and then left in its files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from kgrec.artifact import ArtifactDetails, load_artifact, save_artifact
from kgrec.data.histories import HistoryBatch
from kgrec.data.strings import StringColumn
from kgrec.evaluation.environment import git_commit
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.tower_inputs import profiles_of
from kgrec.models.towers import TowersScorer
from kgrec.models.user_tower import UserTower
from kgrec.ranking import feature_state
from kgrec.ranking.feature_state import FeatureConfig, FeatureState
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.index import IndexConfig
from kgrec.retrieval.indexed_source import IndexedSource

ROW = 200
BLOCK = 50_000  # items whose rows are drawn at a time


def planted_artifact(
    folder: Path, train: TrainingData, trained: Path, index: IndexConfig | None = None
) -> Path:
    """Return the folder of a planted artifact, its rankers taken from ``trained``."""
    base = load_artifact(trained).scorer
    assert isinstance(base, Pipeline)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".planting-", dir=folder) as scratch:
        state = planted_state(train, base.state.config)
        state.save(Path(scratch))
        state = FeatureState.load(Path(scratch))
        towers = planted_towers(base.sources["towers"], train)
        sources: dict[str, Scorer] = {
            "towers": towers,
            **planted_rows(train, state, ("itemknn", "rp3_kg"), Path(scratch)),
        }
        users = np.random.default_rng(0).permutation(train.num_users)[:500]
        histories = HistoryBatch.from_interactions(train.interactions, np.sort(users))
        config = base.config.model_copy(update={"index": index or base.config.index})
        found = IndexedSource.build(towers, histories, config.index).index
        pipeline = Pipeline(
            config,
            sources,
            state,
            base.warm,
            base.cold,
            {"towers": found},
            preselection=base.preselection,
            cold_weight=base.cold_weight,
        )
        return save_artifact(folder, pipeline, train, ArtifactDetails(git_commit=git_commit()))


def planted_rows(
    train: TrainingData, state: FeatureState, names: tuple[str, ...], scratch: Path
) -> dict[str, Scorer]:
    """Return item-item models with up to ROW entries a row, columns ascending, left in files."""
    files = {name: [(scratch / f"{name}.{part}").open("wb") for part in "id"] for name in names}
    lengths: dict[str, list[np.ndarray]] = {name: [] for name in names}
    rng = np.random.default_rng(1)
    for near in neighbours(train, state, rng):
        for name in names:
            chosen = np.sort(near[:, rng.permutation(near.shape[1])[:ROW]], axis=1)
            first = np.diff(chosen, axis=1, prepend=-1) > 0  # a column stands once
            lengths[name].append(first.sum(axis=1))
            _append(files[name][0], chosen[first])
            _append(files[name][1], rng.random(int(first.sum()), dtype=np.float32))
    made: dict[str, Scorer] = {}
    for name in names:
        for file in files[name]:
            file.close()
        indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths[name]))])
        made[name] = make_baseline(name, {"neighbours_per_item": ROW})
        made[name].restore(  # type: ignore[attr-defined]
            {
                "num_items": np.array([train.num_items], dtype=np.int64),
                "indptr": indptr.astype(np.int64),
                "indices": np.memmap(scratch / f"{name}.i", dtype=np.int32, mode="r"),
                "data": np.memmap(scratch / f"{name}.d", dtype=np.float32, mode="r"),
            }
        )
    return made


def neighbours(
    train: TrainingData, state: FeatureState, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield blocks of items: for each 2 * ROW items, half of them met near it in histories."""
    events = train.interactions
    by_item = np.argsort(events.item_idx, kind="stable")
    start = state.arrays["times_indptr"]
    for first in range(0, train.num_items, BLOCK):
        items = np.arange(first, min(first + BLOCK, train.num_items))
        shape = (len(items), ROW)
        near = rng.integers(train.num_items, size=(len(items), 2 * ROW), dtype=np.int32)
        count = (start[items + 1] - start[items])[:, None]
        drawn = start[items][:, None] + (rng.random(shape) * count).astype(np.int64)
        place = by_item[np.minimum(drawn, len(events) - 1)]
        after = np.minimum(place + rng.integers(1, 60, shape), len(events) - 1)
        same = (events.user_idx[place] == events.user_idx[after]) & (count > 0)
        near[:, :ROW][same] = events.item_idx[after[same]]
        yield near


def _append(file: BinaryIO, array: np.ndarray) -> None:
    file.write(np.ascontiguousarray(array).data)


def planted_towers(base: Scorer, train: TrainingData) -> TowersScorer:
    """Return towers with vectors made of the items' keywords, and the user tower of base."""
    assert isinstance(base, TowersScorer)
    rng, dim = np.random.default_rng(2), base.config.embedding_dim
    graph = train.graph  # items of one cluster share keywords, as trained vectors would tell
    keyword = graph.item_entity_matrix(graph.relations.index("has_keyword"))
    vectors = keyword @ rng.standard_normal((graph.num_entities, dim), dtype=np.float32)
    vectors += 0.5 * rng.standard_normal(vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bias = np.zeros((len(vectors), 1), dtype=np.float32)
    profiles = profiles_of(train.dataset.users, None)
    users = UserTower(base.config, profiles)
    users.load_state_dict(base._state.users.state_dict())
    made = TowersScorer(base.config)
    made._fitted = replace(
        base._state,
        items=torch.from_numpy(np.concatenate([vectors, bias], axis=1)),
        users=users.eval(),
        profiles=profiles,
        weights={f"users.{name}": value for name, value in users.state_dict().items()},
        item_ids=StringColumn.of(train.dataset.items.ids),
        entity_ids=StringColumn.of([]),
    )
    return made


def planted_state(train: TrainingData, config: FeatureConfig) -> FeatureState:
    """Return the feature state of the events, with drawn texts, without guessed popularity."""
    arrays: feature_state.Arrays = {}
    feature_state._count_events(train, config, arrays)
    feature_state._index_times(train, arrays)
    feature_state._count_rows(train, config, arrays)
    shape = (train.num_items, 128)
    arrays["text"] = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    arrays["text"] /= np.linalg.norm(arrays["text"], axis=1, keepdims=True)
    arrays["content"] = np.zeros((train.num_items, 2), dtype=np.float32)
    relations = feature_state._index_slots(train, config, arrays)
    numeric = feature_state._scale_numeric(train, arrays)
    groups = feature_state.count_groups(train, arrays, config.smoothing, config.max_groups)
    return FeatureState(config, relations, numeric, groups, arrays)
