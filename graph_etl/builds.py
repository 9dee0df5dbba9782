"""A build with the store chosen by name: what the command line calls."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from graph_etl.errors import ConfigError
from graph_etl.pipeline import BuildResult, Progress, build
from graph_etl.store import open_store

STORE_NAMES = ("kglite", "none")


def build_into(
    source: Path,
    *,
    out: Path,
    data: Path | None = None,
    store_name: str = "kglite",
    progress: Progress | None = None,
) -> BuildResult:
    """Build a dataset into a folder, with a store beside the snapshots or none.

    Args:
        source: A dataset.yaml, or a folder that has one or that a shipped mapping recognises.
        out: Folder of the build; made where it is not there.
        data: What the paths in the config are relative to; default the config's folder.
        store_name: One of STORE_NAMES.
        progress: As ``pipeline.build`` takes it.

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
        return build(source, out=out, data=data, store=store, progress=progress)
