"""Columns of a second table beside those of the first, by a key that both have.

Where tables are and how they are read is for tables.py; here are frames only.
"""

from __future__ import annotations

import polars as pl

from graph_etl.errors import DataError
from graph_etl.table_config import JoinConfig

Keyed = tuple[str, pl.DataFrame]  # a table's label, its rows


def joined(first: Keyed, second: Keyed, config: JoinConfig) -> tuple[pl.DataFrame, int]:
    """Return the rows of the first table with the columns of the second, and how many have none.

    Keys are compared as text without spaces around it. A row without a partner keeps empty cells.

    Args:
        first: Label and rows; every row stays, in its order.
        second: Label and rows; a key stands in it at most once, empty keys are nobody's.
        config: The keys' columns.

    Raises:
        DataError: A key or a wanted column is absent, both tables have the same column, a key of
            the second stands in it twice, or no row has a partner.
    """
    (label, rows), (other_label, other) = first, second
    key, other_key = config.key, config.other_key or config.key
    for name, frame, where in ((key, rows, label), (other_key, other, other_label)):
        if name not in frame.columns:
            raise DataError(
                f"Expected a column '{name}' in {where} to join {label} and {other_label} by, got "
                f"{', '.join(frame.columns)}; correct 'join' in dataset.yaml"
            )
    added = [name for name in other.columns if name != other_key]
    both = [name for name in added if name in rows.columns]
    if both:
        raise DataError(
            f"Expected columns of {other_label} that {label} has not, got {both} in both; rename "
            "them, or list those that are wanted in 'columns' of the join"
        )
    keyed = other.select(_text(other_key).alias("the key"), *added).filter(
        pl.col("the key").is_not_null()
    )
    twice = keyed["the key"].is_duplicated()
    if twice.any():
        raise DataError(
            f"Expected each '{other_key}' once in {other_label}, got "
            f"'{keyed['the key'].filter(twice)[0]}' again ({int(twice.sum())} such rows); keep one "
            "row for each"
        )
    keyed = keyed.with_columns(pl.lit(True).alias("found"))
    found = rows.with_columns(_text(key).alias("the key")).join(
        keyed, on="the key", how="left", maintain_order="left"
    )
    alone = int(found["found"].null_count())
    if alone == rows.height:
        raise DataError(
            f"Expected rows of {label} whose '{key}' stands under '{other_key}' in {other_label}, "
            f"got none; '{rows[key][0]}' is no '{other_key}': are these the right columns?"
        )
    return found.drop("the key", "found"), alone


def _text(column: str) -> pl.Expr:
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)
