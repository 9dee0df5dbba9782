"""Engines measured on labelled documents: scores, speed, and how alike several runs are.

What is counted is decided in scoring.py; which engine it is does not matter.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from graph_etl.extraction.bert.words import sentences_of, words_of
from graph_etl.extraction.extractor import Extractor, Request
from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.records import Extraction, Usage
from graph_etl.extraction.scoring import ALL, agreement, as_record, scores_of
from graph_etl.extraction.validation import ExtractionLimits, validated
from graph_etl.graph_schema import GraphSchema

_LIBRARIES = ("kgrec", "torch", "transformers", "tokenizers", "lightning", "numpy")
_SUMMARY = tuple(
    (kind, view) for kind in ("entities", "triples") for view in ("strict", "boundaries")
)


def measured(
    gold: Sequence[GoldDocument],
    extractor: Extractor,
    *,
    schema: GraphSchema | None = None,
    limits: ExtractionLimits | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], list[Extraction]]:
    """Return an engine's scores and speed as plain values, and what it said of each document.

    Args:
        gold: Labelled documents.
        extractor: The engine.
        schema: Answers are first validated against it, as in a run; None: they count as they are.
        limits: What of an answer counts then; None: as in a run by default.
        progress: Told in words how far it is.

    Raises:
        ExtractionError: The engine cannot go on.
    """
    documents = {one.document.doc_id: one.document for one in gold}
    found: dict[str, Extraction] = {}
    failures: dict[str, int] = {}
    usage = Usage()
    begun = time.perf_counter()
    for answer in extractor.answers([Request(one) for one in documents.values()]):
        usage += answer.usage
        if answer.extraction is None:
            kind = answer.failure.kind if answer.failure else "unknown"
            failures[kind] = failures.get(kind, 0) + 1
            continue
        found[answer.doc_id] = answer.extraction
        if len(found) % 1000 == 0:
            progress(f"{len(found)} of {len(documents)} documents")
    seconds = time.perf_counter() - begun
    if schema is not None:
        within = limits or ExtractionLimits()
        found = {
            name: validated(documents[name], one, schema, within) for name, one in found.items()
        }
    sentences = sum(len(sentences_of(one.text, words_of(one.text))) for one in documents.values())
    record = {
        "engine": extractor.engine,
        "model": extractor.model,
        "prompt_version": extractor.prompt_version,
        "fingerprint": extractor.fingerprint,
        "failures": failures,
        "seconds": round(seconds, 3),
        "sentences_per_s": round(sentences / seconds, 1),
        "texts_per_s": round(len(documents) / seconds, 2),
        "usage": asdict(usage),
        "cost": None if (cost := extractor.cost_of(usage)) is None else asdict(cost),
        "scores": as_record(scores_of(gold, found)),
    }
    empty = {one.document.doc_id: Extraction(one.document.doc_id) for one in gold}
    return record, [found.get(name, nothing) for name, nothing in empty.items()]


def summary_of(
    runs: Sequence[Mapping[str, Any]], said: Sequence[Sequence[Extraction]]
) -> dict[str, Any]:
    """Return mean and standard deviation over runs, and how alike they are.

    Args:
        runs: Records of ``measured``.
        said: What each run said of the documents.
    """
    summary: dict[str, Any] = {}
    for kind, view in _SUMMARY:
        values = [run["scores"][kind][view][ALL]["f1"] for run in runs]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        summary[f"{kind} {view} f1"] = {"mean": float(np.mean(values)), "sd": spread}
    alike = [agreement(one, other) for one, other in combinations(said, 2)]
    if alike:
        summary["agreement"] = {
            kind: float(np.mean([one[kind] for one in alike])) for kind in alike[0]
        }
    return summary


def circumstances(data: Sequence[Path]) -> dict[str, Any]:
    """Return checksums of the data, versions and machine, for run records."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "data": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data},
        "versions": versions,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS", ""),
        },
    }
