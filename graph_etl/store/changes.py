"""Snapshot frames as rows keyed by deterministic ids, and what differs between two such sets.

Checks what goes into a store; reading the old rows and applying the changes is the stores' part.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from graph_etl.errors import DataError, SchemaViolationError
from graph_etl.snapshot import TABLES
from graph_etl.store.cypher_queries import PROVENANCE, quoted
from graph_etl.store.records import GraphTables

ENTITY_ROWS = {"entity_id": pl.String(), "entity_type": pl.String(), "name": pl.String()}
RELATION_TYPE_ROWS = {
    "key": pl.String(),
    "position": pl.Int64(),
    "relation": pl.String(),
    "head_type": pl.String(),
    "tail_type": pl.String(),
    "phrase": pl.String(),
}
TRIPLE_ROWS = {
    "head_id": pl.String(),
    "head_type": pl.String(),
    "relation": pl.String(),
    "tail_id": pl.String(),
    "tail_type": pl.String(),
    **{name: TABLES["triples"][name] for name in PROVENANCE},
}
_PATTERN = ["head_type", "relation", "tail_type"]
_ENTITY_KEY = ["entity_id", "entity_type"]
_TRIPLE_KEY = ["head_id", "head_type", "relation", "tail_id", "tail_type"]


@dataclass(frozen=True)
class GraphRows:
    """A graph without indexes: columns as ENTITY_ROWS, RELATION_TYPE_ROWS, TRIPLE_ROWS.

    Attributes:
        entities: One row for each entity_id.
        relation_types: One row for each pattern, in declared order.
        triples: One row for each (head, relation, tail).
        duplicates: Triples that were left out because the same one stands already.
    """

    entities: pl.DataFrame
    relation_types: pl.DataFrame
    triples: pl.DataFrame
    duplicates: int = 0


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
    """What turns one graph into another."""

    entities: TableChange
    relation_types: TableChange
    triples: TableChange


def rows_of(
    entities: pl.DataFrame,
    relation_types: pl.DataFrame,
    triples: pl.DataFrame,
    entity_types: Collection[str] | None = None,
) -> GraphRows:
    """Return checked rows of a snapshot's frames.

    Args:
        entities: Columns as ``graph_etl.snapshot.TABLES`` says.
        relation_types: The declared patterns, likewise.
        triples: Triples by index into the other two, likewise.
        entity_types: The declared entity types; None: those that occur.

    Raises:
        DataError, SchemaViolationError: As ``GraphStore.write`` says.
    """
    _check_entities(entities, entity_types)
    patterns = _checked_relation_types(relation_types)
    for column, size in (
        ("head_idx", entities.height),
        ("relation_idx", relation_types.height),
        ("tail_idx", entities.height),
    ):
        _check_index(triples, column, size)
    _check_no_nul(triples, [name for name in PROVENANCE if name != "confidence"], "triples")
    rows = _joined(entities, relation_types, triples)
    _check_patterns(rows, patterns)
    kept = _best_of_each(rows)
    return GraphRows(
        entities=entities.select(*ENTITY_ROWS),
        relation_types=patterns,
        triples=kept,
        duplicates=rows.height - kept.height,
    )


def tables_of(rows: GraphRows) -> GraphTables:
    """Return rows as frames with dense indexes, in the canonical order of GraphStore.export."""
    entities = rows.entities.sort("entity_id").with_row_index("entity_idx")
    patterns = rows.relation_types.sort("position", "key").with_row_index("relation_idx")
    relation_idx = patterns.select("relation_idx", *_PATTERN)
    index = entities.select("entity_id", "entity_idx")
    triples = (
        rows.triples.join(relation_idx, on=_PATTERN, how="left")
        .join(index.rename({"entity_id": "head_id", "entity_idx": "head_idx"}), on="head_id")
        .join(index.rename({"entity_id": "tail_id", "entity_idx": "tail_idx"}), on="tail_id")
        .sort("head_idx", "relation_idx", "tail_idx")
    )
    frames = {"entities": entities, "relation_types": patterns, "triples": triples}
    typed = {
        name: frame.select(pl.col(column).cast(dtype) for column, dtype in TABLES[name].items())
        for name, frame in frames.items()
    }
    return GraphTables(**typed)


def canonical_tables(
    entities: pl.DataFrame, relation_types: pl.DataFrame, triples: pl.DataFrame
) -> GraphTables:
    """Return a snapshot's frames in the order of GraphStore.export, for comparison with it."""
    return tables_of(rows_of(entities, relation_types, triples))


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
    return ChangeSet(
        entities=_change(old.entities, new.entities, _ENTITY_KEY, delete_missing),
        relation_types=_change(old.relation_types, new.relation_types, ["key"], delete_missing),
        triples=_change(old.triples, new.triples, _TRIPLE_KEY, delete_missing),
    )


