"""A build with the store chosen by name: what the command line calls."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import polars as pl

from graph_etl.errors import ConfigError, StoreError
from graph_etl.left_out_users import LeaveOut
from graph_etl.pipeline import BuildResult, Progress, build
from graph_etl.store import GraphStore, open_store

STORE_NAMES = ("kglite", "neo4j", "none")
_STORE = "store"  # file of a build folder that names its store


def build_into(
    source: Path,
    *,
    out: Path,
    data: Path | None = None,
    store_name: str = "kglite",
    gated: bool = True,
    accepted: Mapping[str, str] | None = None,
    extra_interactions: pl.DataFrame | None = None,
    leave_out: LeaveOut | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build a dataset into a folder, with a store beside the snapshots or none.

    Args:
        source: A dataset.yaml, or a folder that has one or that a shipped mapping recognises.
        out: Folder of the build; made where it is not there.
        data: What the paths in the config are relative to; default the config's folder.
        store_name: One of STORE_NAMES.
        gated: As ``pipeline.build`` takes it.
        accepted: Likewise.
        extra_interactions: Likewise.
        leave_out: Likewise.
        progress: Likewise.

    Raises:
        ConfigError: The store's name or the config is wrong.
        GraphEtlError: Others, as ``pipeline.build`` says.
    """
    if store_name not in STORE_NAMES:
        raise ConfigError(f"Expected a store among {STORE_NAMES}, got '{store_name}'")
    if not source.exists():
        raise ConfigError(
            f"Expected a dataset.yaml or a folder of tables at {source}, found nothing"
        )
    if out.exists() and not out.is_dir():
        raise ConfigError(f"Expected a folder to write to, got the file {out}")
    out.mkdir(parents=True, exist_ok=True)
    opened = nullcontext() if store_name == "none" else open_store(store_name, out)
    with opened as store:
        result = build(
            source,
            out=out,
            data=data,
            store=store,
            gated=gated,
            accepted=accepted,
            extra_interactions=extra_interactions,
            leave_out=leave_out,
            progress=progress,
        )
    (out / _STORE).write_text(store_name, encoding="utf-8")
    return result


def open_built_store(folder: Path) -> GraphStore:
    """Open, for reading, the store that the last build of a folder loaded.

    Raises:
        StoreError: It was built without a store, or the store cannot be opened.
    """
    name = _store_of(folder)
    if name == "none":
        raise StoreError(
            f"Expected a build with a graph store in {folder}, got one without; build again with "
            "'graph-etl build ... --store kglite' or neo4j"
        )
    return open_store(name, folder, read_only=True)


def open_written_store(folder: Path) -> GraphStore | None:
    """Open, for writing, the store that the last build of a folder loaded; None without one.

    Raises:
        StoreError: The store cannot be opened.
    """
    name = _store_of(folder)
    return None if name == "none" else open_store(name, folder)


def _store_of(folder: Path) -> str:
    named = folder / _STORE
    return named.read_text(encoding="utf-8") if named.is_file() else "kglite"
