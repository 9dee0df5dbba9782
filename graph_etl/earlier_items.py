"""Rows that name what came before them: a log of sequences becomes one row for each event.

RecBole's sequential files, and those of the models that use them, give a user's history again with
every target, at times only its last items. Here each place in a history is one event, told once.
"""

from __future__ import annotations

import polars as pl

from graph_etl.audit import TableAudit
from graph_etl.errors import DataError

BEFORE = "before"
_DAY = 86_400


def one_row_for_each_event(rows: pl.DataFrame, audit: TableAudit) -> pl.DataFrame:
    """Return each place of each user's history once, with the time that stands for the order.

    Where two rows tell of a place, that whose own item it is goes first. Where the parts of a
    split are given, an item that is no row's own belongs to "train".

    Args:
        rows: Interactions of all tables together; BEFORE has the item ids before each one, in
            order (null: none), or the last of them where histories were cut to a length.
        audit: Counts the events that only histories tell of, and those told again.

    Returns:
        ``rows`` without BEFORE, by user and place, a user's events a day apart from day 0 of 1970.

    Raises:
        DataError: Two histories of a user disagree.
    """
    lists = pl.col(BEFORE).fill_null([])
    own = rows.with_columns(lists).with_columns(_places(rows.with_columns(lists)))
    own = own.with_columns(pl.lit(True).alias("own"))
    first = pl.col("place") - pl.col(BEFORE).list.len().cast(pl.Int64)
    told = (
        own.with_columns(pl.col(BEFORE).alias("item_id"), pl.lit(False).alias("own"))
        .with_columns(pl.int_ranges(first, pl.col("place"), dtype=pl.Int64).alias("place"))
        .filter(pl.col("item_id").list.len() > 0)
        .explode("item_id", "place")
    )
    if "context.split" in rows.columns:
        told = told.with_columns(pl.lit("train").alias("context.split"))
    both = pl.concat([own, told.select(own.columns)]).drop(BEFORE)
    unique = both.unique(["user_id", "place", "item_id"], keep="first", maintain_order=True)
    twice = unique.select("user_id", "place").is_duplicated()
    if twice.any():
        user, place = unique.filter(twice).select("user_id", "place").row(0)
        raise DataError(
            f"Expected histories of a user that go on from each other, got two items for place "
            f"{place + 1} of user '{user}' (and {int(twice.sum()) - 1} more such rows); a user's "
            "rows must give one sequence, cut at different places"
        )
    audit.rows_in += told.height
    audit.drop("told again by another history", both.height - unique.height)
    ordered = unique.sort("user_id", "place", maintain_order=True)
    return ordered.with_columns((pl.col("place") * _DAY).alias("timestamp")).drop("place", "own")


def _places(rows: pl.DataFrame) -> pl.Series:
    """Return how many events of the user come before each row's own.

    A history that was cut is as long as others of its user: which place it ends at is told by the
    row before it, whose history with its item ends as this one does. Two cut histories of a user
    that are equal, with equal items after them, count as one.
    """
    lengths = rows[BEFORE].list.len().cast(pl.Int64)
    numbered = rows.select("user_id", "item_id", BEFORE).with_columns(
        lengths.alias("length"), pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    )
    cut_at = int(lengths.max() or 0) if len(lengths) else 0  # type: ignore[arg-type]
    longest = numbered.filter((pl.col("length") == cut_at) & (cut_at > 0))
    several = longest.filter(pl.struct("user_id", BEFORE).is_first_distinct())
    users = several["user_id"].filter(several["user_id"].is_duplicated()).unique()
    places = lengths.to_list()
    of_users = numbered.filter(pl.col("user_id").is_in(users.implode())).sort("length", "row")
    for (_user,), history in of_users.group_by("user_id", maintain_order=True):
        after: dict[tuple[str, ...], int] = {}  # what a history is after a row -> the place then
        waiting = [
            (row, tuple(before), item)
            for row, before, item in history.select("row", BEFORE, "item_id").iter_rows()
        ]
        for row, before, item in waiting:
            if len(before) < cut_at:
                after[(*before, item)] = places[row] + 1
        waiting = [one for one in waiting if len(one[1]) == cut_at]
        while waiting:
            left = []
            for row, before, item in waiting:
                if before in after:
                    places[row] = after[before]
                    after.setdefault((*before[1:], item), places[row] + 1)
                else:
                    left.append((row, before, item))
            if len(left) == len(waiting):
                break  # what they go on from is not told; they stay at the length of their history
            waiting = left[::-1]
    return pl.Series("place", places, dtype=pl.Int64)
