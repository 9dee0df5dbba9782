"""The catalogue and the users, from their tables: ids, titles, text, numbers, profiles.

Attributes become triples in attributes.py; interactions are read by interactions.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from graph_etl.attributes import undeclared_attributes
from graph_etl.audit import TableAudit
from graph_etl.cells import columns_of, composed, ids, numbers, texts, truths
from graph_etl.dataset_config import AttributeConfig, ItemsConfig, UsersConfig
from graph_etl.errors import DataError
from graph_etl.snapshot import LISTED
from graph_etl.tables import SourceTable, TableReader


@dataclass(frozen=True)
class Catalogue:
    """The items as read.

    Attributes:
        items: Columns item_id, title, text, year (Int64, null where unknown), numeric.NAME; listed
            (Boolean) where some may not be recommended.
        source: Their table; None where the items are those of the interactions.
        rows: Columns row, item_id: which row of the table each item is.
        attributes: The declared and, where the config says so, the undeclared attributes.
    """

    items: pl.DataFrame
    source: SourceTable | None
    rows: pl.DataFrame
    attributes: list[AttributeConfig]


def read_catalogue(
    config: ItemsConfig, reader: TableReader, missing: Sequence[str], audit: TableAudit
) -> Catalogue | None:
    """Return the catalogue, or None where the config names no table or its file is absent.

    Raises:
        DataError: An item id stands twice; the message names the rows.
    """
    if config.table is None or not reader.has(config.table):
        return None
    by_type = config.undeclared == "by_type"
    declared = [column for attribute in config.attributes for column in attribute.column]
    pieces = config.text or []
    roles = [config.id, *columns_of(pieces), *declared, *config.numeric]
    roles += [name for name in (config.year, config.listed) if name]
    source = reader.read(config.table, None if by_type else roles, config.title)
    source.require(roles)
    title = _title_column(source, config, audit)
    attributes, numeric = undeclared_attributes(source, config, [*roles, title])
    attributes = [*config.attributes, *attributes]
    keys, kept = _keys(source, config, audit)
    audit.note_all(source.notes)
    columns = {
        "item_id": keys,
        "title": _titles(source, title, keys, missing, audit),
        "year": _years(source, config.year, len(keys)),
    }
    for name in [*config.numeric, *numeric]:
        columns[f"numeric.{name}"] = _numeric(source, name, audit)
    if config.listed is not None:
        columns[LISTED] = truths(source.frame[config.listed], source.label).fill_null(True)
    separators = {column: a.separator for a in attributes for column in a.column}
    text = composed(source, pieces, missing, separators) if pieces else _named(columns)
    frame = pl.DataFrame([column.alias(name) for name, column in columns.items()])
    frame = frame.with_columns(text.alias("text")).filter(kept)
    audit.note("items without text", int((frame["text"] == "").sum()))
    if config.listed is not None:
        audit.note("unlisted items", int((~frame[LISTED]).sum()))
    rows = pl.DataFrame({"item_id": keys}).with_row_index("row").filter(kept)
    return Catalogue(frame, source, rows.with_columns(pl.col("row").cast(pl.Int64)), attributes)


def bare_items(keys: Iterable[str]) -> pl.DataFrame:
    """Return items of which only the id is known, each once; it stands for the title."""
    found = sorted(set(keys), key=natural_order)
    columns = {"item_id": found, "title": found, "text": [""] * len(found)}
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return frame.with_columns(pl.lit(None, pl.Int64).alias("year"))


def natural_order(key: str) -> tuple[int, str]:
    """Order ids by length, then text, so that "2" stands before "10"."""
    return (len(key), key)


def read_users(
    config: UsersConfig | None, reader: TableReader, missing: Sequence[str], audit: TableAudit
) -> pl.DataFrame:
    """Return columns user_id, profile_text, attribute.NAME (String), numeric.NAME; may be empty.

    Raises:
        DataError: A user id stands twice; the message names the rows.
    """
    nobody = pl.DataFrame(schema={"user_id": pl.String, "profile_text": pl.String})
    if config is None or not reader.has(config.table):
        return nobody
    roles = [config.id, *columns_of(config.profile), *config.attributes, *config.numeric]
    source = reader.read(config.table, None if config.undeclared == "by_type" else roles)
    source.require(roles)
    free, numeric = undeclared_attributes(source, config, roles)
    keys, kept = _keys(source, config, audit)
    audit.note_all(source.notes)
    names = [*config.attributes, *(column for a in free for column in a.column)]
    pieces = config.profile or [*names]
    columns = {"user_id": keys}
    if pieces:
        columns["profile_text"] = composed(source, pieces, missing, {})
    else:
        columns["profile_text"] = pl.repeat("", len(keys), dtype=pl.String, eager=True)
    for name in names:
        columns[f"attribute.{name}"] = texts(source.frame[name], missing)
    for name in [*config.numeric, *numeric]:
        columns[f"numeric.{name}"] = _numeric(source, name, audit)
    return pl.DataFrame([column.alias(name) for name, column in columns.items()]).filter(kept)


def _keys(
    source: SourceTable, config: ItemsConfig | UsersConfig, audit: TableAudit
) -> tuple[pl.Series, pl.Series]:
    """Return the ids of a table's rows and which rows to keep; a repeated id is refused."""
    keys = ids(source.frame[config.id])
    kept = named = keys.is_not_null()
    if config.copies == "drop":
        kept = named & ~_copies(source.frame, keys.is_duplicated() & named)
    again = keys.set(~kept, None).is_duplicated() & kept
    if again.any():
        first = keys.filter(again)[0]
        rows = [int(row) + 1 for row in (keys == first).arg_true()]
        raise DataError(
            f"Expected each '{config.id}' of {source.label} once, got '{first}' in rows "
            f"{', '.join(map(str, rows[:5]))} (counted without the header; "
            f"{keys.filter(again).n_unique()} ids repeat); keep one row for each, name the "
            "column that really is the id, or say 'copies: drop' in that section of dataset.yaml "
            "where such rows are the same word for word"
        )
    audit.rows_in, audit.rows_kept = len(keys), int(kept.sum())
    audit.drop("empty id", int((~named).sum()))
    audit.drop("exact duplicate", int((named & ~kept).sum()))
    return keys, kept


