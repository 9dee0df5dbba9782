"""One parser for each format of table: text, Parquet, JSON lines, SQLite, RecBole, id lists.

Every one takes a file and gives a polars frame; finding the file is for tables.py.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from graph_etl.errors import ConfigError, DataError
from graph_etl.table_config import TableConfig
from graph_etl.text_dialects import doubled_quotes, first_cells, quote_of, separator_of

Kinds = dict[str, str]
Parsed = tuple[pl.DataFrame, Kinds]
# columns to read (None: all); a parser may read more, the caller checks that all are there
Wanted = Sequence[str] | None

_FORMAT_OF = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
} | dict.fromkeys((".inter", ".user", ".item", ".kg", ".link", ".net"), "recbole")


def parse_table(file: Path, table: TableConfig, wanted: Wanted, label: str) -> Parsed:
    """Return the frame of a file and the kinds its header declares.

    Args:
        file: The file; a name ending in .gz is decompressed on the way.
        table: Its format, separator, encoding and the like.
        wanted: Columns that are needed; parsers skip others where that saves work.
        label: Name of the table in messages.

    Raises:
        DataError: The file is empty, undecodable or not of its format.
        ConfigError: The format cannot be told from the file's ending.
    """
    if file.stat().st_size == 0:
        raise DataError(f"Expected rows in {label}, got an empty file of 0 bytes at {file}")
    return _PARSERS[_format_of(file, table, label)](file, table, wanted, label)


def _format_of(file: Path, table: TableConfig, label: str) -> str:
    if table.format != "auto":
        return table.format
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _FORMAT_OF:
        raise ConfigError(
            f"Expected a file ending in one of {', '.join(_FORMAT_OF)} (or these with .gz), got "
            f"{label}; say 'format: csv|parquet|jsonl|sqlite|recbole|id_lists' for this table"
        )
    return _FORMAT_OF[suffix]


def _read_bytes(file: Path, label: str) -> bytes:
    if not file.name.endswith(".gz"):
        return file.read_bytes()
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(
            f"Expected gzip content in {label}, got: {error}; is the download complete?"
        ) from error


def _utf8(content: bytes, table: TableConfig, label: str, separator: str) -> bytes:
    """Return the content in UTF-8 without byte-order mark; name the line that is not decodable."""
    try:
        text = content.decode(table.encoding)
        if table.encoding != "utf-8":
            content = text.encode()
    except LookupError as error:
        raise ConfigError(f"Expected a known encoding for {label}, got: {error}") from error
    except UnicodeDecodeError as error:
        start = content.rfind(b"\n", 0, error.start) + 1
        line = content[start:].split(b"\n", 1)[0]
        cell = content[start : error.start].count(separator.encode())
        header = content.split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(separator)
        column = table.columns or header
        name = column[cell] if cell < len(column) else str(cell + 1)
        raise DataError(
            f"Expected {table.encoding} text in {label}, got byte 0x{content[error.start]:02x} in "
            f"line {content.count(10, 0, error.start) + 1}, column '{name}' "
            f"({line[:60].decode('utf-8', 'backslashreplace')!r}); say the file's encoding "
            "('encoding: latin-1' for many older files) in dataset.yaml"
        ) from error
    return content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")


def _parse_csv(file: Path, table: TableConfig, wanted: Wanted, label: str) -> Parsed:
    suffixes = Path(file.name.removesuffix(".gz")).suffixes
    raw = _read_bytes(file, label)
    separator = table.separator or ("\t" if suffixes[-1:] == [".tsv"] else None)
    content = _utf8(raw, table, label, separator or ",")
    return _parse_text(content, separator or separator_of(content), table, wanted, label), {}


def _parse_text(
    content: bytes, separator: str, table: TableConfig, wanted: Wanted, label: str
) -> pl.DataFrame:
    if not content.strip():
        raise DataError(f"Expected rows in {label}, got only empty lines")
    if len(separator) > 1:
        return _parse_wide_separator(content, separator, table, label)
    quote = table.quote or quote_of(content, separator)
    if quote is not None:
        content = doubled_quotes(content, separator, quote)
    header = table.columns is None
    if header:
        _check_header(content, separator, quote, label)
    try:
        frame = pl.read_csv(
            content,
            separator=separator,
            quote_char=quote,
            has_header=header,
            new_columns=table.columns,
            columns=_present(content, separator, quote, wanted) if header else None,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"Expected a text table with separator {separator!r} in {label}, got: "
            f"{str(error).splitlines()[0]}; say 'separator' or 'quote' in dataset.yaml"
        ) from error
    _check_width(frame, table, label)
    return frame


def _present(content: bytes, separator: str, quote: str | None, wanted: Wanted) -> Wanted:
    if wanted is None:
        return None
    header = first_cells(content, separator, quote)
    present = [name for name in header if name in wanted]
    return present if len(present) == len(set(wanted)) else None


def _check_header(content: bytes, separator: str, quote: str | None, label: str) -> None:
    header = first_cells(content, separator, quote)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"Expected each column of {label} once, got {twice} more than once")


def _check_width(frame: pl.DataFrame, table: TableConfig, label: str) -> None:
    if table.columns is not None and len(table.columns) != frame.width:
        raise DataError(
            f"Expected {len(table.columns)} columns ({', '.join(table.columns)}) in {label}, got "
            f"{frame.width}; correct 'columns' or 'separator' in dataset.yaml"
        )


def _parse_wide_separator(
    content: bytes, separator: str, table: TableConfig, label: str
) -> pl.DataFrame:
    lines = pl.DataFrame({"line": content.decode().split("\n")}).filter(pl.col("line") != "")
    cells = lines["line"].str.split(separator)
    names = table.columns or cells[0].to_list()
    body = cells if table.columns else cells[1:]
    wrong = (body.list.len() != len(names)).arg_true()
    if len(wrong):
        raise DataError(
            f"Expected {len(names)} cells separated by {separator!r} in each row of {label}, got "
            f"{len(body[int(wrong[0])])} in row {int(wrong[0]) + 1}"
        )
    return pl.DataFrame({name: body.list.get(i) for i, name in enumerate(names)}).with_columns(
        pl.all().replace("", None)
    )


def _parse_parquet(file: Path, table: TableConfig, wanted: Wanted, label: str) -> Parsed:
    try:
        there = pl.read_parquet_schema(file)
        present = None if wanted is None else [name for name in there if name in wanted]
        return pl.read_parquet(file, columns=present), {}
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"Expected a Parquet file at {label}, got: {str(error).splitlines()[0]}; "
            "is the file complete?"
        ) from error


def _parse_jsonl(file: Path, table: TableConfig, wanted: Wanted, label: str) -> Parsed:
    text = _utf8(_read_bytes(file, label), table, label, ",").decode()
    cells: dict[str, list[Any]] = {}
    rows = 0
    for record in _json_objects(text, label):
        for name, value in _fields(record):
            if wanted is None or name in wanted:
                column = cells.setdefault(name, [])
                column.extend([None] * (rows - len(column)))
                column.append(value)
        rows += 1
    for column in cells.values():
        column.extend([None] * (rows - len(column)))
    return pl.DataFrame({name: _series(column) for name, column in cells.items()}), {}


def _json_objects(text: str, label: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file: one a line, or all in one array."""
    whole = text.lstrip().startswith("[")
    for number, part in enumerate([text] if whole else io.StringIO(text), start=1):
        if not part.strip():
            continue
        try:
            found = json.loads(part)
        except json.JSONDecodeError as error:
            raise DataError(
                f"Expected one JSON object a line in {label}, or one array of objects, got in "
                f"line {number if not whole else error.lineno}: {error}"
            ) from error
        for value in found if whole else [found]:
            if not isinstance(value, dict):
                raise DataError(
                    f"Expected one JSON object a line in {label}, or one array of objects, got "
                    f"{type(value).__name__}{'' if whole else f' in line {number}'}"
                )
            yield value


