"""An artifact of a size that is too large to train for a timing: its sources are planted.

Item vectors and item-item rows are drawn within the clusters of made_catalogue.py; rankers, their
preselection and the user tower are those of a smaller artifact that was trained. Counts, times,
graph and histories are real ones of the made catalogue. It answers at the cost of a trained one and
says nothing of quality.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kgrec.artifact import ArtifactDetails, load_artifact, save_artifact
from kgrec.data.histories import HistoryBatch
from kgrec.evaluation.environment import git_commit
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.tower_inputs import profiles_of
from kgrec.models.towers import TowersScorer
from kgrec.models.user_tower import UserTower
from kgrec.ranking import feature_state
from kgrec.ranking.feature_state import FeatureConfig, FeatureState
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.indexed_source import IndexedSource

ROW = 200


def planted_artifact(folder: Path, train: TrainingData, trained: Path) -> Path:
    """Return the folder of a planted artifact, its rankers taken from ``trained``."""
    base = load_artifact(trained).scorer
    assert isinstance(base, Pipeline)
    near = neighbours(train)
    towers = planted_towers(base.sources["towers"], train)
    sources: dict[str, Scorer] = {"towers": towers}
    for seed, name in enumerate(("itemknn", "rp3_kg")):
        model = make_baseline(name, {"neighbours_per_item": ROW})
        model.restore(planted_rows(near, np.random.default_rng(seed)))
        sources[name] = model
    users = np.random.default_rng(0).permutation(train.num_users)[:500]
    histories = HistoryBatch.from_interactions(train.interactions, np.sort(users))
    index = IndexedSource.build(towers, histories, base.config.index).index
    pipeline = Pipeline(
        base.config,
        sources,
        planted_state(train, base.state.config),
        base.warm,
        base.cold,
        {"towers": index},
        preselection=base.preselection,
    )
    return save_artifact(folder, pipeline, train, ArtifactDetails(git_commit=git_commit()))


def neighbours(train: TrainingData) -> np.ndarray:
    """Return for each item 2 * ROW items that often stand near it in histories, or beside it."""
    events, rng = train.interactions, np.random.default_rng(1)
    near = rng.integers(train.num_items, size=(train.num_items, 2 * ROW), dtype=np.int32)
    for gap in range(1, ROW + 1):  # the next items of some user who had it
        place = rng.permutation(len(events) - 60)[: train.num_items]
        step = rng.integers(1, 60, len(place))
        same = events.user_idx[place] == events.user_idx[place + step]
        near[events.item_idx[place[same]], gap] = events.item_idx[(place + step)[same]]
    return near


def planted_rows(near: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the arrays of an item-item model with ROW entries a row, columns ascending."""
    chosen = np.sort(near[:, rng.permutation(near.shape[1])[:ROW]], axis=1)
    first = np.diff(chosen, axis=1, prepend=-1) > 0  # a column stands once
    indptr = np.concatenate([[0], np.cumsum(first.sum(axis=1))]).astype(np.int64)
    return {
        "num_items": np.array([len(near)], dtype=np.int64),
        "indptr": indptr,
        "indices": chosen[first],
        "data": rng.random(indptr[-1], dtype=np.float32),
    }


def planted_towers(base: Scorer, train: TrainingData) -> TowersScorer:
    """Return towers with vectors made of the items' keywords, and the user tower of base."""
    assert isinstance(base, TowersScorer)
    rng, dim = np.random.default_rng(2), base.config.embedding_dim
    graph = train.graph  # items of one cluster share keywords, as trained vectors would tell
    keyword = graph.item_entity_matrix(graph.relations.index("has_keyword"))
    vectors = keyword @ rng.normal(size=(graph.num_entities, dim)).astype(np.float32)
    vectors += 0.5 * rng.normal(size=vectors.shape).astype(np.float32)
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
        item_ids=tuple(train.dataset.items.ids.tolist()),
        entity_ids=(),
    )
    return made


def planted_state(train: TrainingData, config: FeatureConfig) -> FeatureState:
    """Return the feature state of the events, with drawn texts, without guessed popularity."""
    arrays: feature_state.Arrays = {}
    feature_state._count_events(train, config, arrays)
    feature_state._index_times(train, arrays)
    feature_state._count_rows(train, config, arrays)
    text = np.random.default_rng(3).normal(size=(train.num_items, 128)).astype(np.float32)
    arrays["text"] = text / np.linalg.norm(text, axis=1, keepdims=True)
    arrays["content"] = np.zeros((train.num_items, 2), dtype=np.float32)
    relations = feature_state._index_slots(train, config, arrays)
    numeric = feature_state._scale_numeric(train, arrays)
    groups = feature_state.count_groups(train, arrays, config.smoothing, config.max_groups)
    return FeatureState(config, relations, numeric, groups, arrays)
