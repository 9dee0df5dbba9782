"""When entities and triples were first and last seen, and which are gone: answers out of the log.

Writing the log is the business of lifetime_log.py, which versions.py calls at each move.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from graph_etl.build_folder import pointer_of
from graph_etl.errors import DataError
from graph_etl.lifetime_log import KEY, changes, graph_keys
from graph_etl.versions import Version, history


@dataclass(frozen=True)
class Lifetime:
    """How long an entity or a triple has stood in published versions.

    Attributes:
        head_id: The entity_id, or that of the triple's head.
        relation, tail_id: The rest of a triple; None for an entity.
        told: The same in words.
        first_seen: Snapshot_id of the first version that had it.
        first_at: When that was published, UTC, ISO 8601.
        last_seen: Snapshot_id of the last version that had it.
        gone_at: When a version without it was published; None while it stands.
        or_earlier: Whether it may be older: ``first_seen`` is the oldest version that the log
            tells of, and there were others before it.
    """

    head_id: str
    relation: str | None
    tail_id: str | None
    told: str
    first_seen: str
    first_at: str
    last_seen: str
    gone_at: str | None
    or_earlier: bool

    @property
    def gone(self) -> bool:
        """Whether the current version is without it: a tombstone."""
        return self.gone_at is not None


@dataclass(frozen=True)
class LifetimeSummary:
    """What the log of lifetimes knows.

    Attributes:
        since: Snapshot_id of the oldest version that it tells of without a gap.
        since_at: When that was published.
        versions: Moves of the pointer from it on, itself included.
        entities, triples: (stand now, of those came later than ``since``, are gone).
    """

    since: str
    since_at: str
    versions: int
    entities: tuple[int, int, int]
    triples: tuple[int, int, int]


def lifetimes_of(folder: Path, entity: str) -> tuple[Lifetime, ...]:
    """Return the lifetimes of an entity, then of every triple that ever touched it.

    Args:
        folder: The build folder.
        entity: An entity_id, or a name (case ignored) that only one entity has or had.

    Raises:
        DataError: None has or had it, or several.
        SnapshotError: Nothing was published, or a file is damaged.
    """
    log = _Lifetimes(folder)
    entity_id = log.named(entity)
    touching = (pl.col("head_id") == entity_id) | (pl.col("tail_id") == entity_id)
    return log.told(log.table.filter(touching.fill_null(value=False)))


def gone_of(folder: Path) -> tuple[Lifetime, ...]:
    """Return the tombstones: entities that are gone, then triples, the newest loss first.

    Raises:
        SnapshotError: Nothing was published, or a file is damaged.
    """
    log = _Lifetimes(folder)
    gone = log.table.filter("gone").sort(
        pl.col("relation").is_not_null(), "last", descending=[False, True], maintain_order=True
    )
    return log.told(gone)


def summary_of(folder: Path) -> LifetimeSummary:
    """Return how far the log reaches and how much came and went.

    Raises:
        SnapshotError: Nothing was published, or a file is damaged.
    """
    log = _Lifetimes(folder)
    since = log.versions[log.since]
    counts = []
    for own in (pl.col("relation").is_null(), pl.col("relation").is_not_null()):
        part = log.table.filter(own)
        stands = part.filter(~pl.col("gone"))
        later = stands.filter(pl.col("first") > log.since)
        counts.append((stands.height, later.height, part.height - stands.height))
    return LifetimeSummary(
        since.snapshot_id, since.at, len(log.versions) - log.since, counts[0], counts[1]
    )


class _Lifetimes:
    """Every key that stands or is known to have stood, with the numbers of its versions.

    ``table`` has the columns of KEY, ``name``, ``first``, ``last`` (numbers of versions) and
    ``gone``.
    """

    def __init__(self, folder: Path) -> None:
        root = pointer_of(folder).parent
        self.versions: list[Version] = list(reversed(history(folder)))
        ids = [version.snapshot_id for version in self.versions]
        self.since, moves = changes(root, ids)
        self._had_earlier = self.versions[self.since].previous is not None
        key = list(KEY)
        events = moves.group_by(key, maintain_order=True).agg(
            pl.col("name").last(),
            pl.col("number").first().alias("event"),
            pl.col("came").first().alias("came"),
            pl.col("number").last().alias("last_event"),
        )
        now = graph_keys(root / ids[-1]).with_columns(stands=pl.lit(True))
        both = now.join(
            events, on=key, how="full", coalesce=True, nulls_equal=True, suffix="_then"
        )  # fmt: skip
        gone = pl.col("stands").is_null()
        self.table = both.select(
            *key,
            pl.coalesce("name", "name_then").alias("name"),
            pl.when("came").then("event").otherwise(self.since).alias("first"),
            pl.when(gone).then(pl.col("last_event") - 1).otherwise(len(ids) - 1).alias("last"),
            gone.alias("gone"),
        ).sort(
            pl.col("relation").is_not_null(), "relation", "head_id", "tail_id", maintain_order=True
        )

    def named(self, entity: str) -> str:
        """Return the entity_id that a person means."""
        entities = self.table.filter(pl.col("relation").is_null())
        if entities.filter(head_id=entity).height:
            return entity
        found = entities.filter(pl.col("name").str.to_lowercase() == entity.lower())
        ids: list[str] = found["head_id"].unique(maintain_order=True).to_list()
        if len(ids) != 1:
            near = entities.filter(
                pl.col("name").str.to_lowercase().str.contains(entity.lower(), literal=True)
            )
            ids = ids or near["head_id"].unique(maintain_order=True).to_list()
            told = "several had it" if found.height else "none had it"
            raise DataError(
                f"Expected an entity_id or a name that one entity has or had, got '{entity}': "
                f"{told} in the versions since {self.versions[self.since].at}; "
                + (f"give one of the ids {', '.join(ids[:5])}" if ids else "look at --gone")
            )
        return ids[0]

    def told(self, rows: pl.DataFrame) -> tuple[Lifetime, ...]:
        """Return rows of the table as records."""
        entities = self.table.filter(pl.col("relation").is_null())
        names = dict(entities.select("head_id", "name").iter_rows())
        found = []
        for row in rows.iter_rows(named=True):
            first, last = self.versions[row["first"]], self.versions[row["last"]]
            told = f"{names[row['head_id']]} ({row['head_id']})"
            if row["relation"] is not None:
                tail = names[row["tail_id"]]
                told = f"{names[row['head_id']]} -> {row['relation']} -> {tail}"
            found.append(
                Lifetime(
                    head_id=row["head_id"],
                    relation=row["relation"],
                    tail_id=row["tail_id"],
                    told=told,
                    first_seen=first.snapshot_id,
                    first_at=first.at,
                    last_seen=last.snapshot_id,
                    gone_at=self.versions[row["last"] + 1].at if row["gone"] else None,
                    or_earlier=row["first"] == self.since and self._had_earlier,
                )
            )
        return tuple(found)
