"""Does an artifact answer as it did when it was made? Its probe queries, asked again."""

from __future__ import annotations

from typing import Any

from kgrec.artifact import Artifact
from kgrec.artifact.probes import answer_to, difference
from kgrec.errors import ArtifactError


def check_probes(artifact: Artifact) -> int:
    """Ask an artifact's probe queries again and return how many there are.

    Raises:
        ArtifactError: One is answered differently than when the artifact was made.
    """
    probes: list[dict[str, Any]] = artifact.manifest["probes"]
    for number, probe in enumerate(probes, start=1):
        fault = difference(probe, answer_to(probe, artifact.scorer, artifact.interactions))
        if fault:
            raise ArtifactError(
                f"Expected probe {number} of {len(probes)} in {artifact.path} to be "
                f"answered as when it was made, got {fault}; compare the versions in its "
                "manifest.json with those installed ('kgrec doctor')"
            )
    return len(probes)
