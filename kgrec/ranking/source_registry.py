"""Which class a saved candidate source is loaded by, from its scorer's short name."""

from __future__ import annotations

import importlib
from pathlib import Path

from kgrec.errors import ArtifactError
from kgrec.models.baselines import BASELINES
from kgrec.models.scorer import Scorer

# short name -> (module, class); modules of heavy libraries are imported when they are needed
SOURCES: dict[str, tuple[str, str]] = {
    "text_similarity": ("kgrec.retrieval.vector_source", "TextSimilarity"),
    "kg_neighbours": ("kgrec.retrieval.graph_source", "KgNeighbours"),
    "content_kernel": ("kgrec.retrieval.content_kernel", "ContentKernel"),
    "content_ridge": ("kgrec.retrieval.content_ridge", "ContentRidge"),
    "trending": ("kgrec.retrieval.trending", "Trending"),
    "new_items": ("kgrec.retrieval.new_items", "NewItems"),
    "towers": ("kgrec.models.towers", "TowersScorer"),
}


def load_source(kind: str, folder: Path) -> Scorer:
    """Return the saved source of one folder.

    Args:
        kind: The scorer's ``name``.
        folder: Where its ``save`` wrote it.

    Raises:
        ArtifactError: No class is known by that name.
    """
    if kind in BASELINES:
        return BASELINES[kind].load(folder)
    if kind not in SOURCES:
        raise ArtifactError(
            f"Expected a candidate source of {sorted([*BASELINES, *SOURCES])}, got '{kind}' in "
            f"{folder}; load it with the version of kgrec that wrote it"
        )
    module, name = SOURCES[kind]
    source: type[Scorer] = getattr(importlib.import_module(module), name)
    return source.load(folder)
