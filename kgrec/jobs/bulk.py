"""Answers for many users at once, from a published artifact to a file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from graph_etl.snapshot import write_synced
from kgrec.errors import DataError
from kgrec.jobs import bulk_tables
from kgrec.jobs.progress import Progress
from kgrec.serving.capabilities import kind_of_score
from kgrec.serving.recommender import Recommender

USERS_OF_A_PART = 4096
USERS_OF_A_BATCH = 128
MOST_WORKERS = 4
_PAIRS_OF_A_BATCH = 200_000


@dataclass(frozen=True)
class TopLists:
    """What was written for users.

    Attributes:
        out: The file: user_id, item_id, rank (from 1), score.
        artifact_id: What answered.
        users: Users asked for.
        rows: Rows written.
        unknown_users: Users that the artifact does not know; they got popular items.
        users_without_likes: Users it knows, but no like of theirs; they got popular items too.
        parts_kept: Parts that an earlier, interrupted call had finished.
    """

    out: Path
    artifact_id: str
    users: int
    rows: int
    unknown_users: int
    users_without_likes: int
    parts_kept: int = 0


@dataclass(frozen=True)
class ScoredPairs:
    """What was written for pairs.

    Attributes:
        out: The file: the pairs as they came, with ``score``.
        artifact_id: What answered.
        kind: What the score is, in words.
        pairs: Rows written.
        unknown_users, unknown_items: Pairs with a user, an item, that the artifact does not know;
            they are scored as of the average user, the average item.
    """

    out: Path
    artifact_id: str
    kind: str
    pairs: int
    unknown_users: int
    unknown_items: int


def recommend_all(
    artifact: Path, out: Path, k: int = 20, progress: Progress | None = None
) -> TopLists:
    """Write the k best items of every user of an artifact.

    Parts of the users are kept beside ``out`` until all are there. A call after a kill goes on
    with them where they are of the same artifact and k, and ends with the same file.

    Args:
        artifact: Pointer file or artifact folder.
        out: A Parquet, TSV or CSV file, as its name says.
        k: Items wanted; fewer come where fewer are left.
        progress: Told what is being done.

    Raises:
        ArtifactError: The artifact is damaged.
        DataError: ``out`` names no kind of table.
        RequestError: k is below 1.
    """
    bulk_tables.check_name(out)
    with Recommender.load(artifact) as recommender:
        ids = [str(user) for user in recommender.artifact.users.ids]
        named = bulk_tables.natural(pl.Series(ids, dtype=pl.String))
        parts = _parts_folder(recommender, out, k)
        starts = range(0, len(ids), USERS_OF_A_PART)
        kept = 0
        files = [parts / f"{number:06d}.parquet" for number in range(len(starts))]
        for start, file in zip(starts, files, strict=True):
            kept += file.is_file()
            if not file.is_file():
                part = slice(start, start + USERS_OF_A_PART)
                bulk_tables.write_table(_top_table(recommender, ids[part], named[part], k), file)
            if progress is not None:
                progress(f"{min(start + USERS_OF_A_PART, len(ids)):,} users", start / len(ids))
        users_without = _without_likes(recommender, ids)
    rows = _joined(files, out)
    shutil.rmtree(parts)
    return TopLists(out, recommender.artifact_id, len(ids), rows, 0, users_without, kept)


def predict_topk(
    artifact: Path,
    users: Path,
    out: Path,
    k: int = 20,
    column: str = "user_id",
    progress: Progress | None = None,
) -> TopLists:
    """Write the k best items of chosen users; what stands in their history is left out.

    Args:
        artifact: Pointer file or artifact folder.
        users: Parquet, TSV or CSV with the ids in a column, or a text file with one id a line.
        out: A Parquet, TSV or CSV file; users stand in the order of ``users``, each once.
        k: Items wanted; fewer come where fewer are left.
        column: Name of that column.
        progress: Told what is being done.

    Raises:
        ArtifactError: The artifact is damaged.
        DataError: A file cannot be read, or ``out`` names no kind of table.
        RequestError: k is below 1.
    """
    bulk_tables.check_name(out)
    ids = bulk_tables.read_users(users, column)
    with Recommender.load(artifact) as recommender:
        asked = ids.cast(pl.String).to_list()
        table = _top_table(recommender, asked, ids, k, progress)
        bulk_tables.write_table(table, out)
        known = set(recommender.artifact.users.ids.tolist())
        unknown = sum(user not in known for user in asked)
        without = _without_likes(recommender, [user for user in asked if user in known])
    return TopLists(out, recommender.artifact_id, len(asked), table.height, unknown, without)


def score_pairs(
    artifact: Path,
    pairs: Path,
    out: Path,
    user_column: str = "user_id",
    item_column: str = "item_id",
    progress: Progress | None = None,
) -> ScoredPairs:
    """Write a score of each pair that compares between users; other columns pass through.

    Args:
        artifact: Pointer file or artifact folder.
        pairs: Parquet, TSV or CSV.
        out: A Parquet, TSV or CSV file, rows in the order of ``pairs``.
        user_column: Name of the column of user ids.
        item_column: Name of the column of item ids.
        progress: Told what is being done.

    Raises:
        ArtifactError: The artifact is damaged.
        DataError: A file cannot be read, a column is missing or is there already.
    """
    bulk_tables.check_name(out)
    table = bulk_tables.read_table(pairs, (user_column, item_column))
    bulk_tables.require(table, (user_column, item_column), pairs)
    if "score" in table.columns:
        raise DataError(
            f"Expected no column 'score' in {pairs}, found one; rename it, since the scores are "
            "written under that name"
        )
    users = table[user_column].cast(pl.String).fill_null("").to_numpy()
    items = table[item_column].cast(pl.String).fill_null("").to_numpy()
    with Recommender.load(artifact) as recommender:
        scores = np.empty(len(users), dtype=np.float32)
        order = np.argsort(users, kind="stable")  # a user's pairs are asked together
        for start in range(0, len(order), _PAIRS_OF_A_BATCH):
            rows = order[start : start + _PAIRS_OF_A_BATCH]
            scores[rows] = recommender.score_pairs(users[rows].tolist(), items[rows].tolist())
            if progress is not None:
                progress(f"{start + len(rows):,} pairs", (start + len(rows)) / len(order))
        known = recommender.artifact
        found = ScoredPairs(
            out,
            recommender.artifact_id,
            kind_of_score(known.scorer),
            len(users),
            int((~np.isin(users, known.users.ids.astype(str))).sum()),
            int((~np.isin(items, known.items.ids.astype(str))).sum()),
        )
    bulk_tables.write_table(table.with_columns(score=pl.Series(scores)), out)
    return found


def _top_table(
    recommender: Recommender,
    users: Sequence[str],
    ids: pl.Series,
    k: int,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Return user_id, item_id, rank and score of the best items, users in the order given."""
    item_ids = pl.Series(recommender.artifact.items.ids.tolist(), dtype=pl.String)
    item_ids = bulk_tables.natural(item_ids)
    parts = []

    def listed(start: int) -> pl.DataFrame:
        top = recommender.top_rows(users[start : start + USERS_OF_A_BATCH], k=k)
        row, place = np.nonzero(top.item_idx >= 0)
        return pl.DataFrame(
            {
                "user_id": ids.gather(start + row),
                "item_id": item_ids.gather(top.item_idx[row, place]),
                "rank": (place + 1).astype(np.int32),
                "score": top.score[row, place],
            }
        )

    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_WORKERS)) as workers:
        for part in workers.map(listed, range(0, len(users), USERS_OF_A_BATCH)):
            parts.append(part)
            if progress is not None:
                done = min(len(parts) * USERS_OF_A_BATCH, len(users))
                progress(f"{done:,} users", done / len(users))
    if not parts:
        raise DataError("Expected at least one user, got none")
    return pl.concat(parts)


