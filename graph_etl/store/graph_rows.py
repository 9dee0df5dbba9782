"""A graph checked and without doubles, as every store compares, writes and reads it.

Checks what goes into a store; what differs between two graphs is the part of changes.py.
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
TRIPLE_ROWS = dict(TABLES["triples"])
TRIPLE_KEY = ["head_idx", "relation_idx", "tail_idx"]
MAX_KEY = 2**63 - 1
PATTERN = ["head_type", "relation", "tail_type"]


@dataclass(frozen=True)
class GraphRows:
    """A graph: columns as ENTITY_ROWS, RELATION_TYPE_ROWS, TRIPLE_ROWS.

    Attributes:
        entities: One row for each entity_id.
        relation_types: One row for each pattern, in declared order.
        triples: One row for each (head, relation, tail), by row number in the other two.
        duplicates: Triples that were left out because the same one stands already.
    """

    entities: pl.DataFrame
    relation_types: pl.DataFrame
    triples: pl.DataFrame
    duplicates: int = 0

    def named(self, triples: pl.DataFrame) -> pl.DataFrame:
        """Return triples by name: head_id, head_type, relation, tail_id, tail_type, PROVENANCE.

        Args:
            triples: Some of this graph's, columns TRIPLE_ROWS.
        """
        ends = {
            f"{end}_{what}": self.entities[f"entity_{what}"].gather(triples[f"{end}_idx"])
            for end in ("head", "tail")
            for what in ("id", "type")
        }
        relation = self.relation_types["relation"].gather(triples["relation_idx"])
        return pl.DataFrame(
            {**ends, "relation": relation, **{name: triples[name] for name in PROVENANCE}}
        )


def no_rows() -> GraphRows:
    """Return the graph of an empty store."""
    return GraphRows(
        pl.DataFrame(schema=ENTITY_ROWS),
        pl.DataFrame(schema=RELATION_TYPE_ROWS),
        pl.DataFrame(schema=TRIPLE_ROWS),
    )


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
    _check_relation_types(relation_types)
    for column, size in (
        ("head_idx", entities.height),
        ("relation_idx", relation_types.height),
        ("tail_idx", entities.height),
    ):
        _check_index(triples, column, size)
    _check_no_nul(triples, [name for name in PROVENANCE if name != "confidence"], "triples")
    rows = checked_rows(entities, relation_types, triples)
    _check_patterns(rows, triples)
    return rows


def checked_rows(
    entities: pl.DataFrame, relation_types: pl.DataFrame, triples: pl.DataFrame
) -> GraphRows:
    """Return the rows of frames that passed the checks of ``rows_of`` before."""
    patterns = relation_types.select(
        pl.concat_str(PATTERN, separator="|").alias("key"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("position"),
        *list(RELATION_TYPE_ROWS)[2:],
    )
    typed = triples.select(pl.col(n).cast(t) for n, t in TRIPLE_ROWS.items())
    kept = _best_of_each(typed, triple_key(entities.height, relation_types.height))
    duplicates = triples.height - kept.height
    return GraphRows(entities.select(*ENTITY_ROWS), patterns, kept, duplicates)


def triple_key(num_entities: int, num_relations: int) -> pl.Expr:
    """Return what tells triples apart: one number, which is compared and joined the fastest.

    Where there are too many of them for a number, it is a struct.

    Args:
        num_entities: Above all row numbers of entities.
        num_relations: Above all row numbers of relation types.
    """
    if num_entities**2 * num_relations > MAX_KEY:
        return pl.struct(TRIPLE_KEY)
    pattern = pl.col("head_idx") * num_relations + pl.col("relation_idx")
    return pattern * num_entities + pl.col("tail_idx")


def tables_of(rows: GraphRows) -> GraphTables:
    """Return rows as frames with dense indexes, in the canonical order of GraphStore.export."""
    entities = rows.entities.with_row_index("old").sort("entity_id")
    patterns = rows.relation_types.with_row_index("old").sort("position", "key")
    triples = rows.triples.with_columns(
        head_idx=_places(entities["old"]).gather(rows.triples["head_idx"]),
        relation_idx=_places(patterns["old"]).gather(rows.triples["relation_idx"]),
        tail_idx=_places(entities["old"]).gather(rows.triples["tail_idx"]),
    ).sort(TRIPLE_KEY)
    frames = {
        "entities": entities.with_row_index("entity_idx"),
        "relation_types": patterns.with_row_index("relation_idx"),
        "triples": triples,
    }
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


def _places(order: pl.Series) -> pl.Series:
    """Return where each row number stands in a permutation of them."""
    return order.arg_sort()


def _best_of_each(triples: pl.DataFrame, key: pl.Expr) -> pl.DataFrame:
    if triples.select(key.n_unique()).item() == triples.height:
        return triples
    best = triples.with_row_index("row").sort(
        pl.col("confidence"), "row", descending=[True, False], nulls_last=True
    )
    return best.unique(TRIPLE_KEY, keep="first").sort("row").select(*TRIPLE_ROWS)


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


def _check_relation_types(relation_types: pl.DataFrame) -> None:
    columns = ["relation", "head_type", "tail_type", "phrase"]
    _check_no_nul(relation_types, columns, "relation_types")
    for column in columns:
        _check_rows(
            relation_types,
            pl.col(column).is_null(),
            f"a text in column '{column}' of relation_types",
        )
    for pattern in relation_types.select(PATTERN).iter_rows():
        for name in pattern:
            quoted(name)
    _check_rows(
        relation_types,
        pl.struct(PATTERN).is_duplicated(),
        "each (head, relation, tail) pattern once in relation_types",
    )


def _check_patterns(rows: GraphRows, triples: pl.DataFrame) -> None:
    """Check each triple's types against its pattern, by numbers of types instead of names."""
    types = [rows.entities["entity_type"], *(rows.relation_types[f"{e}_type"] for e in _ENDS)]
    names = pl.Enum(pl.concat(types).unique().sort())
    actual, *declared = (one.cast(names).to_physical() for one in types)
    strange = pl.zeros(triples.height, pl.Boolean, eager=True)
    for end, of_pattern in zip(_ENDS, declared, strict=True):
        expected = of_pattern.gather(triples["relation_idx"])
        strange |= actual.gather(triples[f"{end}_idx"]) != expected
    if strange.any():
        number = strange.arg_max() or 0
        row = rows.named(triples[number]).row(0, named=True)
        allowed = rows.relation_types.filter(relation=row["relation"]).select(PATTERN).rows()
        raise SchemaViolationError(
            f"Expected '{row['relation']}' to join one of {allowed}, got "
            f"({row['head_type']}, {row['relation']}, {row['tail_type']}) in row {number} of "
            f"triples ({row['head_id']} -> {row['tail_id']}), {strange.sum()} such triples; "
            "declare the pattern in the graph schema or correct the rows"
        )


_ENDS = ("head", "tail")


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
