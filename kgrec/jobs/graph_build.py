"""The build of the graph in a process of its own.

The embedded store's library takes nearly all of the static thread-local storage that Linux leaves
to libraries loaded late, and torch, FAISS and LightGBM each need some: they cannot share a process.
The build's memory is given back with the process, too.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from graph_etl.errors import GraphEtlError, StoreError
from graph_etl.snapshot import Snapshot, load_snapshot
from kgrec.errors import KgrecError
from kgrec.jobs.disk_faults import disk_faults_told
from kgrec.jobs.night_events import TakenEvents
from kgrec.jobs.progress import Progress


def build_graph(
    source: Path,
    out: Path,
    data: Path | None,
    store_name: str,
    progress: Progress,
    *,
    gated: bool = False,
    accepted: Mapping[str, str] | None = None,
    events: TakenEvents | None = None,
    state: Path | None = None,
) -> tuple[Snapshot, dict[str, Any]]:
    """Build and publish a snapshot; return it, and what the build counted.

    Args:
        source: A dataset.yaml, or a folder that a shipped mapping recognises.
        out: Folder of the build.
        data: Folder of the tables; None for the one of ``source``.
        store_name: "kglite", "neo4j" or "none".
        progress: Told each step of the build.
        gated: Whether the data set's gates judge the change from the published snapshot.
        accepted: Name of a gate that may fail this once -> why.
        events: Of a log, to be added to the tables' interactions.
        state: Serving folder whose ledger says who is left out; None: nobody.

    Raises:
        GraphEtlError: As the build raised it.
        DiskError: The disk is full.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    options = {"data": data, "store_name": store_name, "gated": gated, "accepted": accepted}
    arguments = (there, source, out, options, events, state)
    child = context.Process(target=_build, args=arguments, name="graph-etl build")
    child.start()
    there.close()
    try:
        pointer, audit = _follow(here, progress)
    except EOFError as error:
        child.join()
        raise StoreError(
            f"Expected the build of {source} to end, its process died with exit code "
            f"{child.exitcode}; run 'graph-etl build {source} --out {out}' to see why"
        ) from error
    finally:
        child.join()
    return load_snapshot(pointer), audit


def _end_with_parent() -> None:
    """Let no build outlive a job that was killed: the next one builds in the same folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _follow(messages: Connection, progress: Progress) -> tuple[Path, dict[str, Any]]:
    while True:
        kind, content = messages.recv()
        if kind == "error":
            raise content
        if kind == "done":
            pointer, audit = content
            return Path(pointer), audit
        progress(*content)


def _build(
    messages: Connection,
    source: Path,
    out: Path,
    options: dict[str, Any],
    events: TakenEvents | None,
    state: Path | None,
) -> None:
    from graph_etl.builds import build_into
    from kgrec.serving.forgotten import ForgottenUsers

    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(step: str, share: float) -> None:
        messages.send(("step", (f"graph: {step}", share)))

    try:
        with disk_faults_told(out):
            extra = None if events is None else events.interactions()
            built = build_into(
                source,
                out=out,
                progress=tell,
                extra_interactions=extra,
                leave_out=None if state is None else ForgottenUsers(state).among,
                **options,
            )
    except (GraphEtlError, KgrecError) as error:
        messages.send(("error", error))
    else:
        messages.send(("done", (str(built.pointer), built.audit)))
