"""Tables and text to a validated, versioned graph snapshot.

    from pathlib import Path
    from graph_etl import Graph, build
    result = build(Path("dataset.yaml"), out=Path("runs/mine"))
    result.snapshot.triples
    with Graph.open("runs/mine") as graph:
        graph.neighbors("Emma")

Names are imported on first use, so that ``import graph_etl`` is light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph_etl.dataset_config import DatasetConfig
    from graph_etl.dataset_yaml import dataset_config_from, load_dataset_config
    from graph_etl.errors import (
        ConfigError,
        DataError,
        ExtractionError,
        FetchError,
        GraphEtlError,
        MissingDependencyError,
        SchemaViolationError,
        SnapshotError,
        StoreError,
    )
    from graph_etl.graph_schema import GraphSchema, load_graph_schema
    from graph_etl.mappings import load_mapping, mapping_names, recognise
    from graph_etl.pipeline import BuildResult, build, open_dataset
    from graph_etl.queries import Graph
    from graph_etl.snapshot import Snapshot, load_snapshot

_MODULE_OF = {
    "BuildResult": "pipeline",
    "ConfigError": "errors",
    "DataError": "errors",
    "DatasetConfig": "dataset_config",
    "ExtractionError": "errors",
    "FetchError": "errors",
    "Graph": "queries",
    "GraphEtlError": "errors",
    "GraphSchema": "graph_schema",
    "MissingDependencyError": "errors",
    "SchemaViolationError": "errors",
    "Snapshot": "snapshot",
    "SnapshotError": "errors",
    "StoreError": "errors",
    "build": "pipeline",
    "dataset_config_from": "dataset_yaml",
    "load_dataset_config": "dataset_yaml",
    "load_graph_schema": "graph_schema",
    "load_mapping": "mappings",
    "load_snapshot": "snapshot",
    "mapping_names": "mappings",
    "open_dataset": "pipeline",
    "recognise": "mappings",
}

__all__ = [
    "BuildResult",
    "ConfigError",
    "DataError",
    "DatasetConfig",
    "ExtractionError",
    "FetchError",
    "Graph",
    "GraphEtlError",
    "GraphSchema",
    "MissingDependencyError",
    "SchemaViolationError",
    "Snapshot",
    "SnapshotError",
    "StoreError",
    "build",
    "dataset_config_from",
    "load_dataset_config",
    "load_graph_schema",
    "load_mapping",
    "load_snapshot",
    "mapping_names",
    "open_dataset",
    "recognise",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'graph_etl' has no attribute '{name}'")
    return getattr(import_module(f"graph_etl.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
