"""Graph stores: where the graph can be queried; the snapshot stays its record."""

from graph_etl.store.base import GraphStore
from graph_etl.store.graph_rows import canonical_tables
from graph_etl.store.loading import load_store, open_store
from graph_etl.store.records import (
    Entity,
    GraphPath,
    GraphTables,
    Neighbor,
    QueryResult,
    Step,
    StoreCounts,
    WriteSummary,
)

__all__ = [
    "Entity",
    "GraphPath",
    "GraphStore",
    "GraphTables",
    "Neighbor",
    "QueryResult",
    "Step",
    "StoreCounts",
    "WriteSummary",
    "canonical_tables",
    "load_store",
    "open_store",
]
