"""How a text table without a word on it is written: its separator, its quotes, its escapes.

Reading it is for table_formats.py.
"""

from __future__ import annotations

import csv
import re

_SEPARATORS = (",", ";", "\t", "|")


def separator_of(content: bytes) -> str:
    r"""Return the separator that the header line shows: a comma, else ";", tab or "|".

    >>> separator_of(b'"ISBN";"Book-Title, Subtitle"\n')
    ';'
    """
    header = _line(content)
    for separator in _SEPARATORS:
        if separator in _outside_quotes(header):
            return separator
    return ","


def quote_of(content: bytes, separator: str) -> str | None:
    r"""Return the quote character: '"' with "," and ";", and wherever the first cell has it.

    Tables with tabs or bars are mostly written without: a quote in them is a character.

    >>> quote_of(b"id|name\n", "|"), quote_of(b'"id"|"name"\n', "|")
    (None, '"')
    """
    return '"' if separator in ",;" or content.startswith(b'"') else None


def first_cells(content: bytes, separator: str, quote: str | None) -> list[str]:
    """Return the cells of the first line."""
    line = _line(content)
    if quote is None:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator, quotechar=quote))


def doubled_quotes(content: bytes, separator: str, quote: str) -> bytes:
    r"""Return the content with doubled quotes in cells where backslashes stand before them.

    A quote inside a cell is doubled in CSV; some databases write a backslash before it. A file is
    of theirs where a backslash and a quote are followed by what may not follow the end of a cell.

    >>> doubled_quotes(b'"Rides \\"J.\\" again";"x"\n', ";", '"')
    b'"Rides ""J."" again";"x"\n'
    """
    mark = re.escape(quote.encode())
    inside = re.escape(separator.encode()) + rb"\r\n" + mark
    if not re.search(rb"\\" + mark + rb"[^" + inside + rb"]", content):
        return content
    twice = quote.encode() * 2
    return re.sub(
        rb"\\(\\|" + mark + rb")", lambda found: b"\\" if found[1] == b"\\" else twice, content
    )


def _line(content: bytes) -> str:
    return content.split(b"\n", 1)[0].decode()


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)
