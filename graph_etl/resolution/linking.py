"""Links items of a catalogue to facts of another table by title, year and shared attributes.

Choosing among candidate pairs, in rounds from the surest way to the least sure, and accounting
for every item: linked, ambiguous or unlinked. A wrong link is worse than a missing one, so
whatever is contested is left alone. How pairs are proposed is the business of candidates.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from graph_etl.errors import DataError
from graph_etl.resolution.candidates import Pair, Record, title_similarity
from graph_etl.resolution.link_config import LinkConfig
from graph_etl.resolution.normalise import TitleWords, load_words, title_forms
from graph_etl.resolution.rounds import ROUNDS, Round, shared_values, year_gap
from graph_etl.resolution.verdicts import NO_VERDICTS, Verdicts, load_verdicts

_LINKS = {
    "item_id": pl.String(),
    "fact_id": pl.String(),
    "method": pl.String(),
    "similarity": pl.Float64(),
    "year_gap": pl.Int64(),
}
_AMBIGUOUS = {
    "item_id": pl.String(),
    "fact_ids": pl.List(pl.String()),
    "method": pl.String(),
    "reason": pl.String(),
}
_UNLINKED = {"item_id": pl.String(), "reason": pl.String()}


@dataclass(frozen=True)
class LinkResult:
    """What became of every item; the three tables together name each item exactly once.

    Attributes:
        links: item_id, fact_id, method (the round that made the link, or "reviewed" where only a
            verdict did), similarity (0-1, of the names the two met under: 1 where these are equal
            in letters), year_gap (fact's year less the item's, null where one is unknown).
        ambiguous: item_id, fact_ids (all that are equally good), method, reason: "several_facts"
            (one item, equally good facts) or "several_items" (one fact, different items).
        unlinked: item_id, reason: "no_year", "no_title", "no_match", "refused_by_evidence" (the
            only candidates share no attribute value with it), "judged_wrong" (by a verdict), or
            "duplicate" (under ``duplicates: first``).
        report: Counts: items, facts, linked, ambiguous, unlinked, by_method, ambiguous_by_reason,
            unlinked_by_reason, duplicate_items (items that repeat an earlier one).
    """

    links: pl.DataFrame
    ambiguous: pl.DataFrame
    unlinked: pl.DataFrame
    report: dict[str, Any]


def link_items(
    items: pl.DataFrame, facts: pl.DataFrame, config: LinkConfig | None = None
) -> LinkResult:
    """Link each item to at most one fact, and each fact to at most one item.

    The one exception to the latter: rows that repeat an item (same title, year and evidence under
    another id) share its link, as ``config.duplicates`` says.

    Args:
        items: Columns item_id (String, unique), title (String), year (integer, nullable), and the
            columns that ``config.evidence`` names: String or List(String), nullable.
        facts: Columns fact_id (String, unique), title, year and the same evidence columns.
        config: Rules; None: the defaults, without evidence.

    Returns:
        The links and an account of every item, in the order of ``items``.

    Raises:
        DataError: A column is absent or of another type, or an id is null or stands twice.
        ConfigError: The file of verdicts or of words cannot be used.

    Example:
        >>> items = pl.DataFrame({"item_id": ["1"], "title": ["Sting, The"], "year": [1973]})
        >>> facts = pl.DataFrame({"fact_id": ["q"], "title": ["The Sting"], "year": [1973]})
        >>> link_items(items, facts).links.row(0)
        ('1', 'q', 'exact', 1.0, 0)
    """
    config = config or LinkConfig()
    _check(items, "items", "item_id", config)
    _check(facts, "facts", "fact_id", config)
    verdicts = load_verdicts(config.reviewed) if config.reviewed else NO_VERDICTS
    words = load_words(config.words) if config.words else load_words()
    return _Linker(items, facts, config, verdicts, words).run()


class _Linker:
    """The state of one run: what is still free, what was decided."""

    def __init__(
        self,
        items: pl.DataFrame,
        facts: pl.DataFrame,
        config: LinkConfig,
        verdicts: Verdicts,
        words: TitleWords,
    ) -> None:
        self.config, self.verdicts, self.words = config, verdicts, words
        self.item_ids, self.fact_ids = items["item_id"].to_list(), facts["fact_id"].to_list()
        self.items = _records(items, config, words)
        self.facts = _records(facts, config, words)
        self.first_of = _first_of_duplicates(self.items, self.item_ids, verdicts)
        self.links: dict[int, tuple[int, str, float]] = {}
        self.ambiguous: dict[int, tuple[list[int], str, str]] = {}
        self.refused: dict[int, str] = {}
        self.taken: set[int] = set()

    def run(self) -> LinkResult:
        reserved = self._reserved()
        for step in ROUNDS:
            if step.method in self.config.methods:
                self._round(step, reserved)
        self._force(reserved)
        self._share_with_duplicates()
        return self._result()

    def _reserved(self) -> dict[int, int]:
        """Positions of the pairs that a verdict calls right; ids no longer there are left out."""
        fact_at = {fact_id: j for j, fact_id in enumerate(self.fact_ids)}
        right = self.verdicts.right
        return {
            self.first_of[i]: fact_at[right[item_id]]
            for i, item_id in enumerate(self.item_ids)
            if right.get(item_id) in fact_at
        }

    def _round(self, step: Round, reserved: Mapping[int, int]) -> None:
        free_items = [
            i
            for i in range(len(self.items))
            if self.first_of[i] == i and i not in self.links and i not in self.ambiguous
        ]
        free_facts = self._facts_within_reach(free_items)
        kept_facts = set(reserved.values())
        proposals: dict[int, list[Pair]] = defaultdict(list)
        for local in step.propose(
            [self.items[i] for i in free_items],
            [self.facts[j] for j in free_facts],
            self.words,
            self.config,
        ):
            pair = replace(local, item=free_items[local.item], fact=free_facts[local.fact])
            if pair.item in reserved or pair.fact in kept_facts:
                fits = step.year_fits(self.items[pair.item], self.facts[pair.fact], self.config)
                admitted = fits and reserved.get(pair.item) == pair.fact
            else:
                admitted = self._admits(step, pair)
            if admitted:
                proposals[pair.item].append(pair)
        self._decide(step, proposals)

    def _facts_within_reach(self, free_items: Sequence[int]) -> list[int]:
        """Return the free facts whose year is near that of some free item, or not compared."""
        free = [j for j in range(len(self.facts)) if j not in self.taken]
        tolerance = self.config.year_tolerance
        if tolerance is None or self.config.missing_year == "accept":
            return free
        years = {self.items[i].year for i in free_items} - {None}
        near = {y + shift for y in years if y for shift in range(-tolerance, tolerance + 1)}
        return [j for j in free if self.facts[j].year in near]

    def _admits(self, step: Round, pair: Pair) -> bool:
        item, fact = self.items[pair.item], self.facts[pair.fact]
        if not step.year_fits(item, fact, self.config):
            return False
        if (self.item_ids[pair.item], self.fact_ids[pair.fact]) in self.verdicts.wrong:
            self.refused[pair.item] = "judged_wrong"
            return False
        if not step.evidence_fits(pair, item, fact, self.config):
            self.refused.setdefault(pair.item, "refused_by_evidence")
            return False
        return True

    def _decide(self, step: Round, proposals: Mapping[int, Sequence[Pair]]) -> None:
        """Link the mutual bests; what is contested becomes ambiguous and leaves the game."""
        claims: dict[int, list[Pair]] = defaultdict(list)
        for i, pairs in proposals.items():
            best = self._best(step, pairs)
            if len(best) == 1:
                claims[best[0].fact].append(best[0])
            else:
                self.ambiguous[i] = ([p.fact for p in best], step.method, "several_facts")
        for j, pairs in claims.items():
            if len(pairs) == 1:
                self.links[pairs[0].item] = (j, step.method, pairs[0].similarity)
                self.taken.add(j)
                continue
            for pair in pairs:
                self.ambiguous[pair.item] = ([j], step.method, "several_items")

    def _best(self, step: Round, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the pairs of one item that no other beats: by likeness, then year, evidence."""
        if step.ranks_by_similarity:
            top = max(pair.similarity for pair in pairs)
            pairs = [p for p in pairs if p.similarity > top - self.config.similar_margin]
        shared = [shared_values(self.items[p.item], self.facts[p.fact]) for p in pairs]
        return [p for p, n in zip(pairs, shared, strict=True) if n == max(shared)]

    def _force(self, reserved: Mapping[int, int]) -> None:
        for i, j in reserved.items():
            if i not in self.links and j not in self.taken:
                likeness = title_similarity(self.items[i].forms, self.facts[j].forms)
                self.links[i] = (j, "reviewed", likeness)
                self.taken.add(j)
                self.ambiguous.pop(i, None)

    def _share_with_duplicates(self) -> None:
        for i, first in enumerate(self.first_of):
            if first == i:
                continue
            if self.config.duplicates == "first" and self.item_ids[i] not in self.verdicts.right:
                self.refused[i] = "duplicate"
            elif first in self.links:
                self.links[i] = self.links[first]
            elif first in self.ambiguous:
                self.ambiguous[i] = self.ambiguous[first]
            elif first in self.refused:
                self.refused[i] = self.refused[first]

    def _why_unlinked(self, i: int) -> str:
        item = self.items[i]
        if i in self.refused:
            return self.refused[i]
        if not item.forms.full:
            return "no_title"
        needs_year = self.config.year_tolerance is not None and self.config.missing_year == "refuse"
        return "no_year" if needs_year and item.year is None else "no_match"

    def _result(self) -> LinkResult:
        links, ambiguous, unlinked = [], [], []
        for i, item_id in enumerate(self.item_ids):
            if i in self.links:
                j, method, similarity = self.links[i]
                gap = year_gap(self.items[i], self.facts[j])
                links.append((item_id, self.fact_ids[j], method, similarity, gap))
            elif i in self.ambiguous:
                found, method, reason = self.ambiguous[i]
                ambiguous.append((item_id, [self.fact_ids[j] for j in found], method, reason))
            else:
                unlinked.append((item_id, self._why_unlinked(i)))
        report = {
            "items": len(self.items),
            "facts": len(self.facts),
            "linked": len(links),
            "ambiguous": len(ambiguous),
            "unlinked": len(unlinked),
            "by_method": _count(row[2] for row in links),
            "ambiguous_by_reason": _count(row[3] for row in ambiguous),
            "unlinked_by_reason": _count(row[1] for row in unlinked),
            "duplicate_items": sum(first != i for i, first in enumerate(self.first_of)),
        }
        return LinkResult(
            links=pl.DataFrame(links, schema=_LINKS, orient="row"),
            ambiguous=pl.DataFrame(ambiguous, schema=_AMBIGUOUS, orient="row"),
            unlinked=pl.DataFrame(unlinked, schema=_UNLINKED, orient="row"),
            report=report,
        )


