"""What differs between two graphs; applying it is the stores' part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from graph_etl.errors import DataError
from graph_etl.store.cypher_queries import PROVENANCE
from graph_etl.store.graph_rows import GraphRows, triple_key

_ENTITY_KEY = ["entity_id", "entity_type"]


@dataclass(frozen=True)
class TableChange:
    """New, changed and gone rows of one table, and how many stayed."""

    new: pl.DataFrame
    changed: pl.DataFrame
    gone: pl.DataFrame
    unchanged: int

    @property
    def size(self) -> int:
        """Number of rows to write or delete."""
        return self.new.height + self.changed.height + self.gone.height


@dataclass(frozen=True)
class ChangeSet:
    """What turns one graph into another.

    Attributes:
        old, new: The two graphs.
        entities, relation_types: Their rows.
        triples: New and changed ones by row number in ``new``, those gone by that in ``old``.
    """

    old: GraphRows
    new: GraphRows
    entities: TableChange
    relation_types: TableChange
    triples: TableChange

    @property
    def size(self) -> int:
        """Number of rows to write or delete."""
        return self.entities.size + self.relation_types.size + self.triples.size

    def named_triples(self) -> TableChange:
        """Return the triples by name, see ``GraphRows.named``."""
        return TableChange(
            new=self.new.named(self.triples.new),
            changed=self.new.named(self.triples.changed),
            gone=self.old.named(self.triples.gone),
            unchanged=self.triples.unchanged,
        )


def changes_between(old: GraphRows, new: GraphRows, *, delete_missing: bool) -> ChangeSet:
    """Return what has to be written so that a store with ``old`` holds ``new``.

    An entity whose type changed is gone under its old type and new under the other, and so are
    its triples.

    Raises:
        DataError: An entity changed its type while ``delete_missing`` is False, which would leave
            two nodes under one id.
    """
    if not delete_missing:
        _check_types_kept(old.entities, new.entities)
    entities = _change(old.entities, new.entities, _ENTITY_KEY, delete_missing)
    patterns = _change(old.relation_types, new.relation_types, ["key"], delete_missing)
    place = _places(old.entities, new.entities, _ENTITY_KEY)
    relation = _places(old.relation_types, new.relation_types, ["key"]).cast(pl.Int32)
    moved = old.triples.with_columns(
        head_idx=place.gather(old.triples["head_idx"]),
        relation_idx=relation.gather(old.triples["relation_idx"]),
        tail_idx=place.gather(old.triples["tail_idx"]),
    )
    key = triple_key(new.entities.height, new.relation_types.height).alias("key")
    before, after = moved.select(key, *PROVENANCE), new.triples.select(key, *PROVENANCE)
    shown = (old.triples, new.triples)
    triples = _change(before, after, ["key"], delete_missing, shown=shown)
    return ChangeSet(old, new, entities, patterns, triples)


def _places(old: pl.DataFrame, new: pl.DataFrame, key: list[str]) -> pl.Series:
    """Return for each old row the number of the new one with the same key, else null."""
    numbered = new.select(*key, pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
    return old.join(numbered, on=key, how="left", maintain_order="left")["place"]


def _change(
    old: pl.DataFrame,
    new: pl.DataFrame,
    key: list[str],
    delete_missing: bool,
    *,
    shown: tuple[pl.DataFrame, pl.DataFrame] | None = None,
) -> TableChange:
    """Compare two tables; ``shown`` has the rows of both in the form in which they are told."""
    old_shown, new_shown = shown or (old, new)
    if old.is_empty():
        return TableChange(new_shown, new_shown.clear(), old_shown, 0)
    values = [column for column in new.columns if column not in key]
    found = _beside(new, old, key)
    if found.height > new.height:  # doubles of another client: all of them go, one comes anew
        double = pl.struct(key).is_duplicated()
        old = old.with_columns(pl.when(~double).then(pl.col(key[0])).alias(key[0]))
        found = _beside(new, old, key)
    known = pl.col("row").is_not_null()
    differs = pl.any_horizontal(
        pl.col(column).ne_missing(pl.col(f"{column}_old")) for column in values
    )
    masks = found.select(new=~known, changed=known & differs)
    gone = np.full(old.height, delete_missing)
    gone[found["row"].drop_nulls().to_numpy()] = False
    new_rows, changed = new_shown.filter(masks["new"]), new_shown.filter(masks["changed"])
    return TableChange(
        new=new_rows,
        changed=changed,
        gone=old_shown.filter(pl.Series(gone)),
        unchanged=new.height - new_rows.height - changed.height,
    )


def _beside(new: pl.DataFrame, old: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    numbered = old.with_row_index("row")
    return new.join(numbered, on=key, how="left", suffix="_old", maintain_order="left")


def _check_types_kept(old: pl.DataFrame, new: pl.DataFrame) -> None:
    moved = new.join(old, on="entity_id", suffix="_old").filter(
        pl.col("entity_type") != pl.col("entity_type_old")
    )
    if moved.height:
        row = moved.row(0, named=True)
        raise DataError(
            f"Expected entity '{row['entity_id']}' to keep its type '{row['entity_type_old']}', "
            f"got '{row['entity_type']}' ({moved.height} such entities); write the whole graph "
            "with delete_missing=True"
        )
