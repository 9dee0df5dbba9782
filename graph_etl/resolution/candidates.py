"""Candidate pairs of an item and a fact, by each way in which two titles can name one thing.

Proposes, with the similarity of each pair; choosing among what is proposed is the business of
linking.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz
from rapidfuzz.distance import Indel

from graph_etl.resolution.blocking import near_pairs
from graph_etl.resolution.normalise import (
    TitleForms,
    TitleWords,
    squashed,
    without_article,
    without_numbers,
)

_WORD_LIKENESS = 0.8  # of two words that are taken as two spellings of one


@dataclass(frozen=True)
class Record:
    """One row of either table, ready to be compared.

    Attributes:
        forms: The keys of its title.
        year: Its year, None where unknown.
        evidence: For each evidence column, its folded values; empty where unknown.
    """

    forms: TitleForms
    year: int | None
    evidence: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True)
class Pair:
    """A proposed link.

    Attributes:
        item: Position in the items.
        fact: Position in the facts.
        similarity: How alike the keys are that the two met under, 0-1.
        words: Words of the longest key the two share, the leading article aside.
    """

    item: int
    fact: int
    similarity: float
    words: int


Keys = Callable[[TitleForms], Iterable[str]]


def full_keys(forms: TitleForms) -> tuple[str, ...]:
    """Return the whole title."""
    return (forms.full,)


def bare_keys(forms: TitleForms) -> tuple[str, ...]:
    """Return the whole title without its article."""
    return (forms.bare,)


def name_keys(forms: TitleForms) -> tuple[str, ...]:
    """Return every whole title: outside the brackets and inside, with and without articles."""
    return (forms.full, forms.bare, *alternative_keys(forms))


def alternative_keys(forms: TitleForms) -> tuple[str, ...]:
    """Return the titles in brackets, with and without articles."""
    return (*forms.alternatives, *forms.bare_alternatives)


def part_keys(forms: TitleForms) -> tuple[str, ...]:
    """Return the title before the subtitle, the subtitle, and the title without its owner."""
    return forms.parts


def unnumbered_keys(forms: TitleForms) -> tuple[str, ...]:
    """Return the title without its numbers, where at least three words are left."""
    key = without_numbers(forms.bare)
    return (key,) if len(key.split()) >= 3 else ()


def equal_keys(
    items: Sequence[Record],
    facts: Sequence[Record],
    item_keys: Keys,
    fact_keys: Keys,
    words: TitleWords,
) -> Iterator[Pair]:
    """Yield the pairs that share a key, spaces aside; their similarity is 1."""
    index: dict[str, list[int]] = defaultdict(list)
    for j, fact in enumerate(facts):
        for key in {squashed(key) for key in fact_keys(fact.forms)} - {""}:
            index[key].append(j)
    for i, item in enumerate(items):
        longest: dict[int, int] = {}
        for key in filter(None, item_keys(item.forms)):
            count = len(without_article(key, words).split())
            for j in index.get(squashed(key), ()):
                longest[j] = max(count, longest.get(j, 0))
        for j, count in sorted(longest.items()):
            yield Pair(i, j, 1.0, count)


def similar_titles(
    items: Sequence[Record], facts: Sequence[Record], threshold: float, words: TitleWords
) -> Iterator[Pair]:
    """Yield the pairs of titles that are one title spelled in two ways.

    At least ``threshold`` alike as a whole, the same numbers, and word for word (articles aside)
    either equal or near: "Twister" and "Twisted" are two words, "Marshals" and "Marshalls" one.
    """
    left, owners = _flatten(items)
    right, holders = _flatten(facts)
    best: dict[tuple[int, int], Pair] = {}
    for a, b in near_pairs(left, right):
        item, fact = owners[a], holders[b]
        same = squashed(left[a]) == squashed(right[b])  # a surer round refused it
        if same or not _spelled_alike(left[a], right[b], words):
            continue
        likeness = _likeness(left[a], right[b])
        known = best.get((item, fact))
        if likeness >= threshold and (known is None or likeness > known.similarity):
            best[item, fact] = Pair(item, fact, likeness, len(left[a].split()))
    yield from best.values()


def title_similarity(one: TitleForms, other: TitleForms) -> float:
    """Return the best similarity (0-1) of any whole title of one side with any of the other.

    Insertions and deletions of letters in the length of both, over keys without articles; names
    whose numbers differ count as nothing alike, so that a sequel never stands for its forerunner.
    """
    best = 0.0
    for a in _bare_names(one):
        for b in _bare_names(other):
            if _numbers(a) == _numbers(b):
                best = max(best, _likeness(a, b))
    return best


def _likeness(one: str, other: str) -> float:
    return fuzz.ratio(squashed(one), squashed(other)) / 100


def _spelled_alike(one: str, other: str, words: TitleWords) -> bool:
    """Whether two names have the same words in the same order but for a letter here and there."""
    left, right = ([w for w in key.split() if w not in words.all_articles] for key in (one, other))
    if len(left) != len(right) or _numbers(one) != _numbers(other):
        return False
    differing = [(a, b) for a, b in zip(left, right, strict=True) if a != b]
    return all(Indel.normalized_similarity(a, b) >= _WORD_LIKENESS for a, b in differing)


def _bare_names(forms: TitleForms) -> list[str]:
    return [name for name in (forms.bare, *forms.bare_alternatives) if name]


def _numbers(key: str) -> list[str]:
    return [token for token in key.split() if token.isdigit()]


def _flatten(records: Sequence[Record]) -> tuple[list[str], list[int]]:
    named = [(name, i) for i, record in enumerate(records) for name in _bare_names(record.forms)]
    return [name for name, _ in named], [i for _, i in named]