def _check(table: pl.DataFrame, name: str, id_column: str, config: LinkConfig) -> None:
    for column in (id_column, "title", "year", *config.evidence):
        if column not in table.columns:
            raise DataError(
                f"Expected a column '{column}' in the table of {name} to link, got "
                f"{', '.join(table.columns)}; rename it, or mend 'evidence' of the configuration"
            )
    for column in (id_column, "title"):
        if table.schema[column] != pl.String():
            raise DataError(
                f"Expected column '{column}' of the {name} to link to be String, got "
                f"{table.schema[column]}; cast it"
            )
    if not (table.schema["year"].is_integer() or table["year"].null_count() == table.height):
        raise DataError(
            f"Expected column 'year' of the {name} to link to be an integer, got "
            f"{table.schema['year']}; cast it, with null where there is none"
        )
    ids = table[id_column]
    bad = ids.is_null() | ids.is_duplicated()
    if bad.any():
        raise DataError(
            f"Expected unique, non-null values of '{id_column}' in the {name} to link, got "
            f"{ids.filter(bad)[0]!r} among {bad.sum()} bad rows; drop or rename them"
        )


def _records(table: pl.DataFrame, config: LinkConfig, words: TitleWords) -> list[Record]:
    records = []
    for title, year, *evidence in table.select("title", "year", *config.evidence).iter_rows():
        forms = title_forms(title or "", words)
        values = tuple(_values(value, config.evidence_separator) for value in evidence)
        records.append(Record(forms, forms.year if year is None else year, values))
    return records


