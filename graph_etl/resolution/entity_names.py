"""Names of attribute entities to comparable forms; which two names are one is decided elsewhere.

A name has a kind: "person", "organisation" or plain "words"; the kind says which of its words are
suffixes, initials or legal forms. The words themselves are data: name_words.yaml.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from graph_etl.resolution.normalise import LETTERS, load_words

NameKind = Literal["person", "organisation", "words"]

_WORDS = Path(__file__).with_name("name_words.yaml")
_APOSTROPHES = frozenset("'’‘`´ʻʼ")
_KEPT_SIGNS = frozenset("#%@")  # C and C# are two things
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[.,](?=\d)")
_POINT = "\ue000"  # private use: stands for the point of 2.0 while punctuation goes
_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_ROMAN = {"ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8", "ix": "9"}
_ACCENTED_SCRIPTS = ("LATIN", "GREEK")  # elsewhere a mark makes another letter


class NameWords(BaseModel):
    """The word lists of name_words.yaml; each maps a token to the one it is compared as."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suffixes: dict[str, str]
    """What stands behind a person's name."""
    legal_forms: dict[str, str]
    """Legal forms of organisations."""
    organisation_words: dict[str, str]
    """Other words of organisations that are written in two ways."""


@dataclass(frozen=True)
class NameForms:
    """What two names are compared by.

    Attributes:
        key: Equal for two names that are one but for case, accents, punctuation, the spaces of
            initials and the spelling of suffixes; stage "exact" merges by it.
        tokens: The words of the name, its suffix, legal form and brackets apart.
        suffix: A person's suffix, or an organisation's legal form; "" without one.
        bracket: What stands in brackets, as tokens.
        numbers: Digits, small number words and Roman numerals among the tokens, in order.
    """

    key: str
    tokens: tuple[str, ...]
    suffix: str
    bracket: tuple[str, ...]
    numbers: tuple[str, ...]


@cache
def load_name_words() -> NameWords:
    """Return the shipped word lists."""
    return NameWords.model_validate(yaml.safe_load(_WORDS.read_bytes()))


def name_forms(name: str, kind: NameKind = "words", *, last_first: bool = False) -> NameForms:
    """Return the forms of a name.

    A name of nothing but punctuation keeps it: "!!!" is a name, and not that of "???".

    Args:
        name: As spelled; any characters, of any length.
        kind: What the name names.
        last_first: Whether "Last, First" is turned round.

    Example:
        >>> name_forms("J. R. R. Tolkien", "person").key
        'jrr tolkien'
        >>> name_forms("Tolkien, J.R.R.", "person", last_first=True).key
        'jrr tolkien'
        >>> name_forms("Warner Bros. Inc.", "organisation").key
        'warner brothers inc'
    """
    words = load_name_words()
    text = unicodedata.normalize("NFKC", name)
    if last_first:
        text = _turned(text, words)
    inside = tuple(token for part in _BRACKETS.findall(text) for token in _tokens(part))
    tokens = _tokens(_BRACKETS.sub(" ", text))
    if not tokens:  # nothing but brackets or punctuation
        inside, tokens = (), _tokens(text)
    if not tokens:
        bare = " ".join(text.lower().split())
        return NameForms(bare, (bare,), "", (), ())
    suffix: list[str] = []
    if kind == "person":
        while len(tokens) > 1 and tokens[-1] in words.suffixes:
            suffix.insert(0, words.suffixes[tokens.pop()])
    elif kind == "organisation":
        tokens = [words.organisation_words.get(token, token) for token in _joined(tokens)]
        while len(tokens) > 1 and tokens[-1] in words.legal_forms:
            suffix.insert(0, words.legal_forms[tokens.pop()])
            if len(tokens) > 1 and tokens[-1] == "and":  # GmbH & Co. KG
                tokens.pop()
    behind = [*suffix, *(f"({token})" for token in inside)]
    return NameForms(
        key=" ".join([*_joined(tokens), *behind]),
        tokens=tuple(tokens),
        suffix=" ".join(suffix),
        bracket=inside,
        numbers=_numbers(tokens),
    )


def _turned(text: str, words: NameWords) -> str:
    """Return "Last, First" as "First Last"; "Last, Jr." and other commas stay."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and _tokens(parts[2]) and set(_tokens(parts[2])) <= words.suffixes.keys():
        return f"{parts[1]} {parts[0]} {parts[2]}"
    if len(parts) != 2 or not all(parts) or set(_tokens(parts[1])) <= words.suffixes.keys():
        return text
    return f"{parts[1]} {parts[0]}"


def _tokens(text: str) -> list[str]:
    text = _BETWEEN_DIGITS.sub(lambda found: _POINT if found.group() == "." else "", text)
    folded = "".join(map(_folded, unicodedata.normalize("NFC", text.casefold())))
    return folded.replace(_POINT, ".").split()


@cache
def _folded(character: str) -> str:
    """Return what a lower-case character is compared as: a letter, "" or a space."""
    if character == "&":
        return " and "
    if character in _APOSTROPHES or character == "\ufe0f":  # the latter asks for a coloured emoji
        return ""
    if character in _KEPT_SIGNS or character == _POINT:
        return character
    category = unicodedata.category(character)
    if category == "Cf":  # zero-width characters and marks of direction
        return ""
    if category[0] in "PZC":
        return " "
    letters = unicodedata.normalize("NFKD", character).translate(LETTERS)
    if not unicodedata.name(character, "").startswith(_ACCENTED_SCRIPTS):
        return "" if character in "\u0307\u0301\u0308" else unicodedata.normalize("NFC", letters)
    return "".join(c for c in letters if not unicodedata.combining(c))


def _joined(tokens: list[str]) -> list[str]:
    """Return tokens with runs of single letters as one: j r r tolkien -> jrr tolkien."""
    joined: list[str] = []
    in_run = False
    for token in tokens:
        single = len(token) == 1 and token.isalpha()
        if single and in_run:
            joined[-1] += token
        else:
            joined.append(token)
        in_run = single
    return joined


def _numbers(tokens: list[str]) -> tuple[str, ...]:
    units = load_words().units
    values = (
        token if any(c.isdigit() for c in token) else _ROMAN.get(token, units.get(token))
        for token in tokens
    )
    return tuple(str(value) for value in values if value is not None)
