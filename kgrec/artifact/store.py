"""An artifact: an immutable folder with everything that serves one trained model, and its reader.

Saves (staged, synced, renamed) and loads with every checksum verified; publishing is for
pointer.py, answering for kgrec.serving. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from graph_etl.snapshot import MANIFEST, MANIFEST_DIGEST, sha256_of, sync_folder, write_synced
from kgrec.artifact import tables as artifact_tables
from kgrec.artifact.manifest import SCHEMA_VERSION, files_below, read_manifest, verify_files
from kgrec.artifact.pointer import resolve
from kgrec.artifact.probes import make_probes
from kgrec.artifact.scorers import ScorerTypes, load_scorer
from kgrec.data.dataset import Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import Interactions
from kgrec.errors import ArtifactError, ConfigError
from kgrec.models.scorer import Scorer, TrainingData

PIPELINE = "pipeline"
ENCODER = "encoder"
_LIBRARIES = ("kgrec", "torch", "numpy", "scipy", "polars", "faiss-cpu", "safetensors")


@dataclass(frozen=True)
class ArtifactDetails:
    """What the manifest records of the run, besides the files; all of it JSON.

    Attributes:
        config: The resolved configuration of the run.
        seeds: Name -> seed.
        git_commit: Commit of the code, "" where unknown.
        metrics: Summary of the evaluation.
        created_at: ISO time of the run, "" to leave it out. Not part of the artifact's id.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    git_commit: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    created_at: str = ""


@dataclass(frozen=True)
class Artifact:
    """One verified artifact, read.

    Attributes:
        path: The immutable folder.
        manifest: schema_version, artifact_id, snapshot_id, dataset, scorer, config, seeds,
            git_commit, versions, metrics, probes, counts, files, created_at.
        items, users: The catalogue and the users of training.
        interactions: The train events, sorted by user and time.
        graph: The train-time graph; every edge of an explanation stands in it.
        scorer: The fitted pipeline.
    """

    path: Path
    manifest: dict[str, Any]
    items: Items
    users: Users
    interactions: Interactions
    graph: KnowledgeGraph
    scorer: Scorer

    @property
    def encoder(self) -> Path | None:
        """Folder of the text encoder that learned with the scorer; None where none did."""
        folder = self.path / ENCODER
        return folder if folder.is_dir() else None

    @property
    def artifact_id(self) -> str:
        """The content-derived id, the same for the same content."""
        return str(self.manifest["artifact_id"])


def save_artifact(
    root: Path,
    scorer: Scorer,
    train: TrainingData,
    details: ArtifactDetails | None = None,
    *,
    scorers: ScorerTypes | None = None,
    encoder: Path | None = None,
) -> Path:
    """Write a fitted scorer and what serves it as an artifact under ``root``; return its folder.

    The folder is written beside its final place, synced, then renamed: a reader never sees half
    of one. The scorer is read back before that and must give the same answers. The same content
    gives the same id, and the folder that stands is kept.

    Args:
        root: Folder that holds all artifacts, made if absent.
        scorer: Fitted on ``train``.
        train: What it was trained on; its events become the histories of known users, its graph
            the graph of explanations.
        details: What the manifest records of the run.
        scorers: Further scorer classes by name, for reading back; see ``load_scorer``.
        encoder: Folder of the text encoder that learned with the scorer, to go along; None where
            texts were read by one that did not learn.

    Raises:
        ArtifactError: The scorer read back answers differently.
        ConfigError: The details are not JSON, or the scorer's name is not known.
    """
    details = details or ArtifactDetails()
    root.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=root))
    try:
        tables = artifact_tables.tables_of(train)
        _write_tables(tables, staging)
        scorer.save(staging / PIPELINE)
        if encoder is not None:
            shutil.copytree(encoder, staging / ENCODER)
        saved = load_scorer(scorer.name, staging / PIPELINE, scorers)
        probes = make_probes(scorer, saved, train)
        manifest = _manifest(staging, scorer, train, details, probes)
        manifest["counts"] = {name: table.height for name, table in tables.items()}
        _write_manifest(manifest, staging)
        _sync_below(staging)
        target: Path = root / manifest["artifact_id"]
        if target.exists() and not _is_whole(target):
            shutil.rmtree(target)
        if not target.exists():
            staging.chmod(0o755)
            staging.rename(target)
            sync_folder(root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def load_artifact(path: str | Path, *, scorers: ScorerTypes | None = None) -> Artifact:
    """Read an artifact folder, or the pointer file that names one, verifying every file.

    Args:
        path: Folder or pointer file.
        scorers: Further scorer classes by name; see ``load_scorer``.

    Raises:
        ArtifactError: A file is absent, truncated, altered or not listed, or the schema version
            is another. The message names the file and the remedy.
    """
    folder, sha256 = resolve(Path(path))
    manifest = read_manifest(folder, sha256)
    verify_files(folder, manifest)
    tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in artifact_tables.NAMES}
    return Artifact(
        path=folder,
        manifest=manifest,
        items=artifact_tables.items_from(tables),
        users=artifact_tables.users_from(tables),
        interactions=artifact_tables.interactions_from(tables),
        graph=artifact_tables.graph_from(tables),
        scorer=load_scorer(str(manifest["scorer"]), folder / PIPELINE, scorers),
    )


def artifact_id_of(path: str | Path) -> str:
    """Return the id of an artifact folder, or of the one a pointer names; reads the manifest alone.

    Raises:
        ArtifactError: Nothing is there, or the pointer or the manifest is damaged.
    """
    folder, sha256 = resolve(Path(path))
    return str(read_manifest(folder, sha256)["artifact_id"])


def _manifest(
    folder: Path,
    scorer: Scorer,
    train: TrainingData,
    details: ArtifactDetails,
    probes: list[dict[str, Any]],
) -> dict[str, Any]:
    files = {
        name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
        for name in files_below(folder)
    }
    content = {
        "schema_version": SCHEMA_VERSION,
        "scorer": scorer.name,
        "snapshot_id": train.dataset.snapshot_id,
        "config": dict(details.config),
        "seeds": dict(details.seeds),
        "files": files,
    }
    digest = hashlib.sha256(_json(content)).hexdigest()
    return {
        **content,
        "artifact_id": f"artifact-{digest[:16]}",
        "dataset": {"name": train.dataset.name, **train.dataset.details},
        "has_time": train.dataset.has_time,
        "git_commit": details.git_commit,
        "metrics": dict(details.metrics),
        "created_at": details.created_at,
        "versions": _versions(),
        "probes": probes,
    }


def _json(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Expected artifact details that are plain JSON, got {error}; give strings, finite "
            "numbers, lists and string-keyed mappings"
        ) from error


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _write_tables(tables: Mapping[str, pl.DataFrame], folder: Path) -> None:
    for name, table in tables.items():
        file = folder / f"{name}.parquet"
        file.parent.mkdir(exist_ok=True)
        table.write_parquet(file, compression="zstd", statistics=False)


def _write_manifest(manifest: Mapping[str, Any], folder: Path) -> None:
    write_synced(folder / MANIFEST, _json(manifest))
    write_synced(folder / MANIFEST_DIGEST, sha256_of(folder / MANIFEST).encode())


def _sync_below(folder: Path) -> None:
    for name in files_below(folder):
        with (folder / name).open("rb") as handle:
            os.fsync(handle.fileno())
    for child in (path for path in folder.rglob("*") if path.is_dir()):
        sync_folder(child)
    sync_folder(folder)


def _is_whole(folder: Path) -> bool:
    try:
        verify_files(folder, read_manifest(folder))
    except ArtifactError:
        return False
    return True