def _values(value: str | list[str] | None, separator: str) -> frozenset[str]:
    parts = value.split(separator) if isinstance(value, str) else value or []
    return frozenset(part.strip().casefold() for part in parts if part) - {""}


def _first_of_duplicates(
    items: Sequence[Record], item_ids: Sequence[str], verdicts: Verdicts
) -> list[int]:
    """Return for each item the position of the first that it repeats, its own where none.

    Repeats are equal in title, year and all evidence, or judged right for the same fact. Where
    verdicts tell equal items apart, each judged one stands for itself.
    """
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        named = (item.forms.full, item.forms.alternatives, item.year, item.evidence)
        groups[named if item.forms.full else (i,)].append(i)
    refused = {item_id for item_id, _ in verdicts.wrong}
    labels: list[object] = list(range(len(items)))
    for key, members in groups.items():
        right = {i: verdicts.right[item_ids[i]] for i in members if item_ids[i] in verdicts.right}
        told_apart = len(set(right.values())) > 1 or any(item_ids[i] in refused for i in members)
        shared: object = key if told_apart else next(iter(right.values()), key)
        for i in members:
            own = right.get(i, i if item_ids[i] in refused else shared)
            labels[i] = own if told_apart else shared
    first: dict[object, int] = {}
    return [first.setdefault(label, i) for i, label in enumerate(labels)]


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
