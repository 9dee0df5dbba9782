"""The threshold of relation scores: where F1 of triples on dev is highest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph_etl.extraction.bert.reading import Reader
from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.scoring import micro_counts

GRID = np.round(np.arange(0.10, 0.91, 0.02), 2)
_NEIGHBOURS = 6
DEFAULT = 0.5


def chosen_threshold(reader: Reader, gold: Sequence[GoldDocument]) -> tuple[float, float, float]:
    """Return the best threshold, and strict F1 of triples and of entities with it.

    F1 is smoothed over neighbouring thresholds, so that a chance peak does not win; the highest
    of the smoothed curve counts, the middle one of several.
    """
    documents = [one.document for one in gold]
    windows = reader.windows(documents)
    readings = reader.read(windows, float(GRID[0]))

    def f1_of(kind: str, threshold: float) -> float:
        return micro_counts(gold, reader.answers(documents, windows, readings, threshold), kind).f1

    if not reader.labels.relations:
        return DEFAULT, 0.0, f1_of("entities", DEFAULT)
    f1 = [f1_of("triples", threshold) for threshold in GRID.tolist()]
    padded = np.pad(f1, _NEIGHBOURS, mode="edge")
    smooth = np.convolve(padded, np.ones(2 * _NEIGHBOURS + 1) / (2 * _NEIGHBOURS + 1), "valid")
    best = np.flatnonzero(smooth >= smooth.max() - 1e-9)
    place = int(best[len(best) // 2])
    return float(GRID[place]), f1[place], f1_of("entities", float(GRID[place]))
