"""Where known names stand in a text: exactly, as whole words, by a trie over words.

A name is looked for in the normalised form of grounding.py; what is found is what
``FoldedText.occurrences`` finds for each name, in one pass for all names. Which of overlapping
names counts is decided here too; what a name means is for the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from graph_etl.extraction.grounding import FoldedText, folded
from graph_etl.extraction.records import Span

# Scripts written without spaces, as in grounding.py: each character is a word of its own.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f\U00020000-\U0003ffff"
# A word, a character of such a script or any other sign, with the space before it.
_WORD = re.compile(f" ?(?:[^\\W_{_UNSPACED}]+|.)", re.DOTALL)
_NAME = ""  # the key of a node under which the name that ends there stands; no word is empty


@dataclass(frozen=True, slots=True)
class Found:
    """A known name in a text.

    Attributes:
        start, end: Where it stands, in the characters of the original.
        name: The name, normalised.
        size: Characters of what stands there, normalised.
        similarity: 1 where it stands exactly so, else less.
    """

    start: int
    end: int
    name: str
    size: int
    similarity: float = 1.0


class NameIndex:
    """Finds names in texts.

    Args:
        names: The names, normalised (``grounding.folded``) and stripped; empty ones are left out.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._root: dict[str, Any] = {}
        for name in names:
            node = self._root
            for word in _WORD.findall(name):
                node = node.setdefault(word, {})
            if name:
                node[_NAME] = name

    def all_in(self, text: FoldedText) -> Iterator[Found]:
        """Yield every place of every name, overlapping ones too."""
        words = [match.span() for match in _WORD.finditer(text.text)]
        written = [text.text[start:end] for start, end in words]
        for first, word in enumerate(written):
            node = self._root.get(word.lstrip(" "))
            if node is None:
                continue
            start = words[first][1] - len(word.lstrip(" "))
            place = first
            while node is not None:
                if name := node.get(_NAME):
                    end = words[place][1]
                    yield Found(text.starts[start], text.ends[end - 1], name, end - start)
                place += 1
                node = node.get(written[place]) if place < len(written) else None

    def longest_in(self, text: FoldedText) -> list[Found]:
        """Return places that do not overlap, from the left: the longest name, then the first."""
        return apart(sorted(self.all_in(text), key=lambda one: (-one.size, one.start, one.end)))


def apart(found: Iterable[Found], taken: Iterable[Span] = ()) -> list[Found]:
    """Return, from the left, each place that overlaps neither one before it nor a taken range."""
    covered = {at for start, end in taken for at in range(start, end)}
    kept = []
    for one in found:
        characters = range(one.start, one.end)
        if covered.isdisjoint(characters):
            covered.update(characters)
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)


def normalised(name: str) -> str:
    """Return a name as it is looked for."""
    return folded(name).text.strip()
