"""The rounds of linking, from the surest way in which two titles meet to the least sure.

Each round says which pairs are proposed, how far apart their years may be, and what shared
evidence it wants. Order and strictness are the rules of the house; linking.py carries them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from graph_etl.resolution.candidates import (
    Pair,
    Record,
    alternative_keys,
    bare_keys,
    equal_keys,
    full_keys,
    name_keys,
    part_keys,
    similar_titles,
    unnumbered_keys,
)
from graph_etl.resolution.link_config import LinkConfig, Method
from graph_etl.resolution.normalise import TitleWords

Propose = Callable[[Sequence[Record], Sequence[Record], TitleWords, LinkConfig], Iterable[Pair]]


def year_gap(item: Record, fact: Record) -> int | None:
    """Return the fact's year less the item's, None where one of them is unknown."""
    return None if item.year is None or fact.year is None else fact.year - item.year


def shared_values(item: Record, fact: Record) -> int:
    """Return how many evidence values the two have in common, over all columns."""
    return sum(len(a & b) for a, b in zip(item.evidence, fact.evidence, strict=True))


def shared_share(item: Record, fact: Record) -> float | None:
    """Return the shared part (0-1) of the shorter list of values, over the columns known to both.

    None where no column is known to both.
    """
    known = [(a, b) for a, b in zip(item.evidence, fact.evidence, strict=True) if a and b]
    if not known:
        return None
    return sum(len(a & b) for a, b in known) / sum(min(len(a), len(b)) for a, b in known)


@dataclass(frozen=True)
class Round:
    """One way of meeting.

    Attributes:
        method: Its name in links.
        propose: Gives the candidate pairs, years and evidence aside.
        shifted: Whether it is for years that differ (by at most the tolerance) or that are equal.
        evidence: What shared attribute values must say. "tie": nothing, they only decide among
            several facts. "agree": a pair that both sides know values of and that shares none is
            refused, except where it met under a specific title. "share": some value is shared (of
            a one-word title more than half), or a specific title where nothing can be compared.
        ranks_by_similarity: Whether likeness chooses among an item's candidates.
    """

    method: Method
    propose: Propose
    shifted: bool
    evidence: Literal["tie", "agree", "share"]
    ranks_by_similarity: bool = False

    def year_fits(self, item: Record, fact: Record, config: LinkConfig) -> bool:
        """Whether the years of a pair are those this round is for."""
        if config.year_tolerance is None:
            return not self.shifted
        gap = year_gap(item, fact)
        if gap is None:
            if config.missing_year == "refuse":
                return False
            both_unknown = item.year is None and fact.year is None
            return both_unknown != self.shifted
        return 0 < abs(gap) <= config.year_tolerance if self.shifted else gap == 0

    def evidence_fits(self, pair: Pair, item: Record, fact: Record, config: LinkConfig) -> bool:
        """Whether the shared attributes of a pair are enough for this round."""
        if self.evidence == "tie":
            return True
        shared = shared_share(item, fact)
        if shared is None:
            return self.evidence == "agree" or pair.words >= config.specific_words
        if pair.words == 1 and self.evidence == "share":
            return shared > 0.5
        return shared > 0 or (self.evidence == "agree" and pair.words >= config.specific_words)


def _exact(
    items: Sequence[Record], facts: Sequence[Record], words: TitleWords, _: LinkConfig
) -> Iterable[Pair]:
    return equal_keys(items, facts, full_keys, full_keys, words)


def _bare(
    items: Sequence[Record], facts: Sequence[Record], words: TitleWords, _: LinkConfig
) -> Iterable[Pair]:
    return (p for p in equal_keys(items, facts, bare_keys, bare_keys, words) if p.words > 1)


def _named(
    items: Sequence[Record], facts: Sequence[Record], words: TitleWords, _: LinkConfig
) -> Iterable[Pair]:
    """A title in brackets on one side that is a whole title of the other."""
    return _distinct(
        equal_keys(items, facts, alternative_keys, name_keys, words),
        equal_keys(items, facts, name_keys, alternative_keys, words),
    )


def _distinct(*found: Iterable[Pair]) -> Iterable[Pair]:
    return {(pair.item, pair.fact): pair for pair in chain(*found)}.values()


def _parts(
    items: Sequence[Record], facts: Sequence[Record], words: TitleWords, _: LinkConfig
) -> Iterable[Pair]:
    """A whole title that is the other's main title, subtitle, or title without its owner."""
    return _distinct(
        equal_keys(items, facts, part_keys, name_keys, words),
        equal_keys(items, facts, name_keys, part_keys, words),
    )


def _unnumbered(
    items: Sequence[Record], facts: Sequence[Record], words: TitleWords, _: LinkConfig
) -> Iterable[Pair]:
    """Two titles that differ by a number which one of them lacks."""
    found = equal_keys(items, facts, unnumbered_keys, unnumbered_keys, words)
    return (p for p in found if _one_lacks_numbers(items[p.item], facts[p.fact]))


def _one_lacks_numbers(item: Record, fact: Record) -> bool:
    return not (_has_number(item) and _has_number(fact))


def _has_number(record: Record) -> bool:
    return any(token.isdigit() for token in record.forms.full.split())


def _similar(
    items: Sequence[Record], facts: Sequence[Record], words: TitleWords, config: LinkConfig
) -> Iterable[Pair]:
    return similar_titles(items, facts, config.similar_threshold, words)


ROUNDS: tuple[Round, ...] = (
    Round("exact", _exact, shifted=False, evidence="tie"),
    Round("without_article", _bare, shifted=False, evidence="agree"),
    Round("alternative_title", _named, shifted=False, evidence="share"),
    Round("year_shifted", _exact, shifted=True, evidence="agree"),
    Round("alternative_title", _named, shifted=True, evidence="share"),
    Round("part_of_title", _parts, shifted=False, evidence="share"),
    Round("part_of_title", _unnumbered, shifted=False, evidence="share"),
    Round("similar", _similar, shifted=False, evidence="share", ranks_by_similarity=True),
    Round("part_of_title", _parts, shifted=True, evidence="share"),
)
