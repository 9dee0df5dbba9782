"""DIR/resolution: what was merged in each published graph, and what people decided about it.

DIR/resolution/review.csv             open pairs and decisions, for people to fill in
DIR/resolution/merges/SNAPSHOT.parquet  the merges of that snapshot

A merge is taken back by a decision that its two entities are never one; the next build honours it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from graph_etl.build_folder import pointer_of
from graph_etl.errors import ConfigError, SnapshotError
from graph_etl.resolution.merge_decisions import (
    ReviewRow,
    decided,
    decisions_of,
    read_review,
    shown,
    write_review,
)
from graph_etl.snapshot import load_manifest, load_snapshot, sync_folder, write_synced

MERGES = {
    "entity_type": pl.String(),
    "merged_id": pl.String(),
    "merged_name": pl.String(),  # its most frequent spelling
    "kept_id": pl.String(),
    "kept_name": pl.String(),
    "stage": pl.String(),  # "exact", "similar", "reviewed"
    "score": pl.Float64(),
    "evidence": pl.String(),
    "run_id": pl.String(),  # of the settings and decisions that first led to it
}


def review_file(folder: Path) -> Path:
    """Return where the review file of a build folder lies."""
    return folder / "resolution" / "review.csv"


def merges_file(folder: Path, snapshot_id: str) -> Path:
    """Return where the merges of a snapshot lie."""
    return folder / "resolution" / "merges" / f"{snapshot_id}.parquet"


def read_rows(folder: Path) -> list[ReviewRow]:
    """Return the rows of a build folder's review file; none where there is no file yet."""
    file = review_file(folder)
    return read_review(file) if file.is_file() else []


def read_merges(folder: Path, snapshot_id: str | None = None) -> pl.DataFrame:
    """Return the merges of a snapshot, columns as MERGES; none where nothing was merged.

    Args:
        folder: The build folder.
        snapshot_id: Default the published one.

    Raises:
        SnapshotError: Nothing was published, or the file is damaged.
    """
    if snapshot_id is None:
        snapshot_id = str(load_manifest(pointer_of(folder))[1]["snapshot_id"])
    file = merges_file(folder, snapshot_id)
    if not file.is_file():
        return pl.DataFrame(schema=MERGES)
    try:
        found = pl.read_parquet(file)
        if dict(found.schema) != MERGES or found.null_count().sum_horizontal().item():
            raise ValueError(f"columns {found.schema}")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise SnapshotError(
            f"Expected the merges of {snapshot_id} in {file} (got: {str(error)[:200]}); take the "
            "file away and build again: merged entities may then be kept under another id"
        ) from error
    return found


def write_merges(folder: Path, snapshot_id: str, merges: pl.DataFrame) -> bool:
    """Write the merges of a snapshot, drop those of pruned ones; return whether it was changed."""
    file = merges_file(folder, snapshot_id)
    kept = {path.name for path in pointer_of(folder).parent.glob("snapshot-*")} | {snapshot_id}
    for old in file.parent.glob("*.parquet"):
        if old.stem not in kept:
            old.unlink()
    if merges.is_empty() and not file.is_file():
        return False
    content = io.BytesIO()
    merges.write_parquet(content, compression="zstd", statistics=False)
    if file.is_file() and file.read_bytes() == content.getvalue():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.new")
    write_synced(staging, content.getvalue())
    staging.replace(file)
    sync_folder(file.parent)
    return True


def undo_merges(folder: Path, ids: Iterable[str]) -> list[ReviewRow]:
    """Record that entities are never one with those they were merged with; return the new rows.

    Args:
        folder: The build folder.
        ids: Merged or kept ids; each is taken out of its group by the next build.

    Raises:
        ConfigError: An id is in no merge.
        SnapshotError: Nothing was published.
    """
    merges = read_merges(folder)
    new: dict[tuple[str, str], ReviewRow] = {}
    for one in ids:
        own = merges.filter((pl.col("merged_id") == one) | (pl.col("kept_id") == one))
        if own.is_empty():
            raise ConfigError(
                f"Expected the id of a merged entity, got '{one}'; 'graph-etl merges list' names "
                "them"
            )
        group = merges.filter(pl.col("kept_id") == own["kept_id"][0])
        names = dict(group.select("merged_id", "merged_name").iter_rows())
        names[group["kept_id"][0]] = group["kept_name"][0]
        for other in sorted(names.keys() - {one}):
            row = ReviewRow(group["entity_type"][0], one, shown(names[one]), other,
                            shown(names[other]), "", "merged before", "no", "undo")  # fmt: skip
            new[row.pair] = row
    return decide(folder, list(new.values()))


def decide(folder: Path, rows: Sequence[ReviewRow]) -> list[ReviewRow]:
    """Write decisions into the review file and return them.

    Raises:
        ConfigError: They contradict others; the file stays as it was.
    """
    all_rows = decided(read_rows(folder), rows)
    decisions_of(all_rows)
    write_review(review_file(folder), all_rows)
    return list(rows)


def decide_pair(folder: Path, pair: tuple[str, str], decision: str, decided_by: str) -> None:
    """Write one decision on two entities of the published graph, or of the review file.

    Args:
        folder: The build folder.
        pair: Their ids.
        decision: "yes" or "no".
        decided_by: Who decides.

    Raises:
        ConfigError: An id is not known, the two are of different types, or the decision
            contradicts others; the file stays as it was.
    """
    wanted = tuple(sorted(pair))
    known = next((row for row in read_rows(folder) if row.pair == wanted), None)
    if known is not None:
        row = replace(known, decision=decision, decided_by=decided_by)
    else:
        found = _published(folder, pair)
        (type_a, name_a), (type_b, name_b) = (found[one] for one in pair)
        if type_a != type_b or pair[0] == pair[1]:
            raise ConfigError(
                f"Expected two entities of one type, got '{pair[0]}' and '{pair[1]}'; entities of "
                "two types are never one"
            )
        row = ReviewRow(type_a, pair[0], shown(name_a), pair[1], shown(name_b), "", "by hand",
                        decision, decided_by)  # fmt: skip
    decide(folder, [row])


def _published(folder: Path, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return id -> (type, name) of published entities and of those merged into them."""
    entities = load_snapshot(pointer_of(folder)).entities
    merges = read_merges(folder).select("merged_id", "entity_type", "merged_name")
    rows = [
        *entities.select("entity_id", "entity_type", "name").iter_rows(), *merges.iter_rows(),
    ]  # fmt: skip
    found = {one: (entity_type, name) for one, entity_type, name in rows if one in ids}
    for one in ids:
        if one not in found:
            raise ConfigError(
                f"Expected the id of an entity, got '{one}'; 'graph-etl merges review' and 'graph-"
                "etl merges list' show ids"
            )
    return found
