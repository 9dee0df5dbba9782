"""Engines of extraction by their short names; each is imported only when it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graph_etl.errors import ConfigError
from graph_etl.extraction.extractor import Extractor
from graph_etl.graph_schema import GraphSchema


def open_engine(name: str, **settings: Any) -> Extractor:
    """Return an engine, ready to be asked.

    Args:
        name: A name of ENGINES.
        settings: What the engine's own module wants.

    Raises:
        ConfigError: There is no such engine.
        ExtractionError: It cannot be opened.
    """
    if name not in ENGINES:
        raise ConfigError(f"Expected an engine among {', '.join(ENGINES)}, got '{name}'")
    return ENGINES[name](**settings)


def _bert(model: str, **settings: Any) -> Extractor:
    from graph_etl.extraction.bert.inference import BertExtractor

    return BertExtractor(model, **settings)


def _llm(model: str, *, schema: GraphSchema, **settings: Any) -> Extractor:
    from graph_etl.extraction.config import LlmConfig
    from graph_etl.extraction.llm import LlmExtractor

    return LlmExtractor(LlmConfig(model=model, **settings), schema)


ENGINES: Mapping[str, Callable[..., Extractor]] = {"bert": _bert, "llm": _llm}
