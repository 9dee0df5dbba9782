"""Where a string stands in a column: what a dict does, by a table of a few bytes a string."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgrec.data.strings import StringColumn
from kgrec.models.compiled import compiled


class StringRows:
    """Finds the place of a string: what a dict does, by a table of four bytes a slot.

    Args:
        column: Where to look; of equal strings the last one is found.
    """

    def __init__(self, column: StringColumn) -> None:
        self._column = column
        slots = 1 << max(4, int(1.5 * len(column)).bit_length())
        kind = np.int32 if len(column) <= np.iinfo(np.int32).max else np.int64
        self._table = np.full(slots, -1, dtype=kind)
        _fill(self._table, column.letters, column.bounds)

    def get(self, string: str) -> int | None:
        """Return the place, None where there is no such string."""
        asked = np.frombuffer(string.encode(), dtype=np.uint8)
        place = _find(self._table, self._column.letters, self._column.bounds, asked)
        return None if place < 0 else int(place)

    def __contains__(self, string: str) -> bool:
        return self.get(string) is not None


@compiled
def _hash(letters: Any) -> Any:
    """Return FNV-1a of the bytes, its bits mixed (the low ones choose the slot)."""
    key = np.uint64(0xCBF29CE484222325)
    for letter in letters:
        key = (key ^ np.uint64(letter)) * np.uint64(0x100000001B3)
    return key ^ (key >> np.uint64(32))


@compiled
def _slot(table: Any, letters: Any, bounds: Any, asked: Any) -> Any:
    """Return the slot of a string, or the free one that it would take."""
    last = len(table) - 1
    slot = np.int64(_hash(asked) & np.uint64(last))
    while table[slot] >= 0:
        start, stop = bounds[table[slot]], bounds[table[slot] + 1]
        same = stop - start == len(asked)
        at = 0
        while same and at < len(asked):
            same = letters[start + at] == asked[at]
            at += 1
        if same:
            break
        slot = (slot + 1) & last
    return slot


@compiled
def _fill(table: Any, letters: Any, bounds: Any) -> None:
    for place in range(len(bounds) - 1):
        asked = letters[bounds[place] : bounds[place + 1]]
        table[_slot(table, letters, bounds, asked)] = place


@compiled
def _find(table: Any, letters: Any, bounds: Any, asked: Any) -> Any:
    return table[_slot(table, letters, bounds, asked)]
