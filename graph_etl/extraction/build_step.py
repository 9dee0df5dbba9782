"""Extraction as a step of a build: the items' texts in, statements with their evidence out.

Runs in a process of its own: the embedded graph store's library and torch do not fit one (see
docs/explanation/architecture.md, Processes). What the engines answered is kept beside the
snapshots, so that a night asks about new and changed texts alone.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from graph_etl.audit import BuildAudit
from graph_etl.errors import ExtractionError, GraphEtlError
from graph_etl.extraction.config import ExtractionConfig
from graph_etl.extraction.documents import ItemTexts, extraction_schema
from graph_etl.extraction.gold_check import gold_check
from graph_etl.extraction.ledger import Ledger
from graph_etl.extraction.records import Document
from graph_etl.extraction.run import ExtractionRun, Progress
from graph_etl.extraction.stages import KnownGraph, open_stages
from graph_etl.extraction.statements import ExtractedStatements, extracted_statements

LEDGER = "extraction.sqlite"  # in the build folder


def extract_items(
    config: ExtractionConfig,
    texts: ItemTexts,
    known: KnownGraph,
    *,
    ledger: Path,
    audit: BuildAudit,
    progress: Progress,
) -> ExtractedStatements:
    """Return what the texts say, by the engines of the section.

    Args:
        config: The section ``extraction``.
        texts: What is read.
        known: What the graph has from tables.
        ledger: The file of answers.
        audit: Gets the accounting of every engine, ``extraction.ENGINE``, and how well labelled
            texts were read.
        progress: Told how far it is.

    Raises:
        ExtractionError: An engine cannot go on, or too many texts have no good answer; what was
            answered is kept.
        GraphEtlError: Others, as the engines raise them.
    """
    with TemporaryDirectory(prefix="kgrec-extraction-") as name:
        shared = Path(name)
        texts.documents.write_parquet(shared / "documents.parquet")
        known.names.write_parquet(shared / "names.parquet")
        known.triples.write_parquet(shared / "triples.parquet")
        done = _in_child((config, texts.source, shared, ledger), progress)
        audit.extraction = {"gold": done["gold"]} if config.gold else {}
        for account in done["accounts"]:
            counts = audit.table(f"extraction.{account['engine']}")
            counts.rows_in += account["items_in"]
            counts.rows_kept += account["extracted"] + account["cached"]
            counts.drop("dead letter", account["dead_lettered"])
            for what in ("extracted", "cached", "mentions", "triples", "bad_answers"):
                counts.note(what, account[what])
            for reason, number in account["rejected"].items():
                counts.note(f"rejected: {reason}", number)
            for what, number in account["usage"].items():
                counts.note(what, number)
        return ExtractedStatements(
            pl.read_parquet(shared / "statements.parquet"),
            pl.read_parquet(shared / "entities.parquet"),
        )


def _in_child(arguments: tuple[Any, ...], progress: Progress) -> dict[str, Any]:
    """Run the engines in a new process; return their accounting and the check of gold."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(there, *arguments), name="graph-etl extraction")
    child.start()
    there.close()
    try:
        while True:
            kind, content = here.recv()
            if kind == "done":
                return dict(content)
            if kind == "error":
                raise content
            progress(*content)
    except EOFError as error:
        child.join()
        raise ExtractionError(
            "Expected the extraction to end, its process died with exit code "
            f"{child.exitcode}; build again, it goes on where it stood"
        ) from error
    finally:
        child.join()


def _child(
    messages: Connection,
    config: ExtractionConfig,
    source: str,
    shared: Path,
    ledger: Path,
) -> None:
    def tell(what: str, share: float) -> None:
        messages.send(("step", (what, share)))

    try:
        rows = pl.read_parquet(shared / "documents.parquet")
        known = KnownGraph(
            pl.read_parquet(shared / "names.parquet"), pl.read_parquet(shared / "triples.parquet")
        )
        schema = extraction_schema(config)
        with (
            Ledger(ledger) as kept,
            open_stages(config.engines, schema, known, tell) as stages,
        ):
            run = ExtractionRun(
                stages, schema, kept, limits=config.limits, run_limits=config.run, progress=tell
            )
            check = gold_check(config.gold, [one.extractor.engine for one in stages])
            documents = (Document(*row) for row in rows.iter_rows())
            found = check.watched(run.over(documents, rows.height))
            made = extracted_statements(found, source)
        made.statements.write_parquet(shared / "statements.parquet")
        made.names.write_parquet(shared / "entities.parquet")
        accounts = [account.as_dict() for account in run.accounts]
        messages.send(("done", {"accounts": accounts, "gold": check.record()}))
    except GraphEtlError as error:
        messages.send(("error", error))
    finally:
        messages.close()
