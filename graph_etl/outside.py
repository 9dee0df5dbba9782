"""Things outside the catalogue that users met, as unlisted items with interactions of their own.

How such tables are read is for interactions.py; that no list shows these items is for kgrec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from graph_etl.audit import BuildAudit, TableAudit
from graph_etl.catalogue import Catalogue, bare_items
from graph_etl.dataset_config import OutsideConfig
from graph_etl.errors import DataError
from graph_etl.interactions import read_interactions
from graph_etl.left_out_users import REASON, LeaveOut
from graph_etl.snapshot import LISTED
from graph_etl.tables import TableReader


def with_outside(
    sections: Sequence[OutsideConfig],
    reader: TableReader,
    catalogue: Catalogue,
    rows: pl.DataFrame,
    leave_out: LeaveOut | None,
    audit: BuildAudit,
) -> tuple[Catalogue, pl.DataFrame]:
    """Return catalogue and interactions with those of things outside the catalogue at the end.

    Args:
        sections: Tables, columns and rules.
        reader: Where tables come from.
        catalogue: The items proper, all of them.
        rows: Their interactions.
        leave_out: Says whose rows are left out; None: nobody's.
        audit: Gets the counts of every section, under "outside.NUMBER".

    Raises:
        DataError: A bad row under a rule that refuses it, rows without a time where the
            interactions have one, or nothing is left of a section.
    """
    proper, items, parts = catalogue.items["item_id"], [catalogue.items], [rows]
    for number, section in enumerate(sections, 1):
        counts = audit.table(f"outside.{number}")
        found, titles = _read(section, reader, counts)
        if leave_out is not None:
            gone = leave_out(found["user_id"].unique().to_list())
            found = _without(found, pl.col("user_id").is_in(list(gone)), REASON, counts)
        own = pl.col("item_id").is_in(proper.implode())
        found = _without(found, own, "in the catalogue", counts)
        users = pl.col("user_id").n_unique().over("item_id")
        few = f"met by fewer than {section.min_users} users"
        found = _without(found, users < section.min_users, few, counts)
        if not found.height:
            raise DataError(
                f"Expected interactions with things outside the catalogue in section {number} of "
                f"'outside', got none of {counts.rows_in} rows after dropping {counts.dropped}; "
                "correct the columns, or leave the section out"
            )
        if not rows["timestamp"].null_count() and found["timestamp"].null_count():
            raise DataError(
                f"Expected a time in every row of section {number} of 'outside', as the "
                f"interactions have one, got {found['timestamp'].null_count()} rows without; say "
                "what its 'timestamp' is, or leave the section out: else nothing of the data set "
                "would count as timed"
            )
        counts.rows_kept = found.height
        things = bare_items(found["item_id"].unique().to_list())
        items.append(_titled(things, titles).with_columns(pl.lit(False).alias(LISTED)))
        parts.append(found)
    joined = pl.concat(items, how="diagonal").unique("item_id", keep="first", maintain_order=True)
    joined = joined.with_columns(pl.col(LISTED).fill_null(True))
    return replace(catalogue, items=joined), pl.concat(parts, how="diagonal")


def _read(
    section: OutsideConfig, reader: TableReader, counts: TableAudit
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the interactions, and the first title of each thing, columns item_id and title."""
    if section.title is None:
        rows = read_interactions(section, reader, counts)
        return rows, rows.select("item_id", title="item_id").clear()
    context = [*section.context, section.title]
    asked = section.model_copy(update={"context": list(dict.fromkeys(context))})
    rows = read_interactions(asked, reader, counts)
    column = f"context.{section.title}"
    named = rows.select("item_id", title=pl.col(column).str.strip_chars())
    named = named.filter(pl.col("title") != "")
    titles = named.unique("item_id", keep="first", maintain_order=True)
    return rows if section.title in section.context else rows.drop(column), titles


def _without(
    rows: pl.DataFrame, unwanted: pl.Expr, reason: str, counts: TableAudit
) -> pl.DataFrame:
    kept = rows.filter(~unwanted)
    counts.drop(reason, rows.height - kept.height)
    return kept


def _titled(things: pl.DataFrame, titles: pl.DataFrame) -> pl.DataFrame:
    """Return bare items with their titles, which are their texts as well."""
    found = things.select("item_id", "year").join(titles, on="item_id", how="left")
    return found.with_columns(
        pl.col("title").fill_null(pl.col("item_id")), text=pl.col("title").fill_null("")
    )
