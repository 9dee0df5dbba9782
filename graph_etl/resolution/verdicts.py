"""Verdicts of people on single links: a small CSV file that overrules the rules of linking.py.

Ids only, so that such a file may be published beside data that may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from graph_etl.errors import ConfigError

COLUMNS = ("item_id", "fact_id", "verdict", "made_by")
VERDICTS = ("right", "wrong")


@dataclass(frozen=True)
class Verdicts:
    """What people said about pairs of an item and a fact.

    Attributes:
        right: item_id to the one fact_id it must be linked to.
        wrong: Pairs (item_id, fact_id) that must never be linked.
    """

    right: Mapping[str, str]
    wrong: frozenset[tuple[str, str]]


NO_VERDICTS = Verdicts(right={}, wrong=frozenset())


def load_verdicts(path: Path) -> Verdicts:
    """Return the verdicts of a CSV file with the columns of COLUMNS.

    Raises:
        ConfigError: The file is absent or empty, lacks a column, holds another verdict than
            "right" or "wrong", an empty id, or two right facts for one item.
    """
    table = _read(path)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ConfigError(
            f"Expected columns {', '.join(COLUMNS)} in {path}, got {', '.join(table.columns)}; "
            f"add {', '.join(missing)}"
        )
    right: dict[str, str] = {}
    wrong: set[tuple[str, str]] = set()
    for line, row in enumerate(table.iter_rows(named=True), start=2):
        pair = (row["item_id"] or "", row["fact_id"] or "")
        if row["verdict"] not in VERDICTS or not all(pair):
            raise ConfigError(
                f"Expected an item_id, a fact_id and a verdict of {' or '.join(VERDICTS)} in line "
                f"{line} of {path}, got {row['verdict']!r} for {pair}; mend that line"
            )
        if row["verdict"] == "wrong":
            wrong.add(pair)
        elif right.setdefault(*pair) != pair[1]:
            raise ConfigError(
                f"Expected one right fact for item {pair[0]}, got {right[pair[0]]} and {pair[1]} "
                f"in line {line} of {path}; take one out"
            )
    both = sorted(wrong & set(right.items()))
    if both:
        raise ConfigError(
            f"Expected one verdict a pair, got right and wrong for {both[0]} in {path}; "
            "take one out"
        )
    return Verdicts(right=right, wrong=frozenset(wrong))


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(
            f"Expected a CSV file of verdicts ({', '.join(COLUMNS)}) at {path} (got: {error}); "
            "write one, or leave 'reviewed' out of the link configuration"
        ) from error
