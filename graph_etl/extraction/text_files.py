"""Files of documents, for texts that belong to no data set: one row a text, or one .txt a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from graph_etl.cells import ids
from graph_etl.errors import DataError
from graph_etl.extraction.documents import DOCUMENT_COLUMNS
from graph_etl.table_config import TableConfig
from graph_etl.tables import TableReader, shipped_or


def read_texts(files: Sequence[Path]) -> pl.DataFrame:
    """Return the documents of files: columns DOCUMENT_COLUMNS, empty texts left out.

    A .txt file is one document named by its file. Of tables (.jsonl, .csv, .parquet) every row is
    one: ``text`` is required; ``doc_id`` is FILE:ROW where there is none, the others are empty.

    Args:
        files: The files, in order; also "corpus:films/synopses.jsonl".

    Raises:
        ConfigError: A file has a format that is none of these.
        DataError: A file is absent or damaged, has no texts, or names a subject without its type.
    """
    parts = [_of_file(shipped_or(file)) for file in files]
    documents = pl.concat(parts).filter(pl.col("text").str.strip_chars() != "")
    if documents.is_empty():
        raise DataError(f"Expected texts in {', '.join(map(str, files))}, got none")
    return documents


def _of_file(file: Path) -> pl.DataFrame:
    if not file.is_file():
        raise DataError(f"Expected a file of texts at {file}, found none")
    if file.suffix == ".txt":
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"Expected UTF-8 text in {file}, got: {error}") from error
        row = {"doc_id": file.stem, "text": text, **dict.fromkeys(DOCUMENT_COLUMNS[2:], "")}
        return pl.DataFrame(row, schema=dict.fromkeys(DOCUMENT_COLUMNS, pl.String))
    table = TableReader(file.parent).read(TableConfig(path=file.name))
    table.require(["text"])
    frame = table.frame
    numbered = pl.format("{}:{}", pl.lit(file.name), pl.int_range(1, pl.len() + 1))
    doc_id = ids(frame["doc_id"]) if "doc_id" in frame.columns else pl.lit(None, pl.String)
    documents = frame.select(
        pl.coalesce(doc_id, numbered).alias("doc_id"),
        pl.col("text").cast(pl.String).fill_null(""),
        *(
            pl.col(name).cast(pl.String).fill_null("")
            if name in frame.columns
            else pl.lit("").alias(name)
            for name in DOCUMENT_COLUMNS[2:]
        ),
    )
    untyped = documents.filter((pl.col("subject_id") != "") & (pl.col("subject_type") == ""))
    if untyped.height:
        raise DataError(
            f"Expected a subject_type beside each subject_id in {file.name}, got none for "
            f"'{untyped['subject_id'][0]}'; add the column (an entity type of the schema)"
        )
    return documents
