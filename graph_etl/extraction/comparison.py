"""Several engines on the same labelled texts: their runs, and one row for each to compare them by.

What is measured of one run is decided in evaluation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graph_etl.extraction.evaluation import measured, summary_of
from graph_etl.extraction.extractor import Extractor
from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.records import Extraction
from graph_etl.extraction.validation import ExtractionLimits
from graph_etl.graph_schema import GraphSchema


@dataclass(frozen=True)
class Candidate:
    """An engine, or a cascade of them, to be measured.

    Attributes:
        name: What the table calls it.
        runs: Opens it, once for each run: models of several seeds, or one several times.
        limits: What of its answers counts; None: as in a run by default.
    """

    name: str
    runs: tuple[Callable[[], Extractor], ...]
    limits: ExtractionLimits | None = None


def compared(
    gold: Sequence[GoldDocument],
    candidates: Sequence[Candidate],
    *,
    schema: GraphSchema | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], list[list[Extraction]]]:
    """Return the record of all runs, and what each said of the documents.

    Args:
        gold: Labelled documents.
        candidates: What is measured, in order.
        schema: As ``evaluation.measured`` takes it.
        progress: Told in words how far it is.

    Returns:
        {"documents", "engines": a row for each candidate, "runs": as ``measured``, with the
        candidate's name}.

    Raises:
        ExtractionError, ConfigError: An engine cannot be opened or cannot go on.
    """
    runs: list[dict[str, Any]] = []
    said: list[list[Extraction]] = []
    rows = []
    for candidate in candidates:
        first = len(runs)
        for number, opened in enumerate(candidate.runs, 1):
            name = candidate.name if len(candidate.runs) == 1 else f"{candidate.name} {number}"
            with opened() as extractor:
                progress(f"{name}: {len(gold)} texts")
                run, answers = measured(
                    gold, extractor, schema=schema, limits=candidate.limits, progress=progress
                )
            runs.append({"name": name, **run})
            said.append(answers)
        rows.append(_row(candidate.name, runs[first:], said[first:], len(gold)))
    return {"documents": len(gold), "engines": rows, "runs": runs}, said


def _row(
    name: str,
    runs: Sequence[Mapping[str, Any]],
    said: Sequence[Sequence[Extraction]],
    documents: int,
) -> dict[str, Any]:
    """Return means over runs: scores, stability, cost of a thousand texts, texts a second."""
    costs = [run["cost"] for run in runs if run["cost"] is not None]
    cost = None
    if costs:
        amount = float(np.mean([one["amount"] for one in costs])) / documents * 1000
        cost = {"amount": amount, "currency": costs[0]["currency"]}
    summary = summary_of(runs, said)
    return {
        "name": name,
        "runs": len(runs),
        "scores": _mean([run["scores"] for run in runs]),
        "summary": summary,
        "stability": summary.get("agreement"),
        "texts_per_s": float(np.mean([run["texts_per_s"] for run in runs])),
        "requests": sum(run["usage"]["requests"] for run in runs),
        "cost_per_1000_texts": cost,
    }


def _mean(scores: Sequence[Any]) -> Any:
    """Return nested scores with the mean of each number; intervals are those of the first run.

    A type that is not labelled is averaged over the runs that said it.
    """
    first = scores[0]
    if isinstance(first, Mapping):
        names = list(dict.fromkeys(name for one in scores for name in one))
        return {name: _mean([one[name] for one in scores if name in one]) for name in names}
    return first if isinstance(first, list) else float(np.mean(scores))