def _parts_folder(recommender: Recommender, out: Path, k: int) -> Path:
    """Return the folder of finished parts; those of another question are thrown away."""
    question = {"artifact": recommender.artifact_id, "k": k, "users": USERS_OF_A_PART}
    folder = out.with_name(f".{out.name}.parts")
    text = json.dumps(question, sort_keys=True).encode()
    told = folder / "question.json"
    if folder.is_dir() and not (told.is_file() and told.read_bytes() == text):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not told.is_file():
        write_synced(told, text)
    return folder


def _joined(files: Sequence[Path], out: Path) -> int:
    """Write the parts as one file, holding one of them at a time; return its rows."""
    rows = 0
    half = out.with_name(f".{out.name}.half")
    if out.suffix not in bulk_tables.PARQUET:
        separator = "," if out.suffix == ".csv" else "\t"
        with half.open("wb") as handle:
            for number, file in enumerate(files):
                table = pl.read_parquet(file)
                rows += table.height
                table.write_csv(handle, separator=separator, include_header=number == 0)
    else:
        with pq.ParquetWriter(half, pq.read_schema(files[0]), compression="zstd") as writer:
            for file in files:
                table = pq.read_table(file)
                rows += table.num_rows
                writer.write_table(table)
    bulk_tables.replace(half, out)
    return rows


def _without_likes(recommender: Recommender, users: Sequence[str]) -> int:
    events = recommender.artifact.interactions
    likers = np.unique(events.user_idx[events.positive])
    ids = recommender.artifact.users.ids[likers]
    return len(users) - len(set(users) & set(ids.tolist()))
