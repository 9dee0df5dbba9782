"""The pointer file that names the artifact in use: publish, resolve and roll back, atomically.

`current` is one line, "<folder> <sha256 of its manifest>"; readers see one version or the next,
never a mix. `current.history` beside it remembers what stood before, oldest first, for rollback.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from graph_etl.snapshot import MANIFEST, sha256_of, sync_folder, write_synced
from kgrec.artifact.manifest import REMEDY, read_manifest, verify_files
from kgrec.errors import ArtifactError

_LINE = re.compile(rb"([^\s\x00][^\n\x00]*) ([0-9a-f]{64})\n")
_KEPT_VERSIONS = 20


def resolve(path: Path) -> tuple[Path, str | None]:
    """Return the artifact folder that ``path`` is or points to, and its manifest's sha256.

    Args:
        path: An artifact folder (its sha256 is then None) or a pointer file.

    Raises:
        ArtifactError: Nothing is there, or the pointer is malformed or contradicts the folder.
    """
    if path.is_dir():
        pointer = path / "current"
        if pointer.is_file() and not (path / MANIFEST).is_file():
            raise ArtifactError(
                f"Expected an artifact folder or a pointer file, got {path}, the folder of a run; "
                f"did you mean {pointer}?"
            )
        return path, None
    if not path.is_file():
        raise ArtifactError(
            f"Expected an artifact folder or pointer file at {path}, found none; "
            "make one with 'kgrec run'"
        )
    folder, sha256 = _parse(path.read_bytes(), path)
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(
            f"Expected the pointer file {path} to name an artifact, found no {folder / MANIFEST}: "
            f"the pointer or the folder is damaged; {REMEDY}"
        )
    actual = sha256_of(folder / MANIFEST)
    if actual != sha256:
        read_manifest(folder, sha256)  # says so where the folder, not the pointer, is damaged
        raise ArtifactError(
            f"Expected the pointer file {path} to name the sha256 {actual} of "
            f"{folder / MANIFEST}, got {sha256}: the pointer is altered; {REMEDY}"
        )
    return folder, sha256


def publish(artifact: Path, pointer: Path) -> None:
    """Make ``pointer`` name this artifact, in one atomic replacement.

    Every file is verified first, so that a damaged artifact is never published. Killed at any
    moment, the pointer names the old artifact or the new one.

    Args:
        artifact: The artifact folder.
        pointer: The pointer file, made or replaced.

    Raises:
        ArtifactError: The artifact does not verify.
    """
    verify_files(artifact, read_manifest(artifact))
    line = _line(artifact, pointer)
    past = _past(pointer)
    if not past or past[-1] != line:
        # before the pointer: a line beyond the one in use was never published, and is passed over
        _replace(_history_file(pointer), b"".join([*past, line][-_KEPT_VERSIONS:]))
    _replace(pointer, line)


def rollback(pointer: Path) -> Path:
    """Make ``pointer`` name the artifact that stood before the present one, and return its folder.

    Raises:
        ArtifactError: Nothing stood before, or what stood before is gone or damaged; the pointer
            then stays as it is.
    """
    present = pointer.read_bytes() if pointer.is_file() else b""
    past = _past(pointer)
    while past and past[-1] == present:
        past.pop()
    if not past:
        raise ArtifactError(
            f"Expected an earlier artifact to go back to in {_history_file(pointer)}, found none; "
            "publish a folder by hand with 'kgrec publish'"
        )
    folder, sha256 = _parse(past[-1], _history_file(pointer))
    verify_files(folder, read_manifest(folder, sha256))
    _line_must_hold(folder, sha256, pointer)
    _replace(pointer, past[-1])
    _replace(_history_file(pointer), b"".join(past))
    return folder


def prune_artifacts(root: Path, pointer: Path, keep: int) -> tuple[Path, ...]:
    """Delete the artifacts of a folder but the last published ones; return what went.

    Args:
        root: Folder of artifacts.
        pointer: The pointer file; what it names always stays.
        keep: Artifacts that stay, the present one among them.
    """
    past = [_parse(line, pointer)[0].resolve() for line in reversed(_past(pointer))]
    kept = list(dict.fromkeys(past))[: max(keep, 1)]
    gone = sorted(path for path in root.glob("artifact-*") if path.resolve() not in kept)
    for path in gone:
        shutil.rmtree(path)
    return tuple(gone)


def _past(pointer: Path) -> list[bytes]:
    """Return the lines published up to the present one; what was rolled back is forgotten."""
    if not pointer.is_file():
        return []
    present, history = pointer.read_bytes(), _history_file(pointer)
    lines = history.read_bytes().splitlines(keepends=True) if history.is_file() else []
    if present in lines:
        last = len(lines) - 1 - lines[::-1].index(present)
        return lines[: last + 1]
    return [*lines, present]  # the pointer was written by hand


def _history_file(pointer: Path) -> Path:
    return pointer.with_name(f"{pointer.name}.history")


def _line(artifact: Path, pointer: Path) -> bytes:
    folder = os.path.relpath(artifact, pointer.parent)
    line = f"{folder} {sha256_of(artifact / MANIFEST)}\n".encode()
    if not _LINE.fullmatch(line):
        raise ArtifactError(
            f"Expected an artifact path without line breaks, got {folder!r}; rename the folder"
        )
    return line


def _line_must_hold(folder: Path, sha256: str, pointer: Path) -> None:
    actual = sha256_of(folder / MANIFEST)
    if actual != sha256:
        raise ArtifactError(
            f"Expected {folder / MANIFEST} to have sha256 {sha256[:12]}…, as it had when it was "
            f"published, got {actual[:12]}…; {pointer} stays as it is"
        )


def _parse(line: bytes, file: Path) -> tuple[Path, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ArtifactError(
            f"Expected one line '<folder> <sha256>' in the pointer file {file}, got "
            f"{line[:60]!r}; {REMEDY}"
        )
    try:
        folder = match[1].decode()
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"Expected UTF-8 in the pointer file {file}, got {match[1][:60]!r}; {REMEDY}"
        ) from error
    return file.parent / folder, match[2].decode()


def _replace(file: Path, content: bytes) -> None:
    staging = file.with_name(f".{file.name}.new")
    write_synced(staging, content)
    staging.replace(file)
    sync_folder(file.parent)
