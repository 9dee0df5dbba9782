"""Finding what an engine quotes in the text it quotes from; nothing that is not there is accepted.

The stated normalisation, applied to both: Unicode NFKC, case folded, runs of white space as one
space, typographic quotes and dashes as plain ones. Everything else has to agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from graph_etl.extraction.records import Span

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
    }
)
# Scripts written without spaces: between two of their characters a name may begin or end.
_UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, slots=True)
class FoldedText:
    """A text in its normalised form, and where each character of it comes from.

    Attributes:
        text: The normalised text.
        starts, ends: For each of its characters the range of the original that it stands for.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def find(self, quote: str, within: Span | None = None) -> Span | None:
        """Return where the original says ``quote``; None where it does not.

        Args:
            quote: What is looked for; normalised here.
            within: A range of the original that the match must lie in.
        """
        return next(self.occurrences(quote, within), None)

    def occurrences(self, quote: str, within: Span | None = None) -> Iterator[Span]:
        """Yield all places where the original says ``quote`` as whole words, from the left."""
        wanted = folded(quote).text.strip()
        if not wanted:
            return
        at = self.text.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            span = (self.starts[at], self.ends[end - 1])
            inside = within is None or (within[0] <= span[0] and span[1] <= within[1])
            if inside and _is_apart(self.text, at) and _is_apart(self.text, end):
                yield span
            at = self.text.find(wanted, at + 1)


def folded(text: str) -> FoldedText:
    """Return a text in its normalised form.

    >>> folded("The  “Café”").text
    'the "café"'
    """
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _clusters(text):
        for character in _folded_cluster(text[start:end]):
            if character == " " and characters and characters[-1] == " ":
                ends[-1] = end
                continue
            characters.append(character)
            starts.append(start)
            ends.append(end)
    return FoldedText("".join(characters), tuple(starts), tuple(ends))


def _clusters(text: str) -> Iterator[Span]:
    """Yield ranges of a character with the combining marks that follow it."""
    start = 0
    for position in range(1, len(text) + 1):
        if position == len(text) or not unicodedata.combining(text[position]):
            yield start, position
            start = position


def _folded_cluster(cluster: str) -> str:
    plain = unicodedata.normalize("NFKC", cluster.translate(_PLAIN)).casefold()
    return re.sub(r"\s+", " ", plain)


def _is_apart(text: str, at: int) -> bool:
    """Whether a name may begin or end at a position: no word goes on across it."""
    if at in (0, len(text)):
        return True
    before, after = text[at - 1], text[at]
    if not (before.isalnum() and after.isalnum()):
        return True
    return bool(_UNSPACED.match(before) or _UNSPACED.match(after))
