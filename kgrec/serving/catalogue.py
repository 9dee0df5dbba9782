"""External ids to rows and back, nearest names for what is not there, and search by title."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from rapidfuzz import fuzz, process, utils

from kgrec.data.dataset import Items
from kgrec.data.interactions import BoolArray, IntArray
from kgrec.data.strings import StringColumn
from kgrec.errors import UnknownItemError
from kgrec.serving.string_rows import StringRows

NUM_NEAREST = 4
MIN_SIMILARITY = 0.65
MAX_BEARERS = 3


class Catalogue:
    """The items of an artifact, looked up by id and by title.

    Attributes:
        items: The catalogue as arrays.
    """

    def __init__(self, items: Items) -> None:
        self.items = items
        self._rows = StringRows(StringColumn.of(items.ids))

    @cached_property
    def _normalised_titles(self) -> list[str]:
        return [utils.default_process(title) for title in self.items.titles]

    @cached_property
    def _bearers(self) -> Counter[str]:
        return Counter(self._normalised_titles)

    def __len__(self) -> int:
        return len(self.items.ids)

    def row(self, item_id: str | int) -> int | None:
        """Return the item's row, None where the id is not known. 50 and "50" are the same id."""
        return self._rows.get(str(item_id))

    def require(self, item_id: str | int) -> int:
        """Return the item's row.

        Raises:
            UnknownItemError: The id is not known; the message names the nearest ids and titles.
        """
        row = self.row(item_id)
        if row is None:
            raise UnknownItemError(
                f"Expected an item id of the artifact, got {item_id!r}; "
                f"nearest: {self._nearest(str(item_id))}; find ids by title with search()"
            )
        return row

    def rows(self, item_ids: Iterable[str | int]) -> IntArray:
        """Return the rows of the ids that are known, in order."""
        rows = (self.row(item_id) for item_id in item_ids)
        return np.array([row for row in rows if row is not None], dtype=np.int64)

    def item_id(self, row: int) -> str:
        """Return the external id of a row."""
        return str(self.items.ids[row])

    def title(self, row: int) -> str:
        """Return the title of a row, its id where it has none."""
        return str(self.items.titles[row]) or self.item_id(row)

    def have_title_of(self, rows: IntArray, row: int) -> BoolArray:
        """Return which of many rows bear the title of ``row``, as ``same_titles`` says."""
        title = self._normalised_titles[row]
        if not title or self._bearers[title] > MAX_BEARERS:
            return np.zeros(len(rows), dtype=bool)
        return np.array([self._normalised_titles[other] == title for other in rows], dtype=bool)

    def same_titles(self, items: IntArray, rows: IntArray) -> BoolArray:
        """Return which rows bear the title of each item, shape (len(items), len(rows)).

        Capitals and punctuation do not count. A title of more than a few items names a kind ("Gift
        card"), not one thing: then none does.
        """
        titles = self.items.titles
        own = np.array([utils.default_process(titles[row]) for row in items], dtype=object)
        theirs = np.array([utils.default_process(titles[row]) for row in rows], dtype=object)
        same = np.asarray(own[:, None] == theirs, dtype=np.bool_)
        for place in np.flatnonzero(same.any(axis=1)):
            # all titles are gone through only where one is met again
            if not own[place] or self._bearers[own[place]] > MAX_BEARERS:
                same[place] = False
        return same

    def search(self, text: str, k: int) -> list[tuple[int, float]]:
        """Return (row, similarity in 0..1) of the k titles nearest to ``text``, best first.

        Words may be missing, misspelt or in another order.
        """
        query = utils.default_process(text)
        if not query:
            return []
        near: set[int] = set()
        for similarity in (fuzz.token_set_ratio, fuzz.partial_ratio):
            found = process.extract(
                query, self._normalised_titles, scorer=similarity, limit=max(4 * k, 50)
            )
            near.update(int(row) for _, _, row in found)
        rated = [(_title_similarity(query, self._normalised_titles[row]), row) for row in near]
        best = sorted(
            ((score, row) for score, row in rated if score >= MIN_SIMILARITY), key=_best_first
        )[:k]
        return [(row, score) for score, row in best]

    def _nearest(self, item_id: str) -> str:
        rows = dict.fromkeys(row for row, _ in self.search(item_id, 2))
        near_ids = process.extract(item_id, self.items.ids.tolist(), scorer=fuzz.ratio, limit=2)
        rows |= dict.fromkeys(int(row) for _, _, row in near_ids)
        names = [f"{self.item_id(row)!r} ({self.title(row)})" for row in rows]
        return ", ".join(names[:NUM_NEAREST]) or "none, the catalogue is empty"


def _title_similarity(query: str, title: str) -> float:
    # the first forgives missing words; the last puts the shortest such title first
    subset = fuzz.token_set_ratio(query, title)
    partial = fuzz.partial_ratio(query, title) if len(query) <= len(title) else 0.0
    return (0.9 * max(subset, 0.95 * partial) + 0.1 * fuzz.ratio(query, title)) / 100.0


def _best_first(rated: tuple[float, int]) -> tuple[float, int]:
    return -rated[0], rated[1]
