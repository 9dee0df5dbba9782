"""Extractions as statements of the graph: mentions become entities, evidence becomes columns.

Two spellings are one entity by the same key as in tables (graph_etl.entities); within a document a
part of a name ("Scorsese") is the one longer name of the same type that ends or begins with it.
Merging spellings across documents is for graph_etl.resolution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from graph_etl.attributes import STATEMENT
from graph_etl.entities import entity_key
from graph_etl.extraction.extractor import Extractor
from graph_etl.extraction.records import Document, ExtractedTriple, Extraction
from graph_etl.extraction.run import Extracted
from graph_etl.extraction.things import full_names

EVIDENCE: Mapping[str, pl.DataType] = {
    "evidence.text": pl.String(),  # the stretch of the text that says so
    "evidence.start": pl.Int64(),  # where it stands, in characters
    "evidence.end": pl.Int64(),
    "evidence.content_hash": pl.String(),  # SHA-256 of the whole text
    "evidence.model": pl.String(),
    "evidence.prompt_version": pl.String(),  # "" for engines without a prompt
}
_MAX_EVIDENCE_CHARACTERS = 300


@dataclass(frozen=True)
class ExtractedStatements:
    """What texts add to the graph.

    Attributes:
        statements: Columns as attributes.STATEMENT and EVIDENCE; one row for each triple of each
            engine.
        names: Columns entity_id, entity_type, name: every mentioned entity of a statement.
    """

    statements: pl.DataFrame
    names: pl.DataFrame


def extracted_statements(found: Iterable[Extracted], source: str) -> ExtractedStatements:
    """Return the statements of a run.

    Args:
        found: What the engines found, by document.
        source: Which texts, for the provenance: "overview".
    """
    rows: dict[str, list[object]] = {name: [] for name in (*_COLUMNS, *EVIDENCE)}
    for one in found:
        for extractor, extraction in one.parts:
            run_id = run_id_of(extractor)
            names = full_names(one.document, extraction.mentions)
            for triple in extraction.triples:
                values = _row(one.document, extractor, extraction, triple, names)
                values |= {"source": source, "run_id": run_id}
                for column, value in values.items():
                    rows[column].append(value)
    schema = {**_COLUMNS, **EVIDENCE}
    frame = pl.DataFrame(rows, schema=schema).with_columns(
        _entity_id("head"), _entity_id("tail"), confidence=pl.col("confidence").cast(pl.Float32)
    )
    statements = frame.select(*STATEMENT, *EVIDENCE)
    ends = [
        frame.filter(pl.col(f"{end}_given") == "").select(
            entity_id=f"{end}_id", entity_type=f"{end}_type", name=f"{end}_name"
        )
        for end in ("head", "tail")
    ]
    return ExtractedStatements(statements, pl.concat(ends))


_COLUMNS: Mapping[str, pl.DataType] = {
    **{name: kind for name, kind in STATEMENT.items() if name not in ("head_id", "tail_id")},
    "head_name": pl.String(),
    "head_given": pl.String(),  # the subject's id, "" for a mention
    "tail_given": pl.String(),
}


def run_id_of(extractor: Extractor) -> str:
    """Return the id of all triples that an engine gives; the same engine gives the same."""
    digest = hashlib.sha256(extractor.fingerprint.encode()).hexdigest()
    return f"{extractor.engine}-{digest[:12]}"


def _row(
    document: Document,
    extractor: Extractor,
    extraction: Extraction,
    triple: ExtractedTriple,
    names: Sequence[str],
) -> dict[str, object]:
    start, end = triple.evidence
    values: dict[str, object] = {}
    for side, mention in (("head", triple.head), ("tail", triple.tail)):
        if mention is None:
            values[f"{side}_type"] = document.subject_type
            values[f"{side}_name"] = document.subject_name
            values[f"{side}_given"] = document.subject_id
        else:
            values[f"{side}_type"] = extraction.mentions[mention].entity_type
            values[f"{side}_name"] = names[mention]
            values[f"{side}_given"] = ""
    return {
        **values,
        "relation": triple.relation,
        "doc_id": document.doc_id,
        "engine": extractor.engine,
        "confidence": triple.confidence,
        "evidence.text": document.text[start : min(end, start + _MAX_EVIDENCE_CHARACTERS)],
        "evidence.start": start,
        "evidence.end": end,
        "evidence.content_hash": document.content_hash,
        "evidence.model": extractor.model,
        "evidence.prompt_version": extractor.prompt_version,
    }


def _entity_id(end: str) -> pl.Expr:
    """Return the id of a triple's end: the subject's own, else that of the type and the name."""
    given = pl.col(f"{end}_given")
    key = pl.col(f"{end}_type") + entity_key("", pl.col(f"{end}_name"))
    return pl.when(given != "").then(given).otherwise(key).alias(f"{end}_id")
