"""What the items of two names say about whether the two are one: evidence out of the graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import polars as pl

T = TypeVar("T")
_RAISE = 0.1  # of a score, where all items of the rarer name are items of the other too
_LOWER = -0.1


class SharedItems:
    """Which items each entity stands on, by the relations that say something."""

    def __init__(
        self, statements: pl.DataFrame, meaning: Mapping[str, Literal["for", "against"]]
    ) -> None:
        """Index the statements of the relations named.

        Args:
            statements: Columns head_id, relation, tail_id.
            meaning: Relation -> what a shared item says of two similar names.
        """
        self._for: dict[str, set[str]] = defaultdict(set)
        self._against: dict[str, set[tuple[str, str]]] = defaultdict(set)
        told = statements.filter(pl.col("relation").is_in(list(meaning)))
        for head, relation, tail in told.select("head_id", "relation", "tail_id").iter_rows():
            if meaning[relation] == "for":
                self._for[tail].add(head)
            else:
                self._against[tail].add((relation, head))

    def compare(self, one: Sequence[str], other: Sequence[str]) -> tuple[float, str]:
        """Return what is added to the score of two names, and why ("" for nothing).

        Args:
            one: The ids of one name.
            other: Those of the other.
        """
        listed, also = _all(self._against, one), _all(self._against, other)
        if listed & also:
            return _LOWER, f"{len(listed & also)} items name both"
        mine, theirs = _all(self._for, one), _all(self._for, other)
        together = len(mine & theirs)
        if not together:
            return 0.0, ""
        return _RAISE * together / min(len(mine), len(theirs)), f"{together} shared items"


def _all(index: Mapping[str, set[T]], ids: Sequence[str]) -> set[T]:
    return {item for one in ids for item in index.get(one, ())}
