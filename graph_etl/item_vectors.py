"""Vectors of items that were made elsewhere: a table more, checked and put beside the items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from graph_etl.audit import BuildAudit, TableAudit
from graph_etl.catalogue import Catalogue
from graph_etl.cells import ids
from graph_etl.dataset_config import VectorsConfig
from graph_etl.errors import DataError
from graph_etl.snapshot import VECTOR
from graph_etl.tables import SourceTable, TableReader

_NUMBER = r"[^\s,;\[\]]+"


def with_vectors(
    config: VectorsConfig | None, reader: TableReader, catalogue: Catalogue, audit: BuildAudit
) -> Catalogue:
    """Return the catalogue with a column VECTOR among its items, null where one has none.

    Args:
        config: The table and its columns; None: there are no vectors.
        reader: Where tables come from.
        catalogue: All items.
        audit: Gets the counts under "items.vectors".

    Returns:
        The catalogue as it came where there is no table, or an optional one is absent.

    Raises:
        DataError: An item has two vectors, a vector is of another length than the first or holds
            what is no finite number, or no item of the catalogue has one.
    """
    if config is None or not reader.has(config.table):
        return catalogue
    items = catalogue.items
    source = reader.read(config.table, [config.id, config.vector])
    counts = audit.table("items.vectors")
    counts.note_all(source.notes)
    rows = _rows(source, config, counts)
    own = rows["item_id"].is_in(items["item_id"].implode())
    counts.drop("unknown item", int((~own).sum()))
    rows = rows.filter(own)
    counts.rows_kept = rows.height
    counts.note("items without a vector", items.height - rows.height)
    if not rows.height:
        raise DataError(
            f"Expected vectors of items of the catalogue in {source.label}, got none of "
            f"{counts.rows_in} rows after dropping {counts.dropped}; is '{config.id}' the id that "
            "the catalogue has?"
        )
    found = rows.select("item_id", VECTOR)
    joined = items.join(found, on="item_id", how="left", maintain_order="left")
    return replace(catalogue, items=joined)


def _rows(source: SourceTable, config: VectorsConfig, counts: TableAudit) -> pl.DataFrame:
    """Return columns row (from 1), item_id and VECTOR of the rows that have both."""
    rows = pl.DataFrame([ids(source.frame[config.id]).alias("item_id"), _lists(source, config)])
    rows = rows.with_row_index("row", offset=1)
    counts.rows_in = rows.height
    named = rows.filter(pl.col("item_id").is_not_null())
    counts.drop("empty id", rows.height - named.height)
    filled = named.filter(pl.col(VECTOR).list.len() > 0)
    counts.drop("no vector", named.height - filled.height)
    _check(filled, source.label, config)
    # all zeros is how exports write that there is none, and what kgrec takes for it
    told = filled.filter(pl.col(VECTOR).list.eval(pl.element() != 0).list.any())
    counts.drop("a vector of zeros", filled.height - told.height)
    return told


def _lists(source: SourceTable, config: VectorsConfig) -> pl.Series:
    """Return the cells as lists of Float32, NaN for what is no number."""
    column = source.frame[config.vector].alias(VECTOR)
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if column.dtype == pl.String:
        column = column.str.extract_all(_NUMBER)
    if not isinstance(column.dtype, pl.List):
        raise DataError(
            f"Expected a list of numbers, or a text of them, in column '{config.vector}' of "
            f"{source.label}, got {column.dtype}; a vector spread over columns has to be joined "
            "into one first"
        )
    number = pl.element().cast(pl.Float32, strict=False).fill_null(float("nan"))
    return column.to_frame().select(pl.col(VECTOR).list.eval(number)).to_series()


def _check(rows: pl.DataFrame, label: str, config: VectorsConfig) -> None:
    if not rows.height:
        return
    again = rows.filter(pl.col("item_id").is_duplicated())
    if again.height:
        first = again["item_id"][0]
        places = again.filter(pl.col("item_id") == first)["row"].to_list()
        raise DataError(
            f"Expected one vector for each item in {label}, got '{first}' in rows "
            f"{', '.join(map(str, places[:5]))} (counted without the header; "
            f"{again['item_id'].n_unique()} ids repeat); keep one row for each, a mean of several "
            "pictures for example"
        )
    length = rows[VECTOR].list.len()
    other = rows.filter(length != length[0])
    if other.height:
        raise DataError(
            f"Expected vectors of one length in column '{config.vector}' of {label}, got "
            f"{length[0]} numbers in row {rows['row'][0]} and {len(other[VECTOR][0])} in row "
            f"{other['row'][0]} ({other.height} such rows); give them by one model"
        )
    finite = np.isfinite(rows[VECTOR].explode().to_numpy()).reshape(rows.height, -1).all(axis=1)
    if not finite.all():
        raise DataError(
            f"Expected finite numbers in column '{config.vector}' of {label}, got something else "
            f"in row {rows['row'][int(np.flatnonzero(~finite)[0])]} (counted without the header; "
            f"{int((~finite).sum())} such rows); leave items without a vector out"
        )
