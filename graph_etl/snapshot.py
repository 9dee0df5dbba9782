"""The snapshot contract: an immutable folder of Parquet files with a manifest of checksums.

Writes, verifies and reads that folder; building its tables is the business of pipeline.py, and
using them that of the recommender.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from graph_etl.errors import SnapshotError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MANIFEST_DIGEST = "manifest.json.sha256"

LISTED = "listed"
"""Column of `items`, Boolean: the item may be recommended; absent where all may."""
VECTOR = "vector"
"""Column of `items`, List(Float32) of one length, null where an item has none; absent where no
item has one."""

# Required columns of each table. Beyond these, `items` and `users` may carry "numeric.NAME"
# (Float64) and "attribute.NAME" (String or List(String)) columns, `items` LISTED and VECTOR,
# `interactions` "context.NAME", and `triples` the "evidence.NAME" columns of what was extracted
# from text.
TABLES: Mapping[str, Mapping[str, pl.DataType]] = {
    "entities": {
        "entity_idx": pl.Int64(),  # dense 0..n-1, the row number
        "entity_id": pl.String(),  # deterministic, unique over the snapshot
        "entity_type": pl.String(),
        "name": pl.String(),
    },
    "relation_types": {
        "relation_idx": pl.Int32(),  # dense 0..n-1, the row number
        "relation": pl.String(),
        "head_type": pl.String(),
        "tail_type": pl.String(),
        "phrase": pl.String(),  # in words, read as "HEAD <phrase> TAIL": "was directed by"
    },
    "triples": {
        "head_idx": pl.Int64(),
        "relation_idx": pl.Int32(),
        "tail_idx": pl.Int64(),
        "source": pl.String(),  # table and column, or text field, that says so
        "doc_id": pl.String(),  # item id or row key in that source
        "engine": pl.String(),  # "table", "gazetteer", "bert", "llm"
        "confidence": pl.Float32(),
        "run_id": pl.String(),
    },
    "items": {
        "item_idx": pl.Int64(),  # dense 0..n-1, the row number
        "item_id": pl.String(),  # external id, unique
        "entity_idx": pl.Int64(),  # the item's node in the graph
        "title": pl.String(),
        "text": pl.String(),  # "" where the item has no text
    },
    "users": {
        "user_idx": pl.Int64(),
        "user_id": pl.String(),
        "profile_text": pl.String(),  # "" where nothing is known
    },
    "interactions": {
        "user_idx": pl.Int64(),
        "item_idx": pl.Int64(),
        "event": pl.String(),
        "value": pl.Float32(),  # null where the event has no value
        "timestamp": pl.Int64(),  # Unix seconds, null where the source has no time
        "positive": pl.Boolean(),  # by the dataset's stated rule
    },
}


@dataclass(frozen=True)
class Snapshot:
    """One verified graph version.

    Attributes:
        path: The immutable folder.
        manifest: Its manifest: schema_version, snapshot_id, parent, run_ids, counts, files,
            dataset (name, licence, ...), audit.
        entities, relation_types, triples, items, users, interactions: The tables, as TABLES says.
    """

    path: Path
    manifest: dict[str, Any]
    entities: pl.DataFrame
    relation_types: pl.DataFrame
    triples: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    interactions: pl.DataFrame

    @property
    def snapshot_id(self) -> str:
        """The content-derived id, the same for the same tables."""
        return str(self.manifest["snapshot_id"])


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_snapshot(
    tables: Mapping[str, pl.DataFrame], root: Path, details: Mapping[str, Any]
) -> Snapshot:
    """Write tables as a new snapshot under ``root`` and return it, verified.

    The folder is written beside its final place, synced, then renamed, so that a reader never
    sees half of one. The same tables give the same id, and the folder that stands is kept,
    unless it is damaged: then it is replaced.

    Args:
        tables: One frame for each name in TABLES.
        root: Folder that holds all snapshots.
        details: Further manifest entries: dataset, audit, run_ids, parent, created_at.

    Returns:
        The snapshot, read back from disk.

    Raises:
        SnapshotError: A table or a column is missing, has another type, or an index is not dense
            or points outside its table.
    """
    _check_tables(tables, where=str(root))
    root.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=root))
    try:
        files = {name: _write_table(tables[name], staging / f"{name}.parquet") for name in TABLES}
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        snapshot_id = f"snapshot-{digest[:16]}"
        manifest = {
            **details,
            "schema_version": SCHEMA_VERSION,
            "snapshot_id": snapshot_id,
            "counts": {name: tables[name].height for name in TABLES},
            "files": files,
        }
        write_synced(staging / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
        write_synced(staging / MANIFEST_DIGEST, sha256_of(staging / MANIFEST).encode())
        target = root / snapshot_id
        if target.exists() and not _is_intact(target):
            shutil.rmtree(target)
        if not target.exists():
            staging.chmod(0o755)
            staging.rename(target)
            sync_folder(root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_snapshot(target)


def publish_snapshot(snapshot: Snapshot, pointer: Path) -> None:
    """Point ``pointer`` (a small text file) at a snapshot in one atomic replacement."""
    folder = os.path.relpath(snapshot.path, pointer.parent)
    line = f"{folder} {sha256_of(snapshot.path / MANIFEST)}\n"
    staging = pointer.with_name(f".{pointer.name}.new")
    write_synced(staging, line.encode())
    staging.replace(pointer)
    sync_folder(pointer.parent)


def load_snapshot(path: str | Path) -> Snapshot:
    """Read a snapshot folder, or the pointer file that names one, checking every checksum.

    Raises:
        SnapshotError: The folder or a file is absent, truncated or altered, or the schema version
            is not SCHEMA_VERSION. The message names the file and the remedy.
    """
    folder, manifest = load_manifest(path)
    tables = {}
    for name in TABLES:
        file = folder / f"{name}.parquet"
        check_file(file, manifest["files"][name]["sha256"])
        tables[name] = pl.read_parquet(file)
    _check_tables(tables, where=str(folder))
    return Snapshot(path=folder, manifest=manifest, **tables)


def load_manifest(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the manifest of a snapshot or pointer, without reading its tables.

    Raises:
        SnapshotError: The manifest is absent, altered or of another schema version.
    """
    folder = _resolve(Path(path))
    return folder, _load_manifest(folder)


