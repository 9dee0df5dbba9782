"""Titles to comparable keys: one title in, its full, alternative, main and tail forms out.

Knows how titles are written (articles, accents, numerals, brackets, subtitles), and nothing about
which title belongs to which; that is linking.py. The words it uses are data: title_words.yaml.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graph_etl.errors import ConfigError

DEFAULT_WORDS = Path(__file__).with_name("title_words.yaml")

# Letters that Unicode does not decompose into a base letter and an accent.
LETTERS = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
_APOSTROPHES = re.compile(r"['’‘`´ʻʼ*]")
_ACRONYM = re.compile(r"\b(?:\w\.){2,}\w?|\b\w(?:\.\w)+\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_TOKEN = re.compile(r"[^\W_]+|[&+]")
_BRACKETS = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_POSSESSIVE = re.compile(r"(?:[\w.&'’-]+\s+){0,3}[\w.&-]+(?:['’]s|s['’])\s+(?=\S+\s+\S)")
_YEAR = re.compile(r"(?:18|19|20)\d\d")
_ROMAN = re.compile(r"(?=[ivx])x{0,3}(?:ix|iv|v?i{0,3})")
_ROMAN_VALUES = {"i": 1, "v": 5, "x": 10}


class TitleWords(BaseModel):
    """The word lists of title_words.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    articles: dict[str, tuple[str, ...]]
    """Articles by language, that may stand behind the last comma."""
    leading_articles: frozenset[str]
    """Articles that the weaker, article-free key leaves out from the front."""
    same_words: dict[str, str]
    """Token to the spelling it is compared as."""
    units: dict[str, int]
    """Number words 0-19."""
    tens: dict[str, int]
    """Number words 20, 30, ... 90."""
    scales: dict[str, int]
    """Number words that multiply what stands before them."""
    numbered_words: frozenset[str]
    """Words after which a lone "i" is a number."""
    alias_prefixes: tuple[str, ...] = Field(default=())
    """What introduces another title inside brackets."""
    second_title_words: tuple[str, ...] = Field(default=())
    """Words that stand between two titles of one thing: "X, or Y"."""

    @cached_property
    def all_articles(self) -> frozenset[str]:
        """Every article of every language, with straight apostrophes."""
        return frozenset(word for words in self.articles.values() for word in words)

    @cached_property
    def subtitle_mark(self) -> re.Pattern[str]:
        """What stands between a title and its subtitle."""
        marks = [r"\s*:\s+", r"\s+[-–—]+\s+", r"\s*[–—]\s*"]
        if self.second_title_words:
            joined = "|".join(map(re.escape, self.second_title_words))
            marks[:0] = [rf"[,;]?\s+(?:{joined})\s*:\s+", rf"[,;]\s+(?:{joined})\b,?\s+"]
        return re.compile("|".join(marks), re.IGNORECASE)


@dataclass(frozen=True)
class TitleForms:
    """The keys a title may be met under; a key is lower-case tokens joined by single spaces.

    Attributes:
        full: The title without its brackets, article in front: "the godfather pt 2".
        bare: ``full`` without a leading article.
        alternatives: The titles in brackets, each normalised like ``full``, and the title read
            with its brackets as part of it.
        bare_alternatives: ``alternatives`` without leading articles, in the same order.
        main: What stands before a subtitle, "" where there is none.
        tail: The last subtitle, "" where there is none.
        unowned: The title without the owner before it ("Bram Stoker's Count Dracula"), "" where
            none is named or fewer than two words would be left.
        parts: ``main``, ``tail`` (of two words or more) and ``unowned``, those there are, without
            leading articles.
        year: The year in the title's last bracket, None where there is none.
    """

    full: str
    bare: str
    alternatives: tuple[str, ...]
    bare_alternatives: tuple[str, ...]
    main: str
    tail: str
    unowned: str
    parts: tuple[str, ...]
    year: int | None


@cache
def load_words(path: Path = DEFAULT_WORDS) -> TitleWords:
    """Return the word lists of a YAML file.

    Raises:
        ConfigError: The file is absent, or is not of the form of title_words.yaml.
    """
    try:
        return TitleWords.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(
            f"Expected a file of title words like {DEFAULT_WORDS.name} (got {path}: {error}); "
            "mend it or leave 'words' out of the link configuration"
        ) from error


def title_forms(title: str, words: TitleWords | None = None) -> TitleForms:
    """Return every form under which this title may stand in another catalogue.

    Args:
        title: As the source writes it; "" gives empty forms.
        words: Word lists; None: the shipped ones.

    Example:
        >>> forms = title_forms("Postman, The (Postino, Il) (1994)")
        >>> forms.full, forms.alternatives[0], forms.year
        ('the postman', 'il postino', 1994)
    """
    words = words or load_words()
    outside, inside, year = _split_brackets(title)
    full = title_key(outside, words)
    turned = _article_to_front(outside, words)
    owner = _POSSESSIVE.match(turned)
    brackets = [title_key(_without_alias_prefix(text, words), words) for text in inside]
    if inside:
        whole = _BRACKETS.sub(lambda bracket: _unless_year(bracket.group()[1:-1]), title)
        brackets.append(title_key(whole, words))
    alternatives = tuple(dict.fromkeys(key for key in brackets if _is_name(key) and key != full))
    divided = [part for part in words.subtitle_mark.split(turned) if part.strip()]
    main = title_key(divided[0], words) if divided[1:] else ""
    tail = title_key(divided[-1], words) if divided[1:] else ""
    unowned = title_key(turned[owner.end() :], words) if owner else ""
    telling = [main, tail if len(without_numbers(tail).split()) > 1 else "", unowned]
    return TitleForms(
        full=full,
        bare=without_article(full, words),
        alternatives=alternatives,
        bare_alternatives=tuple(without_article(key, words) for key in alternatives),
        main=main,
        tail=tail,
        unowned=unowned,
        parts=tuple(without_article(key, words) for key in telling if key),
        year=year,
    )


