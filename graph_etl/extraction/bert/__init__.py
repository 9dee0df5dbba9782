"""A BERT fine-tuned to find entities and relations together; names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph_etl.extraction.bert.config import TrainConfig
    from graph_etl.extraction.bert.inference import BertExtractor
    from graph_etl.extraction.bert.silver import KnownTriple, silver_documents
    from graph_etl.extraction.bert.training import train_extractor

_MODULE_OF = {
    "BertExtractor": "inference",
    "KnownTriple": "silver",
    "TrainConfig": "config",
    "silver_documents": "silver",
    "train_extractor": "training",
}

__all__ = ["BertExtractor", "KnownTriple", "TrainConfig", "silver_documents", "train_extractor"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'graph_etl.extraction.bert' has no attribute '{name}'")
    return getattr(import_module(f"graph_etl.extraction.bert.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
