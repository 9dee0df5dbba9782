"""Who did what with which item, as a clean table by external ids, every dropped row counted.

Which rules apply to bad rows is said in the config; indexes are given by pipeline.py.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from graph_etl.audit import TableAudit
from graph_etl.cells import ids, numbers, seconds
from graph_etl.dataset_config import EventsConfig, TimestampConfig
from graph_etl.earlier_items import BEFORE, one_row_for_each_event
from graph_etl.errors import DataError
from graph_etl.extra_interactions import with_extra
from graph_etl.table_config import TableConfig
from graph_etl.tables import SourceTable, TableReader


def read_interactions(
    config: EventsConfig,
    reader: TableReader,
    audit: TableAudit,
    extra: pl.DataFrame | None = None,
    extra_audit: TableAudit | None = None,
) -> pl.DataFrame:
    """Return the interactions in the order of their tables, exact duplicates once.

    Args:
        config: Tables, columns and rules.
        reader: Where tables come from.
        audit: Counts rows in, and dropped ones by reason; rows kept is for the caller.
        extra: Interactions of a log, columns as ``extra_interactions.COLUMNS``; they come last.
        extra_audit: The same counts for these.

    Returns:
        Columns user_id, item_id, event, value (Float32), timestamp (Int64, Unix seconds),
        positive, context.NAME; with ``extra`` also whether a row is of the log.

    Raises:
        DataError: A bad row under a rule that refuses it; file, row and column are named.
    """
    if config.splits is not None:
        parts = [_part(config, reader, table, split, audit) for split, table in
                 config.splits.items()]  # fmt: skip
    else:
        parts = [_part(config, reader, table, None, audit) for table in config.table or []]
    rows = pl.concat(parts)
    if config.earlier is not None:
        rows = one_row_for_each_event(rows, audit)
        rows = rows.with_columns(ids(rows["item_id"]))
        rows = _without(rows, rows["item_id"].is_null(), "empty item id", audit)
    unique = rows.unique(maintain_order=True, keep="first")
    audit.drop("exact duplicate", rows.height - unique.height)
    if "context.split" in unique.columns:
        pairs = unique.select("user_id", "item_id", "context.split").unique()
        again = pairs.height - pairs.select("user_id", "item_id").n_unique()
        audit.note("pairs in more than one split", again)
    if extra is not None:
        return with_extra(unique, extra, _positive(config), extra_audit or TableAudit())
    return unique


def _part(
    config: EventsConfig,
    reader: TableReader,
    table: TableConfig,
    split: str | None,
    audit: TableAudit,
) -> pl.DataFrame:
    value, time = config.value, config.timestamp
    roles = [config.user, *config.item, *config.context]
    roles += [name for name in (config.event.column, config.earlier) if name]
    extra = [name for name in (value, time.column if time else None) if name]
    source = reader.read(table, None if config.optional_columns else [*roles, *extra])
    source.require(roles)
    if config.optional_columns:
        value = value if value in source.frame.columns else None
        time = time if time and time.column in source.frame.columns else None
    if split is not None:
        source = _with_split(source, split)
    columns = [pl.int_range(source.frame.height, dtype=pl.Int64, eager=True).alias("row")]
    columns.append(ids(source.frame[config.user]).alias("user_id"))
    columns.append(_events(config, source).alias("event"))
    columns += _values(source, value)
    columns.append(_timestamps(source, time))
    names = [*config.context, *(["split"] if split is not None else [])]
    columns += [source.frame[name].cast(pl.String).alias(f"context.{name}") for name in names]
    rows = _with_items(pl.DataFrame(columns), source, config.item)
    if config.earlier is not None:
        rows = rows.with_columns(_item_lists(source, config.earlier).alias(BEFORE))
    audit.note_all(source.notes)
    audit.rows_in += rows.height
    rows = _without(rows, rows["user_id"].is_null(), "empty user id", audit)
    rows = _without(rows, rows["item_id"].is_null(), "empty item id", audit)
    if time is not None:
        bad = rows["timestamp"].is_null()
        _refuse(config.bad_timestamps, rows, bad, source, time.column, "a time", "bad_timestamps")
        rows = _without(rows, bad, "bad timestamp", audit)
    if value is not None:
        bad = _bad_values(config, rows)
        _refuse(config.bad_values, rows, bad, source, value, "a number", "bad_values")
        if config.bad_values == "keep":
            audit.repair("bad value, left empty", int(bad.sum()))
        else:
            rows = _without(rows, bad, "bad value", audit)
    rows = rows.with_columns(_positive(config))
    before = [BEFORE] if config.earlier is not None else []
    return rows.select(
        "user_id", "item_id", "event", "value", "timestamp", "positive", *before, "^context\\..*$"
    )


def _with_split(source: SourceTable, split: str) -> SourceTable:
    if "split" in source.frame.columns:
        raise DataError(
            f"Expected no column 'split' in {source.label}, since 'splits' in dataset.yaml gives "
            "one; rename the column"
        )
    frame = source.frame.with_columns(pl.lit(split).alias("split"))
    return replace(source, frame=frame)


def _events(config: EventsConfig, source: SourceTable) -> pl.Series:
    if config.event.column is None:
        return pl.repeat(config.event.constant, source.frame.height, dtype=pl.String, eager=True)
    return ids(source.frame[config.event.column]).fill_null(config.event.constant)


def _values(source: SourceTable, column: str | None) -> list[pl.Series]:
    height = source.frame.height
    if column is None:
        return [
            pl.repeat(None, height, dtype=pl.Float32, eager=True).alias("value"),
            pl.repeat(False, height, dtype=pl.Boolean, eager=True).alias("value given"),
        ]
    cell = source.frame[column]
    given = cell.cast(pl.String).str.strip_chars().fill_null("") != ""
    return [numbers(cell)[0].cast(pl.Float32).alias("value"), given.alias("value given")]


def _timestamps(source: SourceTable, config: TimestampConfig | None) -> pl.Series:
    if config is None:
        return pl.repeat(None, source.frame.height, dtype=pl.Int64, eager=True).alias("timestamp")
    stamps = seconds(source.frame[config.column], config, source.label)
    return stamps.cast(pl.Int64).alias("timestamp")


def _with_items(rows: pl.DataFrame, source: SourceTable, columns: list[str]) -> pl.DataFrame:
    """Return a row for each item that a row of the source names, in its columns' order."""
    if len(columns) == 1 and not _is_list(source, columns[0]):
        return rows.with_columns(ids(source.frame[columns[0]]).alias("item_id"))
    frame = pl.DataFrame([_item_lists(source, column) for column in columns])
    found = frame.select(pl.concat_list(pl.all().fill_null([])).alias("item_id"))["item_id"]
    exploded = rows.with_columns(found).explode("item_id")
    return exploded.with_columns(ids(exploded["item_id"]))


