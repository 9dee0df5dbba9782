"""The artifact: an immutable, checksummed folder that serves one trained model."""

from kgrec.artifact.pointer import prune_artifacts, publish, rollback
from kgrec.artifact.store import (
    Artifact,
    ArtifactDetails,
    artifact_id_of,
    load_artifact,
    save_artifact,
)

__all__ = [
    "Artifact",
    "ArtifactDetails",
    "artifact_id_of",
    "load_artifact",
    "prune_artifacts",
    "publish",
    "rollback",
    "save_artifact",
]
