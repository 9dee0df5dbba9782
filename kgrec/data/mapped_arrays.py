"""Arrays of a safetensors file that stay in the file: the system reads what is touched.

The file may not change meanwhile; those of an artifact never do. What a program writes into such an
array stays its own.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_TYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I32": np.int32,
    "I64": np.int64,
    "F32": np.float32,
    "F64": np.float64,
}


def mapped_arrays(file: Path) -> dict[str, npt.NDArray[Any]]:
    """Return name -> array, as ``safetensors.numpy.load_file`` does, without reading the numbers.

    Raises:
        ValueError: The file is cut short, or is not one of this format.
    """
    with file.open("rb") as handle:
        size = int.from_bytes(handle.read(8), "little")
        header = json.loads(handle.read(size))
        whole = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
    header.pop("__metadata__", None)
    arrays = {}
    for name, told in header.items():
        start, stop = told["data_offsets"]
        if 8 + size + stop > len(whole) or told["dtype"] not in _TYPES:
            raise ValueError(
                f"Expected {told['dtype']} numbers of '{name}' up to byte {8 + size + stop} of "
                f"{file}, got a file of {len(whole)} bytes"
            )
        kind = np.dtype(_TYPES[told["dtype"]])
        count, at = (stop - start) // kind.itemsize, 8 + size + start
        array = np.frombuffer(whole, kind, count, at) if count else np.empty(0, dtype=kind)
        arrays[name] = array.reshape(told["shape"])
    return arrays
