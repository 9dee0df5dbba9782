"""Bars and intervals as plain HTML, which bends to any width, and lines as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from graph_etl.markup import Content, Markup, tag
from kgrec.evaluation.statistics import Interval

WIDTH, HEIGHT = 380.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 12.0, 12.0, 34.0


@dataclass(frozen=True)
class Row:
    """One line of a chart.

    Attributes:
        label: What is shown, at its left.
        value: Where the bar ends or the dot stands.
        shown: The value in words, at its right.
        interval: Whiskers; None for none.
        kind: Class that gives the colour: "published", "ours", "reference", "baseline" or "".
    """

    label: Content
    value: float
    shown: str
    interval: Interval | None = None
    kind: str = ""


def bars(rows: Sequence[Row], *, caption: Content = None) -> Markup:
    """Return a bar for each row, from 0, with whiskers where there is an interval."""
    ends = [0.0, *(row.value for row in rows)]
    for row in rows:
        if row.interval is not None:
            ends += [row.interval.low, row.interval.high]
    finite = [end for end in ends if math.isfinite(end)]
    scale = _Scale(min(finite), max(finite))
    lines = []
    for row in rows:
        value = row.value if math.isfinite(row.value) else 0.0
        start, end = sorted((scale.place(0.0), scale.place(value)))
        marks = [_span("bar", start, end), _whisker(row, scale)]
        if scale.low < 0:
            marks.append(_span("zero", scale.place(0.0), None))
        lines.append(_line(row, marks))
    return _chart("bars", lines, caption)


def intervals(
    rows: Sequence[Row], *, reference: float | None = None, caption: Content = None
) -> Markup:
    """Return a dot with whiskers for each row, an upright line at ``reference``, and an axis.

    The axis does not start at 0: it spans the intervals.
    """
    ends = [row.value for row in rows]
    for row in rows:
        if row.interval is not None:
            ends += [row.interval.low, row.interval.high]
    margin = 0.03 * (max(ends) - min(ends)) or 0.01
    scale = _Scale(min(ends) - margin, max(ends) + margin)
    lines = []
    for row in rows:
        marks = [_whisker(row, scale), _span("dot", scale.place(row.value), None)]
        if reference is not None:
            marks.insert(0, _span("mark", scale.place(reference), None))
        lines.append(_line(row, marks))
    values = ticks(scale.low, scale.high, 5)
    step = _decimals_of(values)
    axis = [
        tag("span", f"{value:.{step}f}", style=f"left:{scale.place(value):.2f}%")
        for value in values
    ]
    lines.append(
        tag("div", tag("span"), tag("span", *axis, class_="ticks"), tag("span"), class_="line axis")
    )
    return _chart("intervals", lines, caption)


def shares(parts: Sequence[tuple[str, int]]) -> Markup:
    """Return one bar divided by counts, and under it what each part is; parts of 0 are left out."""
    total = sum(number for _, number in parts)
    shown = [(place, name, number) for place, (name, number) in enumerate(parts) if number]
    pieces = [
        tag("i", class_=f"part part{place % 6}", style=f"width:{100 * number / total:.2f}%")
        for place, _, number in shown
    ]
    names = [
        tag("li", tag("i", class_=f"chip part{place % 6}"), f"{name}: {number:,}")
        for place, name, number in shown
    ]
    return tag("div", tag("div", *pieces, class_="shares"), tag("ul", *names, class_="legend"))


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_name: str,
    y_name: str,
    marked: Mapping[str, float] | None = None,
) -> Markup:
    """Return a line chart as SVG with its legend.

    Args:
        series: Name -> points (x, y), x ascending, at least one.
        x_name: Under the axis.
        y_name: Title of the chart.
        marked: Name -> x of the point that is drawn large.
    """
    points = [point for line in series.values() for point in line]
    across = _Scale(min(x for x, _ in points), max(x for x, _ in points), LEFT, WIDTH - RIGHT)
    span = max(y for _, y in points) - min(y for _, y in points)
    low = min(y for _, y in points) - 0.05 * span
    up = _Scale(low, max(y for _, y in points) + 0.05 * span, HEIGHT - BOTTOM, TOP)
    content: list[Content] = [tag("title", f"{y_name} by {x_name}"), *_axes(across, up, x_name)]
    for number, (name, line) in enumerate(series.items()):
        path = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in line)
        content.append(tag("polyline", points=path, class_=f"curve curve{number % 4}"))
        for x, y in line:
            large = marked is not None and marked.get(name) == x
            content.append(
                tag(
                    "circle",
                    tag("title", f"{name}: {y:.4f} at {x:g}"),
                    cx=f"{across.place(x):.1f}",
                    cy=f"{up.place(y):.1f}",
                    r="5" if large else "2.5",
                    class_=f"point curve{number % 4}",
                )
            )
    drawing = tag("svg", *content, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img")
    names = [
        tag("li", tag("i", class_=f"chip curve{number % 4}"), name)
        for number, name in enumerate(series)
    ]
    return tag("figure", tag("figcaption", y_name), drawing, tag("ul", *names, class_="legend"))


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return round values between two ends, about ``wanted`` of them.

    >>> ticks(0.0, 1.0, 4)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 5) if m * power >= raw * 0.75), 10 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


class _Scale:
    """Values to places, in per cent of a track or in units of a drawing."""

    def __init__(self, low: float, high: float, start: float = 0.0, end: float = 100.0) -> None:
        self.low, self.high = low, high if high > low else low + 1.0
        self.start, self.end = start, end

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def _axes(across: _Scale, up: _Scale, x_name: str) -> list[Markup]:
    parts = []
    values = ticks(up.low, up.high, 4)
    digits = _decimals_of(values)
    for y in values:
        at = f"{up.place(y):.1f}"
        parts.append(tag("line", x1=f"{LEFT:g}", x2=f"{WIDTH - RIGHT:g}", y1=at, y2=at))
        parts.append(
            tag("text", f"{y:.{digits}f}", x=f"{LEFT - 6:g}", y=at, class_="end", dy="0.35em")
        )
    bottom = f"{HEIGHT - BOTTOM + 15:g}"
    for x in ticks(across.low, across.high, 5):
        at = f"{across.place(x):.1f}"
        parts.append(tag("text", f"{x:g}", x=at, y=bottom, class_="middle"))
    middle = f"{(LEFT + WIDTH - RIGHT) / 2:g}"
    parts.append(tag("text", x_name, x=middle, y=f"{HEIGHT - 3:g}", class_="middle"))
    return parts


def _decimals_of(values: Sequence[float]) -> int:
    """Return how many places tell the ticks apart."""
    step = min((b - a for a, b in pairwise(values)), default=1.0)
    return max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0


def _span(kind: str, start: float, end: float | None) -> Markup:
    width = "" if end is None else f";width:{max(end - start, 0.0):.2f}%"
    return tag("i", class_=kind, style=f"left:{start:.2f}%{width}")


def _whisker(row: Row, scale: _Scale) -> Markup:
    if row.interval is None or not math.isfinite(row.interval.low + row.interval.high):
        return Markup()
    return _span("whisker", scale.place(row.interval.low), scale.place(row.interval.high))


def _line(row: Row, marks: Sequence[Markup]) -> Markup:
    return tag(
        "div",
        tag("span", row.label, class_="label"),
        tag("span", *marks, class_="track"),
        tag("span", row.shown, class_="number"),
        class_=" ".join(filter(None, ["line", row.kind])),
    )


def _chart(kind: str, lines_: Sequence[Markup], caption: Content) -> Markup:
    head = tag("figcaption", caption) if caption else None
    return tag("figure", head, *lines_, class_=f"chart {kind}")
