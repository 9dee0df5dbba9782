"""Interactions that come from a log beside the tables: the same rules, counted apart.

A log is history: nobody can mend a row of it. So a row whose item is unknown is dropped and counted
where the tables' rule would refuse it.
"""

from __future__ import annotations

import polars as pl

from graph_etl.audit import BuildAudit, TableAudit
from graph_etl.cells import ids
from graph_etl.errors import ConfigError, DataError

EXTRA = "events"  # name of their audit
LOGGED = "logged"  # column: whether a row came from the log

# columns that a frame of extra interactions has
COLUMNS = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "event": pl.String(),
    "value": pl.Float64(),  # null where the event has none
    "timestamp": pl.Int64(),  # Unix seconds
    "context": pl.List(pl.Struct({"name": pl.String(), "value": pl.String()})),
}


def with_extra(
    rows: pl.DataFrame, extra: pl.DataFrame, positive: pl.Expr, audit: TableAudit
) -> pl.DataFrame:
    """Return the tables' interactions, then those of a log, exact duplicates once.

    Args:
        rows: The tables', as ``read_interactions`` makes them, no duplicates among them.
        extra: The log's, columns as COLUMNS, in its order. A row that stands word for word in the
            tables, or earlier in the log, is dropped.
        positive: The data set's rule of what is liked, over event and value.
        audit: Counts rows in, and dropped ones by reason; rows kept is for the caller.

    Returns:
        The columns of ``rows`` and LOGGED.

    Raises:
        ConfigError: The data set's splits are given; events belong to none of them.
        DataError: A column is missing or has another type.
    """
    if "context.split" in rows.columns:
        raise ConfigError(
            "Expected a data set without 'interactions.splits' to add events of a log to, got one "
            "with; its splits are as published"
        )
    for name, dtype in COLUMNS.items():
        if extra.schema.get(name) != dtype:
            raise DataError(
                f"Expected a column '{name}' of type {dtype} in the extra interactions, got "
                f"{extra.schema.get(name)}"
            )
    audit.rows_in += extra.height
    named = [name for name in rows.columns if name.startswith("context.")]
    found = (
        extra.with_columns(
            ids(extra["user_id"]),
            ids(extra["item_id"]),
            pl.col("value").cast(pl.Float32),
            *(_circumstance(name.removeprefix("context.")).alias(name) for name in named),
        )
        .with_columns(positive)
        .select(rows.columns)
    )
    for column, reason in (("user_id", "empty user id"), ("item_id", "empty item id")):
        audit.drop(reason, found[column].null_count())
        found = found.filter(pl.col(column).is_not_null())
    both = pl.concat(
        [
            rows.with_columns(pl.lit(False).alias(LOGGED)),
            found.with_columns(pl.lit(True).alias(LOGGED)),
        ]
    )
    unique = both.unique(rows.columns, keep="first", maintain_order=True)
    audit.drop("exact duplicate", both.height - unique.height)
    return unique


def without_unknown(rows: pl.DataFrame, known: pl.Series, audit: BuildAudit) -> pl.DataFrame:
    """Return rows without those of the log whose item is not among ``known``, counted."""
    if LOGGED not in rows.columns:
        return rows
    unknown = pl.col(LOGGED) & ~pl.col("item_id").is_in(known.implode())
    audit.table(EXTRA).drop("unknown item", rows.filter(unknown).height)
    return rows.filter(~unknown)


def count_kept(rows: pl.DataFrame, audit: BuildAudit) -> None:
    """Write into the audits how many rows of the tables and of the log are kept."""
    logged = int(rows[LOGGED].sum()) if LOGGED in rows.columns else 0
    audit.table("interactions").rows_kept = rows.height - logged
    if LOGGED in rows.columns:
        audit.table(EXTRA).rows_kept = logged


def _circumstance(name: str) -> pl.Expr:
    pair = pl.element()
    wanted = pair.filter(pair.struct.field("name") == name).struct.field("value")
    return pl.col("context").list.eval(wanted).list.first()
