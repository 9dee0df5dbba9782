"""Known names that a text spells otherwise: few candidates by first letters and length, compared.

Only stretches that look like names are tried: of as many words as the name, beginning and ending
with a word that is not in small letters, over the same first letters. Exact names are
name_index.py's business.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from rapidfuzz import process
from rapidfuzz.distance import Indel

from graph_etl.extraction.name_index import Found, normalised

MIN_CHARACTERS = 6
"""Shorter names differ from too many other words by one letter."""
_SAME_LETTERS = 3
_MAX_WORDS = 6
_WORD = re.compile(r"\w+(?:['’\-.]\w+)*")


class NearNames:
    """Finds names that are spelled otherwise.

    Args:
        names: The names, normalised; those under MIN_CHARACTERS are left out.
        least: Least similarity, the normalised Indel similarity 2 * common / (length of both).
    """

    def __init__(self, names: Iterable[str], least: float) -> None:
        self._least = least
        self._names: dict[tuple[str, int, int], list[str]] = defaultdict(list)
        for name in sorted(names):
            words = len(_WORD.findall(name))
            if len(name) >= MIN_CHARACTERS and 0 < words <= _MAX_WORDS:
                self._names[(name[:_SAME_LETTERS], words, len(name))].append(name)
        self._starts = {letters for letters, _, _ in self._names}

    def all_in(self, text: str) -> Iterator[Found]:
        """Yield every stretch that is near a name, with the nearest one."""
        words = [match.span() for match in _WORD.finditer(text)]
        named = [not text[start].islower() for start, _ in words]
        for first, (start, _) in enumerate(words):
            if not named[first] or normalised(text[start : start + 4])[:_SAME_LETTERS] not in (
                self._starts
            ):
                continue
            for count in range(1, min(_MAX_WORDS, len(words) - first) + 1):
                end = words[first + count - 1][1]
                if named[first + count - 1] and (near := self._nearest(text, start, end, count)):
                    yield near

    def _nearest(self, text: str, start: int, end: int, words: int) -> Found | None:
        said = normalised(text[start:end])
        if len(said) < MIN_CHARACTERS:
            return None
        best: tuple[float, str] = (0.0, "")
        # Lengths a and b allow a similarity of at most 2 min(a, b) / (a + b).
        slack = 2 / self._least - 1
        for length in range(int(len(said) / slack), int(len(said) * slack) + 1):
            names = self._names.get((said[:_SAME_LETTERS], words, length), ())
            found = process.extractOne(
                said, names, scorer=Indel.normalized_similarity, score_cutoff=self._least
            )
            if found is not None and found[1] > best[0]:
                best = (found[1], found[0])
        return Found(start, end, best[1], len(said), best[0]) if best[0] else None
