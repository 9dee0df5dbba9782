"""What differs between two versions of a graph: added, removed, changed, by type, with samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from graph_etl.snapshot import Snapshot
from graph_etl.store.changes import TableChange, changes_between
from graph_etl.store.graph_rows import PATTERN, rows_of


@dataclass(frozen=True)
class TypeDiff:
    """What differs in one entity type or relation.

    Attributes:
        name: The type, or the pattern "head relation tail".
        added, removed, changed, unchanged: Numbers of entities or triples.
        samples: "added", "removed", "changed" -> a few of them, in words.
    """

    name: str
    added: int
    removed: int
    changed: int
    unchanged: int
    samples: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Diff:
    """What turns one version into another.

    Attributes:
        old, new: Snapshot ids.
        entities: One for each entity type of either.
        triples: One for each pattern of either.
        tables: "items", "users", "interactions" -> (rows before, rows after).
    """

    old: str
    new: str
    entities: tuple[TypeDiff, ...]
    triples: tuple[TypeDiff, ...]
    tables: dict[str, tuple[int, int]]


def diff(old: Snapshot, new: Snapshot, samples: int = 3) -> Diff:
    """Return what was added, removed and changed, by type, with a few samples of each."""
    before, after = (rows_of(s.entities, s.relation_types, s.triples) for s in (old, new))
    changes = changes_between(before, after, delete_missing=True)
    names = dict(
        pl.concat([before.entities, after.entities]).select("entity_id", "name").iter_rows()
    )
    old_names = dict(before.entities.select("entity_id", "name").iter_rows())

    def entity_in_words(row: dict[str, Any]) -> str:
        entity_id, name = row["entity_id"], row["name"]
        was = old_names.get(entity_id, name)
        return f"{name} ({entity_id})" if was == name else f"{was} => {name} ({entity_id})"

    entities = _type_diffs(
        changes.entities, before.entities, ["entity_type"], samples, entity_in_words
    )
    triples = _type_diffs(
        changes.named_triples(), before.named(before.triples), PATTERN, samples,
        lambda row: f"{names[row['head_id']]} -> {names[row['tail_id']]}",
    )  # fmt: skip
    tables = {
        name: (getattr(old, name).height, getattr(new, name).height)
        for name in ("items", "users", "interactions")
    }
    return Diff(old.snapshot_id, new.snapshot_id, entities, triples, tables)


def _type_diffs(
    change: TableChange,
    before: pl.DataFrame,
    key: list[str],
    samples: int,
    in_words: Callable[[dict[str, Any]], str],
) -> tuple[TypeDiff, ...]:
    parts = {"added": change.new, "removed": change.gone, "changed": change.changed}
    kinds = sorted({*before.select(key).unique().rows(), *change.new.select(key).unique().rows()})
    found = []
    for kind in kinds:
        fits = pl.all_horizontal(
            pl.col(name) == value for name, value in zip(key, kind, strict=True)
        )
        own = {name: frame.filter(fits) for name, frame in parts.items()}
        count = {name: frame.height for name, frame in own.items()}
        found.append(
            TypeDiff(
                name=" ".join(kind),
                **count,
                unchanged=before.filter(fits).height - count["removed"] - count["changed"],
                samples={
                    name: tuple(in_words(row) for row in frame.head(samples).iter_rows(named=True))
                    for name, frame in own.items()
                    if frame.height
                },
            )
        )
    return tuple(found)