def title_key(title: str, words: TitleWords | None = None) -> str:
    """Return a title without brackets as lower-case tokens joined by single spaces.

    Accents, punctuation and apostrophes go, "Godfather, The" turns round, numerals and number
    words become digits, and words of several spellings get one.

    Example:
        >>> title_key("Twelve Monkeys"), title_key("Misérables, Les"), title_key("Rocky II")
        ('12 monkeys', 'les miserables', 'rocky 2')
    """
    words = words or load_words()
    text = _fold(_article_to_front(title, words))
    text = _THOUSANDS.sub("", _APOSTROPHES.sub("", text))
    text = _ACRONYM.sub(lambda match: match.group().replace(".", ""), text)
    tokens = [words.same_words.get(token, token) for token in _TOKEN.findall(text)]
    return " ".join(_numbers_to_digits(tokens, words))


def without_article(key: str, words: TitleWords | None = None) -> str:
    """Return a key without its leading article; a key that is an article alone stays."""
    words = words or load_words()
    first, _, rest = key.partition(" ")
    return rest if rest and first in words.leading_articles else key


def squashed(key: str) -> str:
    """Return a key without spaces, so that "spider man" meets "spiderman"."""
    return key.replace(" ", "")


def without_numbers(key: str) -> str:
    """Return a key without its numbers and the words that announce them."""
    return " ".join(token for token in key.split() if not token.isdigit())


def _fold(text: str) -> str:
    spaced = "".join(f" {c}" if unicodedata.category(c) == "No" else c for c in text.casefold())
    decomposed = unicodedata.normalize("NFKD", spaced).casefold()  # NFKD makes capitals of some
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(LETTERS)


def _split_brackets(title: str) -> tuple[str, list[str], int | None]:
    """Return the title outside brackets, the texts inside them, and a year among those."""
    inside = [(a or b).strip() for a, b in _BRACKETS.findall(title)]
    outside = re.sub(r"\s+", " ", _BRACKETS.sub(" ", title)).strip()
    if not _TOKEN.search(outside):  # the title is nothing but a bracket
        return title, [], None
    years = [text for text in inside if _YEAR.fullmatch(text)]
    texts = [text for text in inside if text and not _YEAR.fullmatch(text)]
    return outside, texts, int(years[-1]) if years else None


def _unless_year(text: str) -> str:
    return "" if _YEAR.fullmatch(text.strip()) else text


def _article_to_front(title: str, words: TitleWords) -> str:
    """Turn "Hussard sur le toit, Le" round, also before a subtitle: "Sting, The: Part II"."""
    head, comma, article = title.rpartition(",")
    folded = article.strip().replace("’", "'").casefold()
    if comma and head.strip() and folded in words.all_articles:
        glue = "" if folded.endswith("'") else " "
        return f"{article.strip()}{glue}{head.strip()}"
    return title.strip()


def _without_alias_prefix(text: str, words: TitleWords) -> str:
    lowered = text.casefold().replace(".", "")
    for prefix in words.alias_prefixes:
        if lowered.startswith(prefix + " "):
            length = len(prefix.split())
            return " ".join(text.split()[length:]) or text
    return text


def _numbers_to_digits(tokens: Sequence[str], words: TitleWords) -> Iterator[str]:
    position = 0
    while position < len(tokens):
        value, used = _spelled_number(tokens[position:], words)
        if used:
            yield str(value)
            position += used
            continue
        before = tokens[position - 1] if position else ""
        yield _roman_to_digits(tokens[position], before, words)
        position += 1


def _spelled_number(tokens: Sequence[str], words: TitleWords) -> tuple[int, int]:
    """Return the value of the number words that ``tokens`` start with and how many they are."""
    total, current, used, last = 0, 0, 0, 0
    for count, token in enumerate(tokens, start=1):
        if token in words.units and (not used or last in (10, 100, 1000)):
            if last == 10 and not 0 < words.units[token] < 10:
                break
            current, last = current + words.units[token], 1
        elif token in words.tens and (not used or last in (100, 1000)):
            current, last = current + words.tens[token], 10
        elif token in words.scales and used and last in (1, 10, 100):
            last = words.scales[token]
            larger = last > total  # "one hundred thousand" against "one thousand two hundred"
            total = (total + current) * last if larger else total + current * last
            current = 0
        elif token == "and" and last in (100, 1000) and count < len(tokens):
            if tokens[count] not in words.units and tokens[count] not in words.tens:
                break
            continue
        else:
            break
        used = count
    return total + current, used


def _roman_to_digits(token: str, before: str, words: TitleWords) -> str:
    if not _ROMAN.fullmatch(token) or (token == "i" and before not in words.numbered_words):
        return token
    values = [_ROMAN_VALUES[letter] for letter in token]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return str(sum(-value if value < following else value for value, following in pairs))


def _is_name(key: str) -> bool:
    """A lone number or letter in brackets is no title of its own."""
    return len(key) > 1 and not key.isdigit()
