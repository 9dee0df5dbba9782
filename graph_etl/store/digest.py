"""A digest of a whole graph's frames, by which an unchanged write is known without reading back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import IO, Any, cast

import polars as pl

from graph_etl.store.records import GraphTables

_SLICE_ROWS = 500_000
_LAYOUT = pl.CompatLevel.oldest()  # plain offsets and characters, no views into buffers


def digest_of(tables: GraphTables, entity_types: Collection[str] | None) -> str:
    """Return the SHA-256 of frames, in their order, and of the declared entity types.

    Equal frames may get another digest by another version of polars; a write then compares rows.
    """
    digest = hashlib.sha256(json.dumps(sorted(entity_types or ())).encode())
    sink = cast(IO[bytes], _Sink(digest))
    for frame in (tables.entities, tables.relation_types, tables.triples):
        digest.update(str(frame.shape).encode())
        for part in frame.rechunk().iter_slices(_SLICE_ROWS):
            part.write_ipc_stream(sink, compat_level=_LAYOUT)
    return digest.hexdigest()


class _Sink:
    """A file to write to that only remembers the digest."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""