def _copies(frame: pl.DataFrame, suspects: pl.Series) -> pl.Series:
    """Return which of the suspect rows repeat an earlier one in every column, (num_rows,) bool."""
    copied = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    if not suspects.any():
        return copied
    rows = frame.with_row_index("row of the table").filter(suspects)
    first = rows.unique(frame.columns, keep="first", maintain_order=True)
    repeated = rows["row of the table"].filter(
        ~rows["row of the table"].is_in(first["row of the table"].to_list())
    )
    return copied.scatter(repeated, True)


def _title_column(source: SourceTable, config: ItemsConfig, audit: TableAudit) -> str:
    """Return the column of titles; where none is named and none is there, that of the ids."""
    if "title" in config.model_fields_set or "title" in source.frame.columns:
        return source.first_of(config.title)
    audit.repair("no column of titles, the id stands for it", source.frame.height)
    return config.id


def _titles(
    source: SourceTable, column: str, keys: pl.Series, missing: Sequence[str], audit: TableAudit
) -> pl.Series:
    joiner = " " if source.kinds.get(column) == "token_seq" else ", "
    titles = texts(source.frame[column], missing, joiner=joiner)
    empty = (titles == "") & keys.is_not_null()
    audit.repair("empty title, the id stands for it", int(empty.sum()))
    return titles.zip_with(titles != "", keys)


def _named(columns: Mapping[str, pl.Series]) -> pl.Series:
    """Return the titles as texts; an id that stands for a title says nothing of the item."""
    title = columns["title"]
    return title.set((title == columns["item_id"]).fill_null(True), "")


def _years(source: SourceTable, column: str | None, size: int) -> pl.Series:
    if column is None:
        return pl.Series([None] * size, dtype=pl.Int64)
    year = numbers(source.frame[column])[0].cast(pl.Int64)
    return year.set(year == 0, None)  # what book lists write where they know none


def _numeric(source: SourceTable, column: str, audit: TableAudit) -> pl.Series:
    value, wrong = numbers(source.frame[column])
    audit.repair(f"no finite number in '{column}', left unknown", wrong)
    return value
