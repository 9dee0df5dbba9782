"""Attribute columns as typed statements with provenance; giving indexes is for entities.py.

A statement is a triple by ids with the spelling of its tail: what a table says, row by row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from graph_etl.audit import TableAudit
from graph_etl.cells import is_missing, values
from graph_etl.dataset_config import AttributeConfig, FactsConfig, ItemsConfig, UsersConfig
from graph_etl.entities import entity_key
from graph_etl.table_config import FrozenModel
from graph_etl.tables import SourceTable

STATEMENT: Mapping[str, pl.DataType] = {
    "head_id": pl.String(),
    "head_type": pl.String(),
    "relation": pl.String(),
    "tail_id": pl.String(),
    "tail_type": pl.String(),
    "tail_name": pl.String(),  # as spelled here
    "source": pl.String(),
    "doc_id": pl.String(),
    "engine": pl.String(),
    "confidence": pl.Float32(),
    "run_id": pl.String(),
}


@dataclass(frozen=True)
class Subjects:
    """Which items the rows of a table speak of.

    Attributes:
        rows: Columns row (row number in the table), item_id, doc_id, confidence (Float32); rows
            of the table that are not here say nothing, a row may be here more than once.
        item_type: Entity type of items.
        items: Item ids that exist, for ``references: items``.
    """

    rows: pl.DataFrame
    item_type: str
    items: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.String))


def statements_of(
    source: SourceTable,
    attribute: AttributeConfig,
    subjects: Subjects,
    missing: Sequence[str],
    run_id: str,
    audit: TableAudit,
) -> pl.DataFrame:
    """Return the statements of one attribute, in the order of the table.

    Args:
        source: The table.
        attribute: Its columns, relation and target.
        subjects: The items that the rows speak of.
        missing: Cells that mean "nothing".
        run_id: Stands in every statement.
        audit: Counts values found, kept, and dropped as empty, missing or unknown item.

    Returns:
        Columns as STATEMENT says.
    """
    source.require(attribute.column)
    parts = []
    for column in attribute.column:
        cells = values(
            source,
            column,
            separator=attribute.separator,
            field=attribute.field,
            strip=attribute.strip,
        )
        named = cells.with_columns(pl.lit(f"{source.label}:{column}").alias("source"))
        parts.append(subjects.rows.join(named, on="row", how="inner", maintain_order="left_right"))
    found = pl.concat(parts)
    audit.rows_in += found.height
    found = _drop(found, pl.col("value") == "", "empty", audit)
    found = _drop(found, is_missing("value", missing), "missing-value word", audit)
    for pattern in attribute.drop:
        found = _drop(found, pl.col("value").str.contains(pattern), f"matches {pattern}", audit)
    if attribute.references is not None:
        unknown = ~pl.col("value").is_in(subjects.items.implode())
        found = _drop(found, unknown, "unknown item", audit)
        found = _drop(found, pl.col("value") == pl.col("item_id"), "item names itself", audit)
    named = found.select(_statement(attribute, subjects.item_type, run_id))
    return named.select(pl.col(name).cast(dtype) for name, dtype in STATEMENT.items())


def _drop(found: pl.DataFrame, unwanted: pl.Expr, reason: str, audit: TableAudit) -> pl.DataFrame:
    kept = found.filter(~unwanted)
    audit.drop(reason, found.height - kept.height)
    return kept


def _statement(attribute: AttributeConfig, item_type: str, run_id: str) -> list[pl.Expr]:
    value = pl.col("value")
    if attribute.entity_type is None:
        tail_id, tail_type = pl.format(f"{item_type}:{{}}", value), item_type
    else:
        tail_id, tail_type = entity_key(attribute.entity_type, value), attribute.entity_type
    return [
        pl.format(f"{item_type}:{{}}", pl.col("item_id")).alias("head_id"),
        pl.lit(item_type).alias("head_type"),
        pl.lit(attribute.relation).alias("relation"),
        tail_id.alias("tail_id"),
        pl.lit(tail_type).alias("tail_type"),
        value.alias("tail_name"),
        pl.col("source"),
        pl.col("doc_id"),
        pl.lit("table").alias("engine"),
        pl.col("confidence"),
        pl.lit(run_id).alias("run_id"),
    ]


def run_id_of(checksums: Sequence[str], config: FrozenModel) -> str:
    """Return an id that tells the same run again: the checksums read and the settings.

    It holds no time, so that the same input gives the same triples, byte for byte. Vectors of items
    are no part of it: no triple comes of them.
    """
    settings = config.model_dump_json(exclude={"vectors"})
    digest = hashlib.sha256("\n".join([*checksums, settings]).encode())
    return f"table-{digest.hexdigest()[:12]}"


def undeclared_attributes(
    source: SourceTable, config: ItemsConfig | UsersConfig, used: Sequence[str]
) -> tuple[list[AttributeConfig], list[str]]:
    """Return attributes and numeric columns for the typed columns that nothing names.

    Args:
        source: A table whose header gives types; others have none.
        config: The section, whose ``undeclared`` must say by_type.
        used: Columns that already have a role.
    """
    if config.undeclared == "ignore":
        return [], []
    free = {name: kind for name, kind in source.kinds.items() if name not in used}
    numeric = [name for name, kind in free.items() if kind == "float"]
    attributes = [
        AttributeConfig(
            column=[name], relation=f"has_{name}", entity_type=name, phrase=f"has {name}"
        )
        for name, kind in free.items()
        if kind in ("token", "token_seq")
    ]
    return attributes, numeric


def fact_columns(config: FactsConfig) -> list[str]:
    """Return the columns of a facts table that are needed; all others stay unread."""
    roles = [config.id, config.item, config.title, config.year]
    declared = [column for attribute in config.attributes for column in attribute.column]
    return list(dict.fromkeys([*(role for role in roles if role), *declared]))
