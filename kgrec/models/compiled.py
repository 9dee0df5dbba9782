"""The one way into numba: loops over sparse rows, compiled at first use and cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Return ``function`` compiled, with the order of its additions kept (results repeat)."""
    return cast("Function", numba.njit(cache=True, nogil=True)(function))


def compiled_fast(function: Function) -> Function:
    """Return ``function`` compiled for vector units; sums are reordered, the same way each time."""
    return cast(
        "Function", numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(function)
    )


@intrinsic
def _fetch_ahead(typing_context: Any, array: Any, row: Any, column: Any) -> Any:
    """Ask for the cache line of ``array[row, column]`` (2-D) and go on without waiting for it.

    For compiled loops over rows in no order, which would wait for memory at each row.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(  # type: ignore[no-untyped-call]
            context, builder, kind, array, list(arguments[1:]), wraparound=False
        )
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kept = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kept)
        # to read, to be kept in all caches, data
        builder.call(fetch, [builder.bitcast(place, byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, row, column), code


fetch_ahead: Any = _fetch_ahead  # called without the typing context
