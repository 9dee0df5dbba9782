"""The artifact: an immutable, checksummed folder that serves one trained model."""

from kgrec.artifact.pointer import publish, rollback
from kgrec.artifact.store import Artifact, ArtifactDetails, load_artifact, save_artifact

__all__ = [
    "Artifact",
    "ArtifactDetails",
    "load_artifact",
    "publish",
    "rollback",
    "save_artifact",
]