def _item_lists(source: SourceTable, column: str) -> pl.Series:
    """Return the items that each cell names, as lists."""
    cells = source.frame[column]
    if not isinstance(cells.dtype, pl.List):
        text, several = ids(cells), _is_list(source, column)
        cells = text.str.split(" ") if several else text.reshape((-1, 1)).cast(pl.List(pl.String))
    return cells.cast(pl.List(pl.String)).alias(column)


def _is_list(source: SourceTable, column: str) -> bool:
    listed = isinstance(source.frame.schema[column], pl.List)
    return listed or source.kinds.get(column, "") == "token_seq"


def _bad_values(config: EventsConfig, rows: pl.DataFrame) -> pl.Series:
    bad = rows["value given"] & rows["value"].is_null()
    if config.positive.min_value is not None and config.event.column is None:
        bad = bad | rows["value"].is_null()
    return bad


def _refuse(
    rule: str,
    rows: pl.DataFrame,
    bad: pl.Series,
    source: SourceTable,
    column: str,
    expected: str,
    setting: str,
) -> None:
    if rule != "refuse" or not bad.any():
        return
    row = int(rows["row"].filter(bad)[0])
    written = "say its 'unit' and 'format', " if setting == "bad_timestamps" else ""
    raise DataError(
        f"Expected {expected} in column '{column}' of {source.label}, got "
        f"{source.frame[column][row]!r} in row {row + 1} (counted without the header; "
        f"{int(bad.sum())} such rows); mend the table, {written}or say "
        f"'interactions.{setting}: drop' in dataset.yaml"
    )


def _without(
    rows: pl.DataFrame, unwanted: pl.Series, reason: str, audit: TableAudit
) -> pl.DataFrame:
    audit.drop(reason, int(unwanted.sum()))
    return rows.filter(~unwanted)


def _positive(config: EventsConfig) -> pl.Expr:
    rule = config.positive
    liked = pl.lit(True)
    if rule.events is not None:
        liked = pl.col("event").is_in(rule.events)
    if rule.min_value is not None:
        without = pl.lit(rule.events is not None)
        liked = liked & pl.when(pl.col("value").is_null()).then(without).otherwise(
            pl.col("value") >= rule.min_value
        )
    return liked.alias("positive")