def check_file(file: Path, sha256: str) -> None:
    """Raise SnapshotError where ``file`` is absent or does not have this checksum."""
    remedy = "rebuild it with 'graph-etl build', or go back to an older snapshot"
    if not file.is_file():
        raise SnapshotError(f"Expected the file {file}, found none; {remedy}")
    actual = sha256_of(file)
    if actual != sha256:
        raise SnapshotError(
            f"Expected {file} to have sha256 {sha256[:12]}…, got {actual[:12]}…: "
            f"the file is truncated or altered; {remedy}"
        )


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and return when it is on disk."""
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def sync_folder(path: Path) -> None:
    """Return when the entries of a folder (names, renames) are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_intact(folder: Path) -> bool:
    try:
        load_snapshot(folder)
    except SnapshotError:
        return False
    return True


def _write_table(table: pl.DataFrame, path: Path) -> dict[str, Any]:
    table.write_parquet(path, compression="zstd", statistics=False)
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size, "rows": table.height}


def _resolve(path: Path) -> Path:
    if path.is_dir():
        return path
    if not path.is_file():
        raise SnapshotError(
            f"Expected a snapshot folder or pointer file at {path}, found none; "
            "make one with 'graph-etl build'"
        )
    words = path.read_text().split()
    if len(words) != 2:
        raise SnapshotError(
            f"Expected '<folder> <sha256>' in the pointer file {path}, got {len(words)} words; "
            "publish again with 'graph-etl build'"
        )
    folder = path.parent / words[0]
    check_file(folder / MANIFEST, words[1])
    return folder


def _load_manifest(folder: Path) -> dict[str, Any]:
    digest_file = folder / MANIFEST_DIGEST
    if not digest_file.is_file():
        raise SnapshotError(
            f"Expected the file {digest_file}, found none; is {folder} a snapshot? "
            "Make one with 'graph-etl build'"
        )
    check_file(folder / MANIFEST, digest_file.read_text(errors="replace").strip())
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise SnapshotError(
            f"Expected snapshot schema version {SCHEMA_VERSION}, got {version} in "
            f"{folder / MANIFEST}; build the snapshot again with this version of graph-etl"
        )
    return manifest


def _check_tables(tables: Mapping[str, pl.DataFrame], where: str) -> None:
    for name, columns in TABLES.items():
        if name not in tables:
            raise SnapshotError(f"Expected a table '{name}' in {where}, got {sorted(tables)}")
        for column, dtype in columns.items():
            actual = tables[name].schema.get(column)
            if actual != dtype:
                raise SnapshotError(
                    f"Expected column '{column}' of type {dtype} in table '{name}' of {where}, "
                    f"got {actual}"
                )
    for table, column in _DENSE:
        values = tables[table][column]
        if values.null_count() or (values.to_numpy() != np.arange(len(values))).any():
            raise SnapshotError(
                f"Expected column '{column}' of table '{table}' in {where} to be 0..n-1 in order"
            )
    for table, column, target in _REFERENCES:
        values, size = tables[table][column], tables[target].height
        bad = values.is_null() | (values < 0) | (values >= size)
        if bad.any():
            raise SnapshotError(
                f"Expected column '{column}' of table '{table}' in {where} to lie in "
                f"0..{size - 1}, got {values.filter(bad)[0]} among {bad.sum()} bad rows"
            )


_DENSE = (
    ("entities", "entity_idx"),
    ("relation_types", "relation_idx"),
    ("items", "item_idx"),
    ("users", "user_idx"),
)
_REFERENCES = (
    ("triples", "head_idx", "entities"),
    ("triples", "relation_idx", "relation_types"),
    ("triples", "tail_idx", "entities"),
    ("items", "entity_idx", "entities"),
    ("interactions", "user_idx", "users"),
    ("interactions", "item_idx", "items"),
)
