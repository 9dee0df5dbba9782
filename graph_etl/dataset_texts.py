"""What a data set gives to extraction without a build: its section, its texts, what it knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graph_etl.audit import BuildAudit
from graph_etl.errors import ConfigError
from graph_etl.extraction.config import ExtractionConfig
from graph_etl.extraction.documents import ItemTexts
from graph_etl.extraction.stages import KnownGraph
from graph_etl.pipeline import open_dataset
from graph_etl.snapshot_tables import extraction_input
from graph_etl.tables import TableReader


@dataclass(frozen=True)
class DatasetTexts:
    """What is read, and how.

    Attributes:
        section: The section ``extraction``.
        texts: The texts that a build would read.
        known: What the tables know; nothing of it comes from texts.
    """

    section: ExtractionConfig
    texts: ItemTexts
    known: KnownGraph


def dataset_texts(source: Path, data: Path | None = None) -> DatasetTexts:
    """Return what a data set gives to extraction.

    Args:
        source: A dataset.yaml, or a folder that has one or that a shipped mapping recognises.
        data: Folder of the tables; None: that of ``source``.

    Raises:
        ConfigError: The config is wrong or has no section ``extraction``.
        DataError: A table is absent or lacks a column.
    """
    config, folder = open_dataset(source)
    if config.extraction is None:
        raise ConfigError(
            f"Expected a section 'extraction' in {source}, found none; docs/reference/"
            "dataset-yaml.md lists its fields"
        )
    reader = TableReader(data or folder, {})
    texts, known = extraction_input(config, config.extraction, reader, BuildAudit())
    return DatasetTexts(config.extraction, texts, known)
