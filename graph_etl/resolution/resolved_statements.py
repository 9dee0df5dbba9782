"""Statements with resolved entities: names in, decisions and older merges honoured, ids out.

Collects the attribute entities that statements spell, lets entity_merges.py say which are one, and
puts the kept ids into statements and names. An id that was kept in the published graph stays the
kept one, also where its own spelling is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from graph_etl.audit import BuildAudit
from graph_etl.entities import ID_SEPARATOR
from graph_etl.resolution.entity_config import ResolutionConfig
from graph_etl.resolution.entity_merges import (
    Entity,
    Merge,
    Merges,
    NameVectors,
    merge_entities,
)
from graph_etl.resolution.merge_decisions import (
    Decisions,
    ReviewRow,
    decisions_of,
    read_review,
    shown,
    with_open_pairs,
    write_review,
)
from graph_etl.resolution.merge_files import (
    MERGES,
    read_merges,
    read_rows,
    review_file,
    write_merges,
)
from graph_etl.resolution.shared_items import SharedItems

if TYPE_CHECKING:
    from graph_etl.snapshot import Snapshot


_TOLD = ["head_id", "relation", "tail_id", "tail_type", "tail_name"]


class EntityResolution:
    """Resolution of one build: reads what is known, resolves statements, writes what it found."""

    def __init__(
        self,
        config: ResolutionConfig,
        folder: Path,
        published: Snapshot | None,
        vectors: NameVectors | None = None,
    ) -> None:
        """Read decisions and the merges of the published graph.

        Args:
            config: The settings.
            folder: The build folder.
            published: The published graph, whose ids are kept.
            vectors: Vectors of names, as evidence; see ``merge_entities``.

        Raises:
            ConfigError: A file of decisions is damaged, or decisions contradict each other.
            SnapshotError: The file of merges is damaged.
        """
        self._config, self._folder, self._vectors = config, folder, vectors
        self._known: set[str] = set()
        self._before = pl.DataFrame(schema=MERGES)
        self._decisions = Decisions()
        self.merges = pl.DataFrame(schema=MERGES)
        self.open_rows: list[ReviewRow] = []
        if config.level == "spelling":
            return
        given = [] if config.reviewed is None else read_review(config.reviewed)
        self._decisions = decisions_of([*given, *read_rows(folder)])
        if published is not None:
            self._known = set(published.entities["entity_id"])
            self._before = read_merges(folder, published.snapshot_id)

    def resolve(
        self,
        statements: Sequence[pl.DataFrame],
        item_type: str,
        audit: BuildAudit,
        names: Sequence[pl.DataFrame] = (),
    ) -> list[pl.DataFrame]:
        """Return the statements with kept ids in place of merged ones; ``merged`` does the rest.

        Args:
            statements: Frames with the columns of attributes.STATEMENT, and perhaps others, of
                sources that know entities by their names.
            item_type: Type of the items' entities, which are never merged.
            audit: Gets a table "merges": entities before and after, by stage.
            names: Frames entity_id, entity_type, name: spellings that no statement has as its
                tail. They are read alone; ``merged`` puts the kept ids in.
        """
        if self._config.level == "spelling" or not statements:
            return list(statements)
        told = pl.concat([frame.select(_TOLD) for frame in statements])
        tails = told.select(entity_id="tail_id", entity_type="tail_type", name="tail_name")
        spelled = _spelled(pl.concat([tails, *names]), item_type, self._config.types)
        shared = None
        if self._config.shared_items:
            shared = SharedItems(told, self._config.shared_items)
        counts = audit.table("merges")
        frames = []
        for (entity_type,), own in sorted(
            spelled.partition_by("entity_type", as_dict=True).items()
        ):
            entities = self._entities(own, entity_type)
            found = self._merged(entities, entity_type, shared)
            live = set(own["entity_id"])
            merges = [merge for merge in found.merges if merge.merged_id in live]
            counts.rows_in += len(live)
            counts.rows_kept += len(live) - len(merges)
            for merge in merges:
                counts.drop(f"merged, {merge.stage}", 1)
            for what, number in {**found.counts, "open pairs": len(found.open_pairs)}.items():
                counts.note(what, number)
            named = _names(own, entities)
            frames.append(_frame(entity_type, merges, own, named))
            self.open_rows += _rows(entity_type, found, named)
        self.merges = pl.concat([self.merges, *frames])
        self._take_over_runs()
        absent = {one for pair in self._decisions.same | self._decisions.different for one in pair}
        counts.note("ids of decisions that are not here", len(absent - set(spelled["entity_id"])))
        return [self.merged(frame, "head_id", "tail_id") for frame in statements]

    def merged(self, frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        """Return a frame with kept ids in place of merged ones in these columns."""
        if self.merges.is_empty():
            return frame
        kept = dict(self.merges.select("merged_id", "kept_id").iter_rows())
        return frame.with_columns(pl.col(columns).replace(kept))

    def without_loops(self, frame: pl.DataFrame, audit: BuildAudit) -> pl.DataFrame:
        """Return statements without those whose two ends became one, and count these."""
        if self.merges.is_empty():
            return frame
        kept = self.merges["kept_id"].implode()
        loop = (pl.col("head_id") == pl.col("tail_id")) & pl.col("head_id").is_in(kept)
        straight = frame.filter(~loop)
        counts = audit.table("triples")
        counts.rows_in += frame.height - straight.height
        counts.drop("ends merged into one", frame.height - straight.height)
        return straight

    def write(self, snapshot_id: str) -> None:
        """Write the merges of a snapshot and the open pairs; nothing where nothing changed."""
        if self._config.level == "spelling":
            return
        write_merges(self._folder, snapshot_id, self.merges)
        known = self._decisions.same | self._decisions.different
        found = [row for row in self.open_rows if row.pair not in known]
        rows = with_open_pairs(read_rows(self._folder), found)
        if rows or review_file(self._folder).is_file():
            write_review(review_file(self._folder), rows)

    def _entities(self, own: pl.DataFrame, entity_type: str) -> list[Entity]:
        """Return the entities of one type: those spelled here, and kept ids they hang on."""
        before = self._before.filter(pl.col("entity_type") == entity_type)
        kept_as = {one: one for one in before["kept_id"]}
        kept_as |= dict(before.select("merged_id", "kept_id").iter_rows())
        grouped = own.group_by("entity_id").agg(pl.col("name").sort(), pl.col("times").sum())
        entities = [
            Entity(one, tuple(names), times, self._rank(one, kept_as), kept_as.get(one, ""))
            for one, names, times in grouped.iter_rows()
        ]
        live = {entity.entity_id for entity in entities}
        gone = sorted({kept for one, kept in kept_as.items() if one in live} - live)
        prefix = entity_type + ID_SEPARATOR
        return [*entities, *(Entity(one, (one.removeprefix(prefix),), 0, 0, one) for one in gone)]

    def _rank(self, one: str, kept_as: Mapping[str, str]) -> int:
        return 0 if kept_as.get(one) == one else 1 if one in self._known else 2

    def _merged(
        self, entities: list[Entity], entity_type: str, shared: SharedItems | None
    ) -> Merges:
        here = {entity.entity_id for entity in entities}
        return merge_entities(
            entities,
            entity_type,
            self._config,
            same=[pair for pair in self._decisions.same if here.issuperset(pair)],
            different=[pair for pair in self._decisions.different if here.issuperset(pair)],
            shared=shared,
            vectors=self._vectors,
        )

    def _take_over_runs(self) -> None:
        """Give each merge the run that first led to it."""
        settings = self._config.model_dump_json(exclude={"reviewed"})
        decided = [sorted(self._decisions.same), sorted(self._decisions.different)]
        digest = hashlib.sha256(f"{settings}{decided}".encode()).hexdigest()
        run_id = f"resolution-{digest[:12]}"
        pair = ["merged_id", "kept_id"]
        first = self._before.select(*pair, pl.col("run_id").alias("first"))
        self.merges = (
            self.merges.join(first, on=pair, how="left", maintain_order="left")
            .with_columns(pl.coalesce("first", pl.lit(run_id)).alias("run_id"))
            .select(*MERGES)
            .sort("entity_type", "kept_id", "merged_id")
        )


def _spelled(names: pl.DataFrame, item_type: str, types: list[str] | None) -> pl.DataFrame:
    """Return entity_type, entity_id, name and how often it stands, of the types resolved."""
    wanted = (pl.col("entity_type") != item_type) & pl.col("name").is_not_null()
    if types is not None:
        wanted &= pl.col("entity_type").is_in(types)
    return (
        names.filter(wanted)
        .group_by("entity_type", "entity_id", "name")
        .agg(pl.len().alias("times"))
        .sort("entity_type", "entity_id", "times", "name", descending=[False, False, True, False])
    )


def _names(own: pl.DataFrame, entities: Sequence[Entity]) -> dict[str, str]:
    """Return the most frequent spelling of each id."""
    first = own.unique("entity_id", keep="first", maintain_order=True)
    named = dict(first.select("entity_id", "name").iter_rows())
    return {entity.entity_id: entity.names[0] for entity in entities} | named


def _frame(
    entity_type: str, merges: Sequence[Merge], own: pl.DataFrame, names: dict[str, str]
) -> pl.DataFrame:
    """Return merges with names; a kept name is the most frequent spelling of all that became it."""
    kept = {merge.merged_id: merge.kept_id for merge in merges}
    first = (
        own.with_columns(pl.col("entity_id").replace(kept))
        .group_by("entity_id", "name")
        .agg(pl.col("times").sum())
        .sort("entity_id", "times", "name", descending=[False, True, False])
        .unique("entity_id", keep="first", maintain_order=True)
    )
    kept_names = dict(first.select("entity_id", "name").iter_rows())
    rows = [
        (entity_type, merge.merged_id, names[merge.merged_id], merge.kept_id,
         kept_names[merge.kept_id], merge.stage, merge.score, merge.evidence, "")
        for merge in merges
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=MERGES, orient="row")


def _rows(entity_type: str, found: Merges, names: dict[str, str]) -> list[ReviewRow]:
    return [
        ReviewRow(entity_type, pair.id_a, shown(names[pair.id_a]), pair.id_b,
                  shown(names[pair.id_b]), f"{pair.score:.3f}", pair.evidence, "", "")
        for pair in found.open_pairs
    ]  # fmt: skip
