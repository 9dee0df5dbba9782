"""The manifest of an artifact: what it lists, and the check that a folder still is what it says.

Reads and verifies; writing an artifact is for store.py, the pointer that names one for pointer.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from graph_etl.snapshot import MANIFEST, MANIFEST_DIGEST, sha256_of
from kgrec.errors import ArtifactError

SCHEMA_VERSION = 2
REMEDY = "train and publish again with 'kgrec run', or go back with 'kgrec rollback'"


def read_manifest(folder: Path, expected_sha256: str | None = None) -> dict[str, Any]:
    """Return the manifest of an artifact folder, its own checksum verified.

    Args:
        folder: The artifact.
        expected_sha256: What a pointer file says of the manifest; None where no pointer was used.

    Raises:
        ArtifactError: The manifest or its digest is absent or altered, or the schema version is
            not SCHEMA_VERSION.
    """
    manifest_file, digest_file = folder / MANIFEST, folder / MANIFEST_DIGEST
    for file in (manifest_file, digest_file):
        if not file.is_file():
            raise ArtifactError(
                f"Expected the file {file}, found none; is {folder} an artifact? Otherwise {REMEDY}"
            )
    actual = sha256_of(manifest_file)
    digest = digest_file.read_bytes()
    if digest != actual.encode():
        # with a pointer there are three witnesses, and the one that stands alone is at fault
        fault = digest_file if expected_sha256 == actual else manifest_file
        raise ArtifactError(
            f"Expected {manifest_file} to have the sha256 that {digest_file.name} names "
            f"({digest[:12]!r}…), got {actual[:12]}…: {fault.name} is truncated or altered; "
            f"{REMEDY}"
        )
    manifest: dict[str, Any] = json.loads(manifest_file.read_bytes())
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"Expected artifact schema version {SCHEMA_VERSION}, got {version} in "
            f"{manifest_file}; train again with this version of kgrec, or serve the artifact "
            "with the version that wrote it"
        )
    return manifest


def verify_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise ArtifactError unless the folder holds exactly the files listed, unaltered.

    An artifact is immutable: a file that the manifest does not list is refused too. Only names
    that start with a dot (what file managers and network drives leave behind) are passed over.
    """
    listed, digests = manifest["files"], _digests(folder, manifest["files"])
    present = set(files_below(folder)) - {MANIFEST, MANIFEST_DIGEST}
    for name in sorted(listed):
        file = folder / name
        if name not in present:
            raise ArtifactError(f"Expected the file {file}, found none; {REMEDY}")
        size = file.stat().st_size
        if size != listed[name]["bytes"]:
            raise ArtifactError(
                f"Expected {file} to have {listed[name]['bytes']} bytes, got {size}: "
                f"the file is truncated or altered; {REMEDY}"
            )
        actual = digests[name]
        if actual != listed[name]["sha256"]:
            raise ArtifactError(
                f"Expected {file} to have sha256 {listed[name]['sha256'][:12]}…, got "
                f"{actual[:12]}…: the file is altered; {REMEDY}"
            )
    extra = sorted(present - set(listed))
    if extra:
        raise ArtifactError(
            f"Expected only the {len(listed)} files that {folder / MANIFEST} lists, found also "
            f"{folder / extra[0]}; an artifact is immutable: move the file elsewhere"
        )


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of each file that is there; large ones take a thread each."""
    there = [name for name in names if (folder / name).is_file()]
    there.sort(key=lambda name: -(folder / name).stat().st_size)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return dict(zip(there, pool.map(lambda name: sha256_of(folder / name), there), strict=True))


def files_below(folder: Path) -> list[str]:
    """Return the relative POSIX paths of all files below, dot files and dot folders left out."""
    names = (file.relative_to(folder) for file in folder.rglob("*") if not file.is_dir())
    return sorted(
        name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)
    )
