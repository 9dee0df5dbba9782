"""Cutting a long text into parts at the ends of sentences, positions kept."""

from __future__ import annotations

import re

from graph_etl.extraction.records import Span

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+[」』”’]*\s*|\n+")
_SPACE = re.compile(r"\s")


def sentences(text: str) -> list[Span]:
    """Return the ranges of the sentences; together they are the whole text."""
    found, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        found.append((start, match.end()))
        start = match.end()
    if start < len(text):
        found.append((start, len(text)))
    return found


def parts_of(text: str, max_characters: int) -> list[Span]:
    """Return ranges of whole sentences of at most ``max_characters``, which cover the text.

    A sentence that is longer is cut at its last white space that fits, else where it must be.
    Parts without any letter or digit are left out.
    """
    parts: list[Span] = []
    start, end = 0, 0
    for _, stop in sentences(text):
        if stop - start > max_characters and end > start:
            parts.append((start, end))
            start = end
        while stop - start > max_characters:
            cut = _last_space(text, start, start + max_characters)
            parts.append((start, cut))
            start = cut
        end = stop
    if end > start:
        parts.append((start, end))
    return [(start, end) for start, end in parts if any(one.isalnum() for one in text[start:end])]


def sentence_around(text: str, span: Span) -> Span:
    """Return the range from the start of the first to the end of the last sentence of a span."""
    touched = [one for one in sentences(text) if one[0] < span[1] and span[0] < one[1]]
    start, end = touched[0][0], touched[-1][1]
    stretch = text[start:end]
    return (
        start + len(stretch) - len(stretch.lstrip()),
        end - (len(stretch) - len(stretch.rstrip())),
    )


def _last_space(text: str, start: int, end: int) -> int:
    for position in range(end - 1, max(start, end - 200), -1):
        if _SPACE.match(text[position]):
            return position + 1
    return end
