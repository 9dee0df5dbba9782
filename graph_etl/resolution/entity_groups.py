"""Groups of names that are one entity: union-find that knows what may never be together.

Which pairs are proposed, and why, is the business of entity_merges.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """Why two ids were brought together.

    Attributes:
        one, other: The ids.
        stage: "exact", "similar" or "reviewed".
        score: 0-1.
        evidence: In words.
    """

    one: str
    other: str
    stage: str
    score: float
    evidence: str


class Groups:
    """Disjoint sets of ids; a set never holds two ids that are forbidden to be together."""

    def __init__(self, ids: Iterable[str], forbidden: Iterable[tuple[str, str]]) -> None:
        """Start with each id alone.

        Args:
            ids: All ids.
            forbidden: Pairs that may not be in one set, through others neither.
        """
        self._root = {one: one for one in ids}
        self._members = {one: [one] for one in self._root}
        self._links: dict[str, list[Link]] = defaultdict(list)
        self._forbidden: dict[str, set[str]] = defaultdict(set)
        for one, other in forbidden:
            self._forbidden[one].add(other)
            self._forbidden[other].add(one)

    def root(self, one: str) -> str:
        """Return the id that stands for the set of ``one``."""
        while self._root[one] != one:
            self._root[one] = self._root[self._root[one]]
            one = self._root[one]
        return one

    def members(self, one: str) -> list[str]:
        """Return all ids of the set of ``one``."""
        return self._members[self.root(one)]

    def may_join(self, one: str, other: str) -> bool:
        """Whether no id of one set is forbidden to be with an id of the other."""
        smaller, larger = sorted((self.members(one), self.members(other)), key=len)
        root = self.root(larger[0])
        return all(
            self.root(barred) != root
            for member in smaller
            for barred in self._forbidden.get(member, ())
            if barred in self._root
        )

    def join(self, link: Link) -> bool:
        """Unite the sets of a link's ids; return False where they were one or may not be."""
        smaller, larger = self.root(link.one), self.root(link.other)
        if smaller == larger or not self.may_join(smaller, larger):
            return False
        if len(self._members[smaller]) > len(self._members[larger]):
            smaller, larger = larger, smaller
        self._root[smaller] = larger
        self._members[larger] += self._members.pop(smaller)
        self._links[link.one].append(link)
        self._links[link.other].append(link)
        return True

    def sets(self) -> Iterator[list[str]]:
        """Yield the sets of two ids or more, each sorted, by their first id."""
        found = (sorted(members) for members in self._members.values() if len(members) > 1)
        yield from sorted(found)

    def reasons(self, kept: str) -> Mapping[str, Link]:
        """Return, for each other id of the set of ``kept``, the least sure link between the two."""
        weakest: dict[str, Link] = {}
        open_ids = [kept]
        while open_ids:
            one = open_ids.pop()
            for link in self._links[one]:
                other = link.other if link.one == one else link.one
                if other == kept or other in weakest:
                    continue
                before = weakest.get(one)
                weakest[other] = link if before is None or link.score < before.score else before
                open_ids.append(other)
        return weakest
