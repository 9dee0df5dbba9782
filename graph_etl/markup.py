"""HTML from Python values; what is not markup already is escaped, so data cannot break a page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

_CONTROL = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160), 0xFFFE, 0xFFFF])


class Markup(str):
    """HTML that may stand in a page as it is."""

    __slots__ = ()


Content = str | int | float | None


def text(value: Content) -> Markup:
    """Return a value escaped for content and attributes; markup stays as it is, None is empty.

    Control characters are left out and lone surrogates replaced: neither may stand in HTML.
    """
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup()
    clean = str(value).translate(_CONTROL).encode("utf-8", "replace").decode("utf-8")
    return Markup(html.escape(clean, quote=True))


def join(parts: Iterable[Content]) -> Markup:
    """Return the parts one after another, each escaped as ``text`` says."""
    return Markup("".join(map(text, parts)))


def tag(name: str, *content: Content, **attributes: Any) -> Markup:
    """Return an element.

    Args:
        name: Its name.
        content: What stands in it, escaped as ``text`` says.
        attributes: Values are escaped; None and False leave the attribute out, True gives it
            without a value. A trailing underscore is dropped ("class_") and others become hyphens.
    """
    shown = [
        key.rstrip("_").replace("_", "-") + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    opening = " ".join([name, *shown])
    return Markup(f"<{opening}>{join(content)}</{name}>")


def from_data(value: Content) -> Markup:
    """Return a title or name from data, set apart so that its writing direction stays inside."""
    return tag("bdi", value)


def table(
    headings: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    *,
    row_classes: Sequence[str] = (),
    caption: Content = None,
) -> Markup:
    """Return a table that scrolls sideways where it is too wide.

    Args:
        headings: One for each column.
        rows: Cells; the first of each is the row's heading.
        row_classes: Class of each row; empty for none.
        caption: Above the table.
    """
    body = []
    for number, (first, *others) in enumerate(rows):
        cells = [tag("th", first, scope="row"), *(tag("td", cell) for cell in others)]
        body.append(tag("tr", *cells, class_=row_classes[number] if row_classes else None))
    head = tag("tr", *(tag("th", heading, scope="col") for heading in headings))
    title = tag("caption", caption) if caption else None
    inner = tag("table", title, tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0")


def folded(summary: Content, *content: Content) -> Markup:
    """Return content that is shown on demand."""
    return tag("details", tag("summary", summary), *content)
