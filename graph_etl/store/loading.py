"""Opening a store by its short name, and writing a snapshot into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from graph_etl.errors import ConfigError
from graph_etl.snapshot import Snapshot
from graph_etl.store.base import GraphStore
from graph_etl.store.records import GraphTables, WriteSummary

StoreName = Literal["kglite", "neo4j"]
STORE_NAMES = ("kglite", "neo4j")
STORE_FILE = "graph.kgl"


def open_store(name: str, folder: str | Path, *, read_only: bool = False) -> GraphStore:
    """Open the graph store of a build folder.

    Args:
        name: "kglite", or "neo4j": the server that the environment names, else the local one.
        folder: The folder that 'graph-etl build' wrote; kglite's file is STORE_FILE in it.
        read_only: Refuse writes and take no lock.

    Raises:
        ConfigError: There is no store of this name.
        MissingDependencyError: Its library is not installed.
        StoreError: It cannot be opened.
    """
    if name not in STORE_NAMES:
        raise ConfigError(f"Expected the name of a graph store among {STORE_NAMES}, got '{name}'")
    if name == "neo4j":
        from graph_etl.store.neo4j_store import Neo4jStore

        return Neo4jStore(read_only=read_only)
    from graph_etl.store.kglite_store import KgliteStore

    return KgliteStore(Path(folder) / STORE_FILE, read_only=read_only)


def load_store(
    snapshot: Snapshot,
    store: GraphStore,
    *,
    known: Snapshot | None = None,
    compare: bool = False,
) -> WriteSummary:
    """Make a store mirror a snapshot: what the snapshot has not is deleted.

    Args:
        snapshot: What the store shall hold.
        store: The store.
        known: The snapshot that it should hold now; see ``GraphStore.write``.
        compare: Read the store back in any case; see ``GraphStore.write``.

    Returns:
        What changed; ``writes`` is 0 where the store held this snapshot already.

    Raises:
        DataError, SchemaViolationError, StoreError: As ``GraphStore.write`` says; the store is as
            it was.
    """
    return store.write(
        snapshot.entities,
        snapshot.relation_types,
        snapshot.triples,
        delete_missing=True,
        known=None
        if known is None
        else GraphTables(known.entities, known.relation_types, known.triples),
        compare=compare,
    )
