"""What came and went by each move of the pointer, kept longer than the versions themselves.

DIR/snapshots/lifetimes/NUMBER-OLD-NEW-SHA256.parquet holds the difference that line NUMBER of the
log of versions made: a small file for each move, never written again. One that a kill kept from
being written is derived from the two snapshots as long as both are there. lifetimes.py answers
out of the log.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from graph_etl.errors import SnapshotError
from graph_etl.known_triples import keyed_triples
from graph_etl.snapshot import (
    check_file,
    load_manifest,
    sha256_of,
    sync_folder,
    write_synced,
)

FOLDER = "lifetimes"
# An entity is a row without relation and tail; names are those at the time, of entities only.
KEY = {
    "head_id": pl.String(),
    "head_type": pl.String(),
    "relation": pl.String(),
    "tail_id": pl.String(),
    "tail_type": pl.String(),
}
CHANGE = {"came": pl.Boolean(), **KEY, "name": pl.String()}

_log = logging.getLogger(__name__)


def log_changes(root: Path, ids: Sequence[str]) -> None:
    """Write the file of every move that has none and whose two versions are still there.

    Args:
        root: Folder of the snapshots.
        ids: Where the pointer stood one after the other: the snapshot_ids of the log of versions.
    """
    files = _files(root)
    for number in range(1, len(ids)):
        move = _named(number, ids)
        change = None if move in files else _derived(root, ids[number - 1], ids[number])
        if change is not None:
            _write(root / FOLDER, move, change)


def changes(root: Path, ids: Sequence[str]) -> tuple[int, pl.DataFrame]:
    """Return the moves that are known without a gap up to the last.

    Args:
        root: Folder of the snapshots.
        ids: As ``log_changes`` takes them.

    Returns:
        The number of the first version that is known so, and what later moves changed: columns as
        CHANGE and ``number``, in the order of moves.

    Raises:
        SnapshotError: A file of the log is truncated or altered.
    """
    files = _files(root)
    parts = []
    first = len(ids) - 1
    while first > 0 and (change := _change(root, first, ids, files)) is not None:
        parts.append(change.with_columns(number=pl.lit(first, dtype=pl.Int64)))
        first -= 1
    nothing = pl.DataFrame(schema={**CHANGE, "number": pl.Int64()})
    return first, pl.concat([nothing, *reversed(parts)])


def graph_keys(folder: Path) -> pl.DataFrame:
    """Return the entities and triples of a snapshot, each once; columns as KEY and ``name``.

    Raises:
        SnapshotError: A file of it is absent or altered.
    """
    _, manifest = load_manifest(folder)
    tables = {}
    for name in ("entities", "relation_types", "triples"):
        file = folder / f"{name}.parquet"
        check_file(file, manifest["files"][name]["sha256"])
        tables[name] = pl.read_parquet(file)
    entities = tables["entities"].select(
        pl.col("entity_id").alias("head_id"), pl.col("entity_type").alias("head_type"), "name"
    )
    triples = keyed_triples(**tables).select(*KEY).unique(maintain_order=True)
    return pl.concat([entities, triples], how="diagonal").select(*KEY, "name")


def _named(number: int, ids: Sequence[str]) -> str:
    old, new = (ids[at].removeprefix("snapshot-") for at in (number - 1, number))
    return f"{number:06}-{old}-{new}"


def _files(root: Path) -> dict[str, Path]:
    """Return the files of the log by the move that they tell of."""
    return {file.stem.rpartition("-")[0]: file for file in (root / FOLDER).glob("[0-9]*.parquet")}


def _write(folder: Path, move: str, change: pl.DataFrame) -> None:
    """Write the file of a move and return when it is on disk, whole."""
    folder.mkdir(exist_ok=True)
    content = io.BytesIO()
    change.write_parquet(content, compression="zstd", statistics=False)
    staging = folder / f".{move}.new"
    write_synced(staging, content.getvalue())
    staging.replace(folder / f"{move}-{sha256_of(staging)}.parquet")
    sync_folder(folder)


def _change(
    root: Path, number: int, ids: Sequence[str], files: Mapping[str, Path]
) -> pl.DataFrame | None:
    """Return what a move changed, None where neither the log nor the snapshots tell."""
    file = files.get(_named(number, ids))
    if file is None:
        return _derived(root, ids[number - 1], ids[number])
    sha256 = file.stem.rpartition("-")[2]
    if sha256_of(file) != sha256:
        raise SnapshotError(
            f"Expected {file} to have sha256 {sha256[:12]}…, got {sha256_of(file)[:12]}…: the file "
            "is truncated or altered; delete it: what its two versions still tell is derived anew"
        )
    return pl.read_parquet(file)


def _derived(root: Path, old_id: str, new_id: str) -> pl.DataFrame | None:
    if not all((root / name).is_dir() for name in (old_id, new_id)):
        return None
    try:
        old, new = graph_keys(root / old_id), graph_keys(root / new_id)
    except SnapshotError as error:
        _log.warning("lifetimes of %s start anew: %s", new_id, error)
        return None
    key = list(KEY)
    came = new.join(old, on=key, how="anti", nulls_equal=True, maintain_order="left")
    went = old.join(new, on=key, how="anti", nulls_equal=True, maintain_order="left")
    return pl.concat(
        [came.with_columns(came=pl.lit(True)), went.with_columns(came=pl.lit(False))]
    ).select(*CHANGE)
