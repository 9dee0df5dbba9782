"""Where things lie in the folder that a build writes: the snapshots, their pointer, the store.

DIR/snapshots/snapshot-*   immutable snapshots
DIR/snapshots/current      pointer to the one that stands
DIR/graph.kgl              the embedded store, where one was asked for
"""

from __future__ import annotations

from pathlib import Path

from graph_etl.errors import SnapshotError

SNAPSHOTS = "snapshots"
POINTER = "current"


def pointer_of(folder: str | Path) -> Path:
    """Return the pointer file of a build folder, whether it is there or not."""
    return Path(folder) / SNAPSHOTS / POINTER


def snapshot_path(path: str | Path) -> Path:
    """Return what ``load_snapshot`` takes for a build folder, a snapshot folder or a pointer.

    Raises:
        SnapshotError: The path is none of them.
    """
    path = Path(path)
    candidates = (pointer_of(path), path / POINTER, path / "manifest.json", path)
    for candidate in candidates:
        if candidate.is_file():
            return candidate.parent if candidate.name == "manifest.json" else candidate
    raise SnapshotError(
        f"Expected the folder of a build (with {SNAPSHOTS}/{POINTER}), a snapshot or its pointer "
        f"at {path}, found {'none of them' if path.exists() else 'nothing'}; make one with "
        "'graph-etl build'"
    )
