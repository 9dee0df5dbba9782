"""Many strings in little room: one run of bytes and where each string ends, read like an array.

A Python string takes fifty bytes besides its letters, and a moment to make; a catalogue has
millions that no answer shows. Finding a string again is for kgrec.serving.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import polars as pl

StrArray = npt.NDArray[np.object_]
Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64] | npt.NDArray[np.int32]


class StringColumn:
    """Strings that do not change. Reads as an object array does: by place, slice, mask or places.

    Args:
        letters: All strings as UTF-8, one after the other.
        bounds: Shape (n + 1,): string i is letters[bounds[i]:bounds[i + 1]].
    """

    def __init__(self, letters: Bytes, bounds: Offsets) -> None:
        self.letters, self.bounds = letters, bounds
        self._letters, self._bounds = letters.data, bounds.data
        self._size = len(bounds) - 1

    @classmethod
    def of(cls, strings: Iterable[str] | pl.Series | StringColumn) -> StringColumn:
        """Return the strings as a column; a column itself comes back."""
        if isinstance(strings, StringColumn):
            return strings
        if not isinstance(strings, pl.Series):
            strings = pl.Series(list(strings), dtype=pl.String)
        arrow = strings.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        _, bounds, letters = arrow.buffers()
        ends = np.frombuffer(bounds, np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
        used = slice(int(ends[0]), int(ends[-1]))
        held = np.empty(0, np.uint8) if letters is None else np.frombuffer(letters, np.uint8)[used]
        narrow = np.int32 if len(held) <= np.iinfo(np.int32).max else np.int64
        return cls(held.copy(), (ends - ends[0]).astype(narrow))

    def extended(self, strings: Iterable[str]) -> StringColumn:
        """Return the column with further strings at the end."""
        more = StringColumn.of(strings)
        after = more.bounds[1:].astype(np.int64) + len(self.letters)
        bounds = np.concatenate([self.bounds.astype(np.int64), after])
        return StringColumn(np.concatenate([self.letters, more.letters]), bounds)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(self, place: slice | npt.NDArray[Any] | list[int]) -> StrArray: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, int | np.integer):
            if not -self._size <= place < self._size:
                raise IndexError(f"Expected a place below {self._size}, got {place}")
            return self._at(int(place) if place >= 0 else int(place) + self._size)
        places = np.arange(len(self))[place]
        found = np.empty(places.shape, dtype=object)
        found.ravel()[:] = [self._at(one) for one in places.ravel().tolist()]
        return found

    def __iter__(self) -> Iterator[str]:
        return map(self._at, range(len(self)))

    def __eq__(self, other: object) -> Any:
        return np.asarray(self) == other

    __hash__ = None  # type: ignore[assignment]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        found = self[:]
        return found if dtype is None else found.astype(dtype)

    def tolist(self) -> list[str]:
        """Return all strings."""
        return list(self)

    def copy(self) -> StrArray:
        """Return all strings as an object array, which may be written into."""
        return self[:]

    def astype(self, dtype: Any) -> npt.NDArray[Any]:
        """Return all strings as an array of another type."""
        return self[:].astype(dtype)

    def _at(self, place: int) -> str:
        return str(self._letters[self._bounds[place] : self._bounds[place + 1]], "utf-8")


Strings = StrArray | StringColumn