def _fields(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values, those inside a record by their path: "attributes.WiFi"."""
    for name, value in record.items():
        yield name, value
        if isinstance(value, dict):
            for inner, part in _fields(value):
                yield f"{name}.{inner}", part


def _series(cells: list[Any]) -> pl.Series:
    """Return text cells, lists of text, or records; scalars among lists become lists."""
    if not any(isinstance(cell, list) for cell in cells):
        return pl.Series([_text(cell) for cell in cells], dtype=pl.String)
    lists = [_listed(cell) for cell in cells]
    if any(isinstance(value, dict) for cell in lists for value in cell or ()):
        return pl.Series(lists, strict=False)
    return pl.Series(
        [None if cell is None else [_text(value) for value in cell] for cell in lists],
        dtype=pl.List(pl.String),
    )


def _listed(cell: Any) -> list[Any] | None:
    if cell is None or isinstance(cell, list):
        return cell
    return [cell] if cell != "" else []


def _text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    return json.dumps(cell, ensure_ascii=False, sort_keys=True)


def _parse_sqlite(file: Path, table: TableConfig, wanted: Wanted, label: str) -> Parsed:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
            )
            tables = [name for (name,) in found]
            if table.sql_table not in tables:
                raise DataError(
                    f"Expected a table '{table.sql_table}' in {file.name}, got "
                    f"{', '.join(tables) or 'none'}; say 'sql_table' in dataset.yaml"
                )
            cursor = connection.execute(f'SELECT * FROM "{table.sql_table}" LIMIT 0')
            there = [column[0] for column in cursor.description]
            present = [name for name in there if wanted is None or name in wanted] or there
            names = ", ".join(f'"{name}"' for name in present)
            rows = connection.execute(f'SELECT {names} FROM "{table.sql_table}"').fetchall()
        except sqlite3.Error as error:
            raise DataError(
                f"Expected an SQLite database at {label}, got: {error}; is the file complete?"
            ) from error
    columns = zip(*rows, strict=True) if rows else ([] for _ in present)
    return pl.DataFrame(
        {
            name: pl.Series(list(cells), strict=False)
            for name, cells in zip(present, columns, strict=True)
        }
    ), {}


def _parse_recbole(file: Path, table: TableConfig, wanted: Wanted, label: str) -> Parsed:
    content = _utf8(_read_bytes(file, label), table, label, "\t")
    frame = _parse_text(content, "\t", table, None, label)
    names, kinds = [], {}
    for header in frame.columns:
        name, _, kind = header.partition(":")
        if kind not in ("token", "token_seq", "float", "float_seq"):
            raise DataError(
                f"Expected typed headers 'name:token|token_seq|float|float_seq' in {label}, got "
                f"'{header}'; say 'format: csv' where this is no RecBole file"
            )
        names.append(name)
        kinds[name] = kind
    frame.columns = names
    return frame, kinds


def _parse_id_lists(file: Path, table: TableConfig, wanted: Wanted, label: str) -> Parsed:
    content = _utf8(_read_bytes(file, label), table, label, " ").decode()
    rows = [words for line in content.splitlines() if (words := line.split())]
    names = table.columns or ["user_id", "item_id"]
    columns = {
        names[0]: pl.Series([words[0] for words in rows], dtype=pl.String),
        names[1]: pl.Series([words[1:] for words in rows], dtype=pl.List(pl.String)),
    }
    return pl.DataFrame(columns), {}


_PARSERS: dict[str, Callable[[Path, TableConfig, Wanted, str], Parsed]] = {
    "csv": _parse_csv,
    "parquet": _parse_parquet,
    "jsonl": _parse_jsonl,
    "sqlite": _parse_sqlite,
    "recbole": _parse_recbole,
    "id_lists": _parse_id_lists,
}
