"""The engines of a section ``extraction``, opened in their order for a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import polars as pl

from graph_etl.extraction.composition import Cascade
from graph_etl.extraction.config import BertConfig, Engine, ExtractionConfig, GazetteerConfig
from graph_etl.extraction.extractor import Extractor
from graph_etl.extraction.run import Progress, Stage
from graph_etl.graph_schema import GraphSchema


@dataclass(frozen=True)
class KnownGraph:
    """What the graph knows before texts are read.

    Attributes:
        names: Columns entity_id, entity_type, name.
        triples: Columns head_id, relation, tail_id.
    """

    names: pl.DataFrame
    triples: pl.DataFrame


@contextmanager
def open_stages(
    engines: Sequence[Engine],
    schema: GraphSchema,
    known: KnownGraph,
    progress: Progress,
) -> Iterator[list[Stage]]:
    """Open the engines, and close them at the end.

    Args:
        engines: Their settings.
        schema: What may be extracted.
        known: What the gazetteer looks for.
        progress: Told what happens where an engine has to be trained first.

    Raises:
        ExtractionError, ConfigError, MissingDependencyError: An engine cannot be opened.
    """
    with ExitStack() as stack:
        yield _stages(stack, engines, schema, known, progress)


def opened_cascade(
    config: ExtractionConfig, schema: GraphSchema, known: KnownGraph, progress: Progress
) -> Cascade:
    """Return the engines of a section as one, which closes them; errors as ``open_stages``."""
    with ExitStack() as stack:
        stages = _stages(stack, config.engines, schema, known, progress)
        cascade = Cascade(stages, schema, config.limits, max_attempts=config.run.max_attempts)
        stack.pop_all()
    return cascade


def _stages(
    stack: ExitStack,
    engines: Sequence[Engine],
    schema: GraphSchema,
    known: KnownGraph,
    progress: Progress,
) -> list[Stage]:
    return [
        Stage(stack.enter_context(opened(config, schema, known, progress)), config.unsure_below)
        for config in engines
    ]


def opened(config: Engine, schema: GraphSchema, known: KnownGraph, progress: Progress) -> Extractor:
    """Return an engine, ready to be asked; arguments and errors as ``open_stages``."""
    if isinstance(config, GazetteerConfig):
        from graph_etl.extraction.gazetteer import GazetteerExtractor

        return GazetteerExtractor(config, schema, known.names, known.triples)
    if isinstance(config, BertConfig):
        from graph_etl.extraction.bert import BertExtractor
        from graph_etl.extraction.shipped import model_folder

        model = model_folder(config.model, progress)
        return BertExtractor(model, batch_documents=config.batch_documents, runtime=config.runtime)
    from graph_etl.extraction.llm import LlmExtractor

    return LlmExtractor(config, schema)
