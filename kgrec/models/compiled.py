"""The one way into numba: loops over sparse rows, compiled at first use and cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Return ``function`` compiled, with the order of its additions kept (results repeat)."""
    return cast("Function", numba.njit(cache=True, nogil=True)(function))


def compiled_fast(function: Function) -> Function:
    """Return ``function`` compiled for vector units; sums are reordered, the same way each time."""
    return cast(
        "Function", numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(function)
    )
