"""Cells of source tables as clean ids, texts, numbers, times and lists of values.

Expressions over one column each; which column is what, and what happens to bad rows, is decided
by the callers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from graph_etl.dataset_config import TimestampConfig
from graph_etl.errors import ConfigError, DataError
from graph_etl.tables import SourceTable

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_PRICE = r"^[$€£¥₹]?\s*(\d+(?:\.\d+)?|\d{1,3}(?:,\d{3})+(?:\.\d+)?)\s*[$€£¥₹]?$"
# seconds since 1970 beyond this (the year 5138) are milliseconds in truth
_MAX_SECONDS = 100_000_000_000
_TRUTHS = {
    **dict.fromkeys(("yes", "true", "1", "y", "t"), True),
    **dict.fromkeys(("no", "false", "0", "n", "f"), False),
}
_ISO_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
)


def ids(column: pl.Series) -> pl.Series:
    """Return ids as stripped strings, null where empty; 862.0 of a float column is "862"."""
    if column.dtype.is_float():
        whole = column.fill_nan(None)
        if (whole.drop_nulls() % 1 == 0).all():
            column = whole.cast(pl.Int64)
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def texts(
    column: pl.Series, missing: Sequence[str], separator: str | None = None, joiner: str = ", "
) -> pl.Series:
    """Return cells as one line of text each, "" where nothing is known; lists are joined."""
    if separator is not None and column.dtype == pl.String:
        column = column.str.split(separator)
    if isinstance(column.dtype, pl.List):
        kept = pl.element().cast(pl.String).str.strip_chars()
        column = (
            column.to_frame("cell")
            .select(pl.col("cell").list.eval(kept.filter(_known(kept, missing))).list.join(joiner))
            .to_series()
        )
    if column.dtype.is_float():
        column = _float_text(column)
    frame = column.cast(pl.String).fill_null("").to_frame("cell")
    line = pl.col("cell").str.replace_all(r"\s+", " ").str.strip_chars()
    return frame.select(pl.when(_known(line, missing)).then(line).otherwise(pl.lit(""))).to_series()


def _float_text(column: pl.Series) -> pl.Series:
    known = column.fill_nan(None)
    whole = bool((known.drop_nulls() % 1 == 0).all())
    return known.cast(pl.Int64 if whole else pl.Float64, strict=False)


def _known(text: pl.Expr, missing: Sequence[str]) -> pl.Expr:
    empty = ["", *(word.lower() for word in missing)]
    return text.is_not_null() & ~text.str.to_lowercase().is_in(empty)


def numbers(column: pl.Series) -> tuple[pl.Series, int]:
    """Return finite Float64 numbers, null elsewhere, and how many filled cells are no number.

    Prices are numbers too: "$1,299.00" is 1299, "25 €" is 25.
    """
    text = column.cast(pl.String).str.strip_chars()
    given = int((text.fill_null("") != "").sum())
    value = text.cast(pl.Float64, strict=False)
    if value.null_count() > text.null_count():
        price = text.str.extract(_PRICE, 1).str.replace_all(",", "").cast(pl.Float64, strict=False)
        value = value.zip_with(value.is_not_null(), price)
    value = value.set(~value.is_finite(), None)
    return value, given - int(value.is_not_null().sum())


def truths(column: pl.Series, label: str) -> pl.Series:
    """Return yes and no as Boolean, null where empty.

    Raises:
        DataError: A cell says neither.
    """
    text = ids(column).str.to_lowercase()
    found = text.replace_strict(_TRUTHS, default=None, return_dtype=pl.Boolean)
    wrong = text.is_not_null() & found.is_null()
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise DataError(
            f"Expected yes or no, true or false, 1 or 0 in column '{column.name}' of {label}, got "
            f"{column[row]!r} in row {row + 1} (counted without the header); translate it by "
            "'derive' with a 'map'"
        )
    return found


def seconds(column: pl.Series, config: TimestampConfig, label: str) -> pl.Series:
    """Return Int64 Unix seconds, null where the cell is no time or one that is far to come.

    Raises:
        ConfigError: The unit says seconds but the numbers are milliseconds.
    """
    if column.dtype in (pl.Date, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.epoch("s")
    if config.unit == "iso":
        return _dates(column.cast(pl.String).str.strip_chars(), config.format)
    text = column.cast(pl.String).str.strip_chars()
    exact = text.cast(pl.Int64, strict=False)
    value = text.cast(pl.Float64, strict=False)
    value = value.set(~value.is_finite() | (value.abs() > 2**62), None)
    stamps = exact.zip_with(exact.is_not_null(), value.floor().cast(pl.Int64))
    if config.unit == "milliseconds":
        return stamps // 1000
    median = stamps.median()
    if isinstance(median, float) and median > _MAX_SECONDS:
        raise ConfigError(
            f"Expected seconds since 1970 in column '{config.column}' of {label}, got "
            f"{stamps.drop_nulls()[0]}; say 'unit: milliseconds' in dataset.yaml"
        )
    return stamps.set(stamps > _MAX_SECONDS, None)


def _dates(text: pl.Series, form: str | None) -> pl.Series:
    frame = text.to_frame("cell")
    cell = pl.col("cell")
    formats = [form] if form else list(_ISO_FORMATS)
    parsed = [_parse_date(cell.str.replace(r"Z$", "+00:00"), one) for one in formats]
    if form is None:
        day = cell.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
        parsed.append(day.dt.epoch("s"))
    return frame.select(pl.coalesce(parsed)).to_series()


def _parse_date(cell: pl.Expr, form: str) -> pl.Expr:
    if "z" in form:
        moment = cell.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
    elif any(code in form for code in ("%H", "%I", "%T", "%s")):
        moment = cell.str.to_datetime(form, time_unit="us", strict=False)
    else:
        moment = cell.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    return moment.dt.epoch("s")


def columns_of(pieces: Sequence[str]) -> list[str]:
    """Return the columns that pieces of text draw on, each a column or a template.

    >>> columns_of(["title", "Genres: {genres}"])
    ['title', 'genres']
    """
    found = [_PLACEHOLDER.findall(piece) or [piece] for piece in pieces]
    return list(dict.fromkeys(name for names in found for name in names))


def composed(
    source: SourceTable,
    pieces: Sequence[str],
    missing: Sequence[str],
    separators: Mapping[str, str | None],
) -> pl.Series:
    """Return one text for each row: the pieces whose columns are all known, as sentences.

    Args:
        source: The table.
        pieces: Columns or templates such as "Genres: {genres}".
        missing: Cells that mean "nothing".
        separators: Column -> what stands between the values of its text cells.
    """
    names = columns_of(pieces)
    source.require(names)
    columns = {name: texts(source.frame[name], missing, separators.get(name)) for name in names}
    frame = pl.DataFrame([column.alias(name) for name, column in columns.items()])
    parts = [_filled(piece).alias(f"piece {i}") for i, piece in enumerate(pieces)]
    return frame.select(parts).select(_sentences(len(parts))).to_series()


def _filled(piece: str) -> pl.Expr:
    names = _PLACEHOLDER.findall(piece)
    if not names:
        return pl.col(piece)
    template = _PLACEHOLDER.sub("{}", piece)
    known = pl.all_horizontal(pl.col(name) != "" for name in names)
    return pl.when(known).then(pl.format(template, *map(pl.col, names))).otherwise(pl.lit(""))


def _sentences(count: int) -> pl.Expr:
    text = pl.col("piece 0")
    for i in range(1, count):
        piece = pl.col(f"piece {i}")
        ended = text.str.contains(r"[.!?…:;]$")
        joined = text + pl.when(ended).then(pl.lit(" ")).otherwise(pl.lit(". ")) + piece
        text = pl.when(piece == "").then(text).when(text == "").then(piece).otherwise(joined)
    return text


def values(
    source: SourceTable,
    column: str,
    *,
    separator: str | None = None,
    field: str | None = None,
    strip: Sequence[str] = (),
) -> pl.DataFrame:
    """Return one row for each value of a column, empty values included, in order.

    Returns:
        Columns row (Int64, row number in the table) and value (String, "" where empty).

    Raises:
        DataError: The values are records and ``field`` is not one of theirs.
    """
    if separator is None and source.kinds.get(column, "").endswith("_seq"):
        separator = " "
    cells = source.frame.select(pl.col(column).alias("value")).with_row_index("row")
    if cells.schema["value"] == pl.String and separator is not None:
        cells = cells.with_columns(pl.col("value").str.split(separator))
    while isinstance(cells.schema["value"], pl.List):
        cells = cells.explode("value")
    dtype = cells.schema["value"]
    if isinstance(dtype, pl.Struct):
        fields = [part.name for part in dtype.fields]
        if field not in fields:
            raise DataError(
                f"Expected 'field' to be one of {', '.join(fields)} for column '{column}' of "
                f"{source.label}, got {field}; name it in dataset.yaml"
            )
        cells = cells.with_columns(pl.col("value").struct.field(field).alias("value"))
    elif dtype.is_numeric():
        cells = cells.with_columns(ids(cells["value"]).alias("value"))
    value = pl.col("value").cast(pl.String).fill_null("")
    for pattern in strip:
        value = value.str.replace_all(pattern, "")
    clean = value.str.replace_all(r"\s+", " ").str.strip_chars()
    return cells.select(pl.col("row").cast(pl.Int64), clean.alias("value"))


def is_missing(column: str, missing: Sequence[str]) -> pl.Expr:
    """Return where a text column is empty or one of the words that mean "nothing"."""
    return ~_known(pl.col(column), missing)
