"""Precision and recall over the confidence from which triples count, and the point to work at.

The point is chosen on documents that neither trained nor judge the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.records import Extraction
from graph_etl.extraction.scoring import Counts, micro_counts


@dataclass(frozen=True, slots=True)
class Point:
    """What an engine reaches where triples count from a confidence on.

    Attributes:
        confidence: The least that counts.
        counts: Strict counts of triples.
    """

    confidence: float
    counts: Counts


def surer(extraction: Extraction, confidence: float) -> Extraction:
    """Return an extraction with the triples of at least a confidence alone."""
    kept = tuple(one for one in extraction.triples if one.confidence >= confidence)
    return replace(extraction, triples=kept)


def precision_recall(
    gold: Sequence[GoldDocument], said: Sequence[Extraction], confidences: Sequence[float]
) -> list[Point]:
    """Return a point for each confidence.

    Args:
        gold: What is true.
        said: What was said of each document, in the same order.
        confidences: From which triples are to count.
    """
    return [
        Point(least, micro_counts(gold, [surer(one, least) for one in said], "triples"))
        for least in confidences
    ]


def point_inside(points: Sequence[Point], precision: float, recall: float) -> Point:
    """Return the point that is furthest beyond the asked precision and recall, or misses least.

    What counts is the smaller of the two margins, so that neither is given up for the other and
    both have room on other documents.

    Raises:
        ValueError: There are no points.
    """
    if not points:
        raise ValueError("Expected points of a curve, got none")
    return max(
        points, key=lambda one: min(one.counts.precision - precision, one.counts.recall - recall)
    )