def _change(
    old: pl.DataFrame, new: pl.DataFrame, key: list[str], delete_missing: bool
) -> TableChange:
    values = [column for column in new.columns if column not in key]
    both = new.join(old, on=key, how="inner", suffix="_old", maintain_order="left")
    differs = pl.any_horizontal(
        pl.col(column).ne_missing(pl.col(f"{column}_old")) for column in values
    )
    changed = both.filter(differs).select(new.columns)
    gone = old.join(new, on=key, how="anti", maintain_order="left")
    return TableChange(
        new=new.join(old, on=key, how="anti", maintain_order="left"),
        changed=changed,
        gone=gone if delete_missing else gone.clear(),
        unchanged=both.height - changed.height,
    )


def _joined(
    entities: pl.DataFrame, relation_types: pl.DataFrame, triples: pl.DataFrame
) -> pl.DataFrame:
    head, tail = triples["head_idx"], triples["tail_idx"]
    relation = triples["relation_idx"]
    return pl.DataFrame(
        {
            "head_id": entities["entity_id"].gather(head),
            "head_type": entities["entity_type"].gather(head),
            "relation": relation_types["relation"].gather(relation),
            "tail_id": entities["entity_id"].gather(tail),
            "tail_type": entities["entity_type"].gather(tail),
            **{name: triples[name] for name in PROVENANCE},
            "declared_head": relation_types["head_type"].gather(relation),
            "declared_tail": relation_types["tail_type"].gather(relation),
        },
        schema={**TRIPLE_ROWS, "declared_head": pl.String(), "declared_tail": pl.String()},
    )


def _best_of_each(rows: pl.DataFrame) -> pl.DataFrame:
    best = rows.with_row_index("row").sort(
        pl.col("confidence"), "row", descending=[True, False], nulls_last=True
    )
    return best.unique(_TRIPLE_KEY, keep="first").sort("row").select(*TRIPLE_ROWS)


def _check_entities(entities: pl.DataFrame, entity_types: Collection[str] | None) -> None:
    _check_no_nul(entities, ["entity_id", "entity_type", "name"], "entities")
    for column in ("entity_id", "entity_type", "name"):
        _check_rows(
            entities,
            pl.col(column).is_null() if column == "name" else pl.col(column).fill_null("") == "",
            f"a text in column '{column}' of entities",
        )
    _check_rows(entities, pl.col("entity_id").is_duplicated(), "each entity_id once in entities")
    occurring = entities["entity_type"].unique().to_list()
    for name in sorted(occurring):
        quoted(name)
        if entity_types is not None and name not in entity_types:
            raise SchemaViolationError(
                f"Expected entity types declared in the graph schema, got '{name}' in entities; "
                f"declared are {sorted(entity_types)}; add it to entity_types or correct the row"
            )


def _checked_relation_types(relation_types: pl.DataFrame) -> pl.DataFrame:
    columns = ["relation", "head_type", "tail_type", "phrase"]
    _check_no_nul(relation_types, columns, "relation_types")
    for column in columns:
        _check_rows(
            relation_types,
            pl.col(column).is_null(),
            f"a text in column '{column}' of relation_types",
        )
    for pattern in relation_types.select(_PATTERN).iter_rows():
        for name in pattern:
            quoted(name)
    _check_rows(
        relation_types,
        pl.struct(_PATTERN).is_duplicated(),
        "each (head, relation, tail) pattern once in relation_types",
    )
    return relation_types.select(
        pl.concat_str(_PATTERN, separator="|").alias("key"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("position"),
        *columns,
    )


def _check_patterns(rows: pl.DataFrame, patterns: pl.DataFrame) -> None:
    strange = rows.with_row_index("row").filter(
        (pl.col("head_type") != pl.col("declared_head"))
        | (pl.col("tail_type") != pl.col("declared_tail"))
    )
    if strange.height:
        row = strange.row(0, named=True)
        allowed = patterns.filter(relation=row["relation"]).select(_PATTERN).rows()
        raise SchemaViolationError(
            f"Expected '{row['relation']}' to join one of {allowed}, got "
            f"({row['head_type']}, {row['relation']}, {row['tail_type']}) in row {row['row']} of "
            f"triples ({row['head_id']} -> {row['tail_id']}), {strange.height} such triples; "
            "declare the pattern in the graph schema or correct the rows"
        )


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


def _check_no_nul(frame: pl.DataFrame, columns: list[str], table: str) -> None:
    for column in columns:
        _check_rows(
            frame,
            pl.col(column).str.contains("\0", literal=True).fill_null(value=False),
            f"text without NUL characters in column '{column}' of {table}",
        )


def _check_index(frame: pl.DataFrame, column: str, size: int) -> None:
    value = pl.col(column)
    _check_rows(
        frame,
        value.is_null() | (value < 0) | (value >= size),
        f"column '{column}' of triples in 0..{size - 1}",
    )


def _check_rows(frame: pl.DataFrame, bad: pl.Expr, expected: str) -> None:
    wrong = frame.with_row_index("row").filter(bad)
    if wrong.height:
        row = wrong.row(0, named=True)
        number = row.pop("row")
        shown = {name: str(value)[:60] for name, value in row.items()}
        raise DataError(
            f"Expected {expected}, got row {number}: {shown} ({wrong.height} such rows); "
            "correct or drop the rows in the source"
        )
