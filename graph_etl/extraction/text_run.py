"""A run over texts without a build: triples with their evidence into a file, the accounting beside.

What was answered is kept in the folder's ledger, so that a run that was killed, or is given more
texts, asks about nothing twice. Which texts there are and what is known of them is given.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import polars as pl

from graph_etl.errors import ConfigError, TooManyFailuresError
from graph_etl.extraction.build_step import LEDGER
from graph_etl.extraction.config import ExtractionConfig, LlmConfig
from graph_etl.extraction.documents import ItemTexts, extraction_schema
from graph_etl.extraction.ledger import Ledger, key_of
from graph_etl.extraction.records import Document
from graph_etl.extraction.run import Extracted, ExtractionRun, Progress
from graph_etl.extraction.stages import KnownGraph, open_stages
from graph_etl.extraction.statements import extracted_statements
from graph_etl.snapshot import write_synced

FORMATS = ("jsonl", "parquet")
RECORD = "run.json"
_BATCH = 1000  # documents whose triples are written together


def extract_texts(
    config: ExtractionConfig,
    texts: ItemTexts,
    known: KnownGraph,
    out: Path,
    *,
    file_format: str = "jsonl",
    progress: Progress = lambda what, share: None,
) -> dict[str, Any]:
    """Run engines over texts, write what they say, and return the accounting.

    Writes ``out``/triples.jsonl (or .parquet), whole or not at all: a row for each triple of each
    engine, with ids, types and names of both ends and the evidence. The accounting is also in
    ``out``/run.json, of a run that failed too.

    Args:
        config: Schema, engines, limits.
        texts: What is read.
        known: What a gazetteer looks for.
        out: Folder; its ledger is used again.
        file_format: One of FORMATS.
        progress: Told how far it is.

    Raises:
        ConfigError: There is no such format.
        TooManyFailuresError: More texts than ``config.run`` allows have no good answer.
        GraphEtlError: Others, as the engines raise them; what was answered is kept.
    """
    if file_format not in FORMATS:
        raise ConfigError(f"Expected a format among {', '.join(FORMATS)}, got '{file_format}'")
    begun = time.monotonic()
    schema = extraction_schema(config)
    path = out / f"triples.{file_format}"
    record: dict[str, Any] = {"texts": texts.documents.height, "source": texts.source}
    with (
        Ledger(out / LEDGER) as ledger,
        open_stages(config.engines, schema, known, progress) as stages,
    ):
        run = ExtractionRun(
            stages, schema, ledger, limits=config.limits, run_limits=config.run, progress=progress
        )
        documents = (Document(*row) for row in texts.documents.iter_rows())
        try:
            found = run.over(documents, texts.documents.height)
            record["triples"] = _write(found, texts.source, path)
            record["file"] = str(path)
        except TooManyFailuresError as error:
            record["failed"] = str(error)
            raise
        finally:
            record["engines"] = [account.as_dict() for account in run.accounts]
            record["lines"] = [account.line() for account in run.accounts]
            record["seconds"] = round(time.monotonic() - begun, 1)
            write_synced(out / RECORD, json.dumps(record, indent=1).encode())
    return record


def estimated_run(config: ExtractionConfig, texts: ItemTexts, out: Path | None) -> dict[str, Any]:
    """Return what ``extract_texts`` would ask for, engine by engine, before a model is asked.

    Every engine is taken to be asked about every text; with ``unsure_below`` the later ones are
    asked about fewer.

    Args:
        config: Schema, engines, limits.
        texts: What would be read.
        out: The folder of the run: what its ledger has answered is not counted again; None: all is.

    Raises:
        GraphEtlError: The server that counts tokens cannot be asked.
    """
    documents = [Document(*row) for row in texts.documents.iter_rows()]
    asked = [one for one in documents if any(letter.isalnum() for letter in one.text)]
    rows: list[dict[str, Any]] = []
    for engine in config.engines:
        row: dict[str, Any] = {"engine": engine.engine, "texts": len(asked), "requests": 0}
        if isinstance(engine, LlmConfig):
            row |= _estimated(engine, config, asked, out)
        rows.append(row)
    characters = sum(len(one.text) for one in documents)
    return {"texts": len(documents), "characters": characters, "engines": rows}


def _estimated(
    engine: LlmConfig, config: ExtractionConfig, documents: list[Document], out: Path | None
) -> dict[str, Any]:
    from graph_etl.extraction.llm import LlmExtractor

    with LlmExtractor(engine, extraction_schema(config)) as extractor:
        questions = {key_of(extractor, one): one for one in reversed(documents)}
        answered: set[str] = set()
        if out is not None and (out / LEDGER).is_file():
            with Ledger(out / LEDGER) as ledger:
                keys = list(questions)
                answered = {*ledger.known(keys), *ledger.dead(keys)}
        left = [one for key, one in questions.items() if key not in answered]
        estimate = asdict(extractor.dry_run(left))
    return {
        **estimate,
        "model": engine.model,
        "texts": len(documents),
        "answered_before": len(answered),
        "same_texts": len(documents) - len(questions),
    }


def _write(found: Iterable[Extracted], source: str, path: Path) -> int:
    """Write what is found as it comes; return the number of triples."""
    part = path.with_name(f".{path.name}.part")
    total = 0
    with part.open("wb") as handle:
        batch: list[Extracted] = []
        for one in found:
            batch.append(one)
            if len(batch) == _BATCH:
                total += _append(batch, source, handle)
                batch.clear()
        total += _append(batch, source, handle)
    if path.suffix == ".parquet":
        lines = part.with_suffix(".lines")
        part.replace(lines)
        schema = _rows([], source).schema
        rows = pl.scan_ndjson(lines, schema=schema) if total else pl.LazyFrame(schema=schema)
        rows.sink_parquet(part)
        lines.unlink()
    part.replace(path)
    return total


def _append(batch: Sequence[Extracted], source: str, handle: IO[bytes]) -> int:
    rows = _rows(batch, source)
    rows.write_ndjson(handle)
    return rows.height


def _rows(batch: Sequence[Extracted], source: str) -> pl.DataFrame:
    """Return the triples of documents with the names of both ends beside their ids."""
    made = extracted_statements(batch, source)
    subjects = {one.document.subject_id: one.document.subject_name for one in batch}
    given = pl.DataFrame(
        {"head_id": list(subjects), "head_name": list(subjects.values())},
        schema={"head_id": pl.String, "head_name": pl.String},
    )
    named = made.names.select(head_id="entity_id", head_name="name")
    heads = pl.concat([given, named]).unique("head_id", keep="first", maintain_order=True)
    first = ("doc_id", "head_id", "head_type", "head_name", "relation")
    return made.statements.join(heads, on="head_id", how="left", maintain_order="left").select(
        *first, pl.exclude(first)
    )
