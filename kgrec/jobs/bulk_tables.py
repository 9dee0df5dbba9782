"""Files of users and pairs in, files of answers out; whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from graph_etl.snapshot import sync_folder
from kgrec.errors import DataError

PARQUET, TSV = (".parquet", ".pq"), (".tsv", ".txt")


def read_table(path: Path, ids: Sequence[str]) -> pl.DataFrame:
    """Return a Parquet file, or a TSV or CSV file with a header.

    Args:
        path: The file.
        ids: Columns of ids: "0061099686" stays as it is written.

    Raises:
        DataError: It is not there, or cannot be read as what its name says.
    """
    if not path.is_file():
        raise DataError(f"Expected a file at {path}, found none")
    try:
        if path.suffix in PARQUET:
            return pl.read_parquet(path)
        separator = "," if path.suffix == ".csv" else "\t"
        written = dict.fromkeys(ids, pl.String)
        table = pl.read_csv(
            path, separator=separator, infer_schema_length=None, schema_overrides=written
        )
        return table.with_columns(natural(table[name]) for name in ids if name in table.columns)
    except (PolarsError, OSError) as error:
        raise DataError(f"Expected a table in {path}, got: {error}") from error


def read_users(path: Path, column: str = "user_id") -> pl.Series:
    """Return user ids in the order of the file, each once; a file without that column and with
    one value a line is a list of ids.

    Raises:
        DataError: The file cannot be read, or holds several columns and none of that name.
    """
    if path.is_file() and path.suffix not in PARQUET:
        lines = path.read_text(encoding="utf-8").splitlines()
        separator = "," if path.suffix == ".csv" else "\t"
        first = [cell.strip('"') for cell in lines[0].split(separator)] if lines else []
        if first == [column] or column not in first:
            if len(first) > 1:
                raise DataError(_absent(path, (column,), first))
            rest = [line.strip().strip('"') for line in lines[first == [column] :]]
            ids = pl.Series(column, [line for line in rest if line], pl.String)
            return natural(ids).unique(maintain_order=True)
    table = read_table(path, (column,))
    require(table, (column,), path)
    return table[column].drop_nulls().unique(maintain_order=True)


def require(table: pl.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Refuse a table without these columns.

    Raises:
        DataError: One is not there.
    """
    if not set(columns) <= set(table.columns):
        raise DataError(_absent(path, columns, table.columns))


def _absent(path: Path, columns: Sequence[str], found: Sequence[str]) -> str:
    options = ("--user-column", "--item-column")[: len(columns)]
    return (
        f"Expected the columns {', '.join(columns)} in {path}, got {', '.join(found)}; name those "
        f"of the file with {' and '.join(options)}"
    )


def natural(ids: pl.Series) -> pl.Series:
    """Return ids as whole numbers where each is written as one, else as they are."""
    if ids.dtype == pl.String and len(ids) and ids.str.contains(r"^(0|[1-9]\d{0,17})$").all():
        return ids.cast(pl.Int64)
    return ids


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table as Parquet, TSV or CSV, as the name says; readers see all of it or nothing.

    Raises:
        DataError: The name says none of them.
    """
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    if path.suffix in PARQUET:
        table.write_parquet(half)
    else:
        table.write_csv(half, separator="," if path.suffix == ".csv" else "\t")
    replace(half, path)


def replace(half: Path, path: Path) -> None:
    """Put a written file in its place, on disk before its name is."""
    with half.open("rb") as handle:
        os.fsync(handle.fileno())
    half.replace(path)
    sync_folder(path.parent)


def check_name(path: Path) -> None:
    """Refuse a name that says no kind of table.

    Raises:
        DataError: It ends otherwise than in .parquet, .tsv, .txt or .csv.
    """
    known = (*PARQUET, *TSV, ".csv")
    if path.suffix not in known:
        raise DataError(f"Expected a file named {', '.join(known)} to write, got {path}")
