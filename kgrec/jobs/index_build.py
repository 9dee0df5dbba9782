"""A published artifact with its vector index built anew; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from kgrec.artifact import Artifact, ArtifactDetails, load_artifact, publish, save_artifact
from kgrec.data.dataset import Dataset
from kgrec.data.histories import HistoryBatch
from kgrec.errors import ConfigError
from kgrec.models.scorer import TrainingData
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.index import IndexConfig
from kgrec.retrieval.indexed_source import IndexedSource, VectorModel

_NUM_QUERIES = 500


@dataclass(frozen=True)
class RebuiltIndex:
    """What a build of an index made.

    Attributes:
        artifact: Folder of the new artifact; the old one stands beside it.
        artifact_id: Its id.
        published: Whether the pointer names it now.
        source: Source whose vectors are indexed.
        before, after: Kind, settings and measured recall of the old and the new index.
    """

    artifact: Path
    artifact_id: str
    published: bool
    source: str
    before: dict[str, Any]
    after: dict[str, Any]


def index_config(**settings: Any) -> IndexConfig:
    """Return the settings of an index.

    Raises:
        ConfigError: One of them is out of its range.
    """
    try:
        return IndexConfig.model_validate(settings)
    except ValidationError as error:
        wrong = "; ".join(f"{part['loc'][0]}: {part['msg']}" for part in error.errors())
        raise ConfigError(f"Expected settings of a vector index, got {wrong}") from error


def build_index(path: Path, config: IndexConfig, source: str = "towers") -> RebuiltIndex:
    """Index the item vectors of a source anew, and write the artifact with it as a new version.

    Recall against exact search is measured on the histories of train users. Where ``path`` is a
    pointer, it names the new artifact at the end, and ``rollback`` goes back; where it is a folder,
    nothing is published.

    Args:
        path: Pointer file or artifact folder.
        config: Kind and effort of the index.
        source: The candidate source whose vectors are indexed.

    Raises:
        ArtifactError: The artifact is damaged.
        ConfigError: It has no such source, its vectors cannot be had, or the recall stays below
            ``config.target_recall``.
    """
    artifact = load_artifact(path)
    pipeline, model = vectors_of(artifact, source)
    train = training_of(artifact)
    before = pipeline.indexes[source].description if source in pipeline.indexes else {}
    index = IndexedSource.build(model, queries_of(train), config).index
    after = index.description
    if after["recall"] < config.target_recall:
        raise ConfigError(
            f"Expected recall@{after['recall_k']} of {config.target_recall:.3f} against exact "
            f"search, got {after['recall']:.3f} with the most effort of kind '{after['kind']}'; "
            "nothing was written: raise neighbours or construction effort, or take kind 'flat'"
        )
    pipeline.indexes[source] = index
    manifest = artifact.manifest
    folder = save_artifact(
        artifact.path.parent,
        pipeline,
        train,
        ArtifactDetails(
            config=manifest["config"],
            seeds=manifest["seeds"],
            git_commit=manifest["git_commit"],
            metrics={**manifest["metrics"], "indexes": pipeline.describe()["indexes"]},
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        encoder=artifact.encoder,
    )
    if path.is_file():
        publish(folder, path)
    return RebuiltIndex(folder, folder.name, path.is_file(), source, before, after)


def vectors_of(artifact: Artifact, source: str) -> tuple[Pipeline, VectorModel]:
    """Return the pipeline of an artifact and a source that has vectors.

    Raises:
        ConfigError: There is no pipeline, or no such source.
    """
    scorer = artifact.scorer
    if not isinstance(scorer, Pipeline):
        raise ConfigError(
            f"Expected an artifact with a pipeline in {artifact.path}, got '{scorer.name}', which "
            "has no vector index"
        )
    model = scorer.sources.get(source)
    if not isinstance(model, VectorModel):
        able = [name for name, one in scorer.sources.items() if isinstance(one, VectorModel)]
        raise ConfigError(
            f"Expected a source with item and user vectors among {', '.join(able) or 'none'}, got "
            f"'{source}'"
        )
    return scorer, model


def training_of(artifact: Artifact) -> TrainingData:
    """Return what an artifact was trained on, as far as it holds it."""
    manifest = artifact.manifest
    dataset = Dataset(
        name=str(manifest["dataset"]["name"]),
        snapshot_id=str(manifest["snapshot_id"]),
        items=artifact.items,
        users=artifact.users,
        graph=artifact.graph,
        interactions=artifact.interactions,
        has_time=bool(manifest["has_time"]),
        details=manifest["dataset"],
    )
    seed = int(manifest["seeds"].get("run", 0))
    return TrainingData(dataset, artifact.interactions, artifact.graph, seed)


def queries_of(train: TrainingData) -> HistoryBatch:
    """Return the histories of at most 500 train users, drawn by seed."""
    users = np.unique(train.interactions.user_idx)
    drawn = np.random.default_rng(train.seed).permutation(users)[:_NUM_QUERIES]
    return HistoryBatch.from_interactions(train.interactions, np.sort(drawn))
