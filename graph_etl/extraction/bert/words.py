"""Words and sentences of a text, as ranges of its characters; nothing is changed or thrown away.

The rule: a character of a script that is written without spaces (Han, kana, Thai) is a word of its
own; elsewhere a run of letters, digits and their combining marks is one ("1,000.5" too), and so is
an abbreviation of single letters ("U.S."); every other visible character is a word by itself.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence

from graph_etl.extraction.records import Span

SHAPES = ("lower", "Capital", "UPPER", "miXed", "digits", "l3tters", "unspaced", "sign")
"""Kinds of words by their characters; what an uncased vocabulary no longer shows."""

NUM_FORMS = 4 * len(SHAPES)

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


def _marks() -> str:
    """Return the combining marks and joiners as a character class."""
    points = [
        point
        for point in range(0x300, min(0x10000, sys.maxunicode))
        if unicodedata.category(chr(point)).startswith("M")
    ]
    return "".join(map(chr, [*points, 0x200C, 0x200D]))


_MARK = f"[{_marks()}]"
_UNSEEN = "\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_LETTER = rf"(?:(?![{_UNSPACED}])[^\W_]{_MARK}*)"
_WORD = re.compile(
    rf"[{_UNSPACED}]{_MARK}*"
    rf"|(?:(?!\d){_LETTER}\.){{2,}}"
    rf"|{_LETTER}+(?:(?<=\d)[.,](?=\d){_LETTER}+)*"
    rf"|[^\s{_UNSEEN}]{_MARK}*"
)
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_ENDS = frozenset(".!?…。！？｡")
_CLOSERS = frozenset("\"')]}”’»」』）】")
_SHORT_FORMS = (
    "mr mrs ms dr prof st sr jr lt col gen sgt capt rev gov sen rep hon no vs al fig eq sec vol pp "
    "ca cf approx dept est ed eds jan feb mar apr jun jul aug sep sept oct nov dec"
)
_SHORT = frozenset(_SHORT_FORMS.split())


def words_of(text: str) -> list[Span]:
    """Return the words of a text from left to right.

    >>> text = "O. Wilde died in Paris."
    >>> [text[start:end] for start, end in words_of(text)]
    ['O', '.', 'Wilde', 'died', 'in', 'Paris', '.']
    """
    return [match.span() for match in _WORD.finditer(text)]


def shape_of(word: str) -> int:
    """Return the place of a word's shape in SHAPES."""
    if not any(map(str.isalnum, word)):
        return 7
    if word.isdigit():
        return 4
    if any(map(str.isdigit, word)):
        return 5
    if _UNSPACED_CHARACTER.match(word):
        return 6
    if word == word.lower():
        return 0
    if word[0] == word[0].upper() and word[1:] == word[1:].lower():
        return 1
    return 2 if word == word.upper() else 3


def forms_of(text: str, words: Sequence[Span]) -> list[int]:
    """Return what each word looks like, 0 to NUM_FORMS - 1: its shape, and where it touches others.

    In "Paris-based" nothing but that tells the name from one that stands alone.
    """
    forms = []
    for place, (start, end) in enumerate(words):
        before = place > 0 and words[place - 1][1] == start
        after = place + 1 < len(words) and words[place + 1][0] == end
        forms.append(shape_of(text[start:end]) + len(SHAPES) * (before + 2 * after))
    return forms


def sentences_of(text: str, words: Sequence[Span]) -> list[Span]:
    """Return sentences as half-open ranges of places in ``words``; together they are all words.

    A sentence ends after a full stop, question or exclamation mark and the closing signs behind
    it, where white space and no small letter follows (scripts without spaces need neither), and at
    an empty line. A full stop behind a single letter or a common short form ends none.
    """
    sentences, start = [], 0
    for place in range(1, len(words)):
        if _ends_before(text, words, place):
            sentences.append((start, place))
            start = place
    if words:
        sentences.append((start, len(words)))
    return sentences


def _ends_before(text: str, words: Sequence[Span], place: int) -> bool:
    gap = text[words[place - 1][1] : words[place][0]]
    if gap.count("\n") > 1:
        return True
    last, following = place - 1, text[words[place][0]]
    while last > 0 and text[words[last][0] : words[last][1]] in _CLOSERS:
        last -= 1
    end = text[words[last][0] : words[last][1]]
    if end[-1] not in _ENDS or following in _ENDS or (not gap and following in _CLOSERS):
        return False
    if end[-1] in "。！？｡":
        return True
    return bool(gap) and not following.islower() and not _is_short(text, words, last)


def _is_short(text: str, words: Sequence[Span], last: int) -> bool:
    """Whether the full stop at a place belongs to a short form, an initial or an abbreviation."""
    start, end = words[last]
    if text[start:end] != ".":
        return end - start > 1  # "U.S." may end a sentence; cutting one apart costs more
    if last == 0 or words[last - 1][1] < start - 1:
        return False
    before = text[words[last - 1][0] : words[last - 1][1]]
    single = len(before) == 1 and before.isalpha() and not _UNSPACED_CHARACTER.match(before)
    return single or before.lower() in _SHORT
