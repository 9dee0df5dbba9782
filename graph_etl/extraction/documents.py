"""The texts that are read: those of the items, or rows of a table of texts, as documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from graph_etl.audit import TableAudit
from graph_etl.cells import columns_of, composed, ids
from graph_etl.dataset_config import ItemsConfig
from graph_etl.entities import item_entity_id
from graph_etl.errors import ConfigError
from graph_etl.extraction.config import ExtractionConfig
from graph_etl.graph_schema import GraphSchema, load_graph_schema
from graph_etl.tables import TableReader, shipped_or

DOCUMENT_COLUMNS = ("doc_id", "text", "subject_id", "subject_type", "subject_name")


@dataclass(frozen=True)
class ItemTexts:
    """The texts of a catalogue.

    Attributes:
        documents: Columns DOCUMENT_COLUMNS, as the attributes of records.Document.
        source: Which texts, for the provenance of what they say: "synopses.jsonl:text".
    """

    documents: pl.DataFrame
    source: str


def extraction_schema(config: ExtractionConfig) -> GraphSchema:
    """Return the schema of what is extracted.

    Raises:
        ConfigError: The section names a file that is none.
    """
    if isinstance(config.graph_schema, GraphSchema):
        return config.graph_schema
    return load_graph_schema(shipped_or(Path(config.graph_schema)))


def item_texts(
    config: ExtractionConfig,
    items_config: ItemsConfig,
    items: pl.DataFrame,
    reader: TableReader,
    missing: Sequence[str],
    audit: TableAudit,
) -> ItemTexts:
    """Return the texts that the section names.

    A doc_id is the item's id; of an item's several texts, those after the first have "#2", "#3" at
    its end, in the order of the table.

    Args:
        config: The section ``extraction``.
        items_config: The catalogue's section.
        items: Columns item_id, title, text.
        reader: Where tables come from.
        missing: Cells that mean "nothing".
        audit: Counts texts, and those left out as empty or of an unknown item.

    Raises:
        ConfigError: The items have no table to take the pieces of text from.
        DataError: The table or a column is absent.
    """
    if config.text is None:
        rows, source = items.select("item_id", "text"), "text"
    else:
        table = config.table or items_config.table
        if table is None:
            raise ConfigError(
                "Expected 'extraction.table' beside 'extraction.text', since the items have no "
                "table; name the table that holds the texts"
            )
        item = config.item or items_config.id
        found = reader.read(table, [item, *columns_of(config.text)])
        separators = {name: a.separator for a in items_config.attributes for name in a.column}
        text = composed(found, config.text, missing, separators)
        rows = pl.DataFrame({"item_id": ids(found.frame[item]), "text": text})
        source = f"{found.label}:{'+'.join(config.text)}"
    audit.rows_in += rows.height
    named = rows.join(items.select("item_id", "title"), on="item_id", maintain_order="left")
    audit.drop("of no item", rows.height - named.height)
    filled = named.filter(pl.col("text") != "")
    audit.drop("empty", named.height - filled.height)
    audit.rows_kept += filled.height
    again = pl.int_range(pl.len()).over("item_id") + 1
    kind = items_config.entity_type
    documents = filled.select(
        pl.when(again == 1)
        .then(pl.col("item_id"))
        .otherwise(pl.format("{}#{}", "item_id", again))
        .alias("doc_id"),
        "text",
        item_entity_id(kind, pl.col("item_id")).alias("subject_id"),
        pl.lit(kind).alias("subject_type"),
        pl.col("title").alias("subject_name"),
    )
    return ItemTexts(documents, source)
