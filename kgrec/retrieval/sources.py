"""Candidate sources of this package by name.

Any Scorer is a candidate source. TextSimilarity, KgNeighbours and ContentRidge reach items that
nobody has touched; IndexedSource answers for a model with item and user vectors, through FAISS.
"""

from __future__ import annotations

from kgrec.retrieval.content_ridge import ContentRidge, ContentRidgeConfig
from kgrec.retrieval.graph_source import KgNeighbours
from kgrec.retrieval.indexed_source import IndexedSource, VectorModel
from kgrec.retrieval.vector_source import ProfileConfig, TextSimilarity, VectorSource

__all__ = [
    "ContentRidge",
    "ContentRidgeConfig",
    "IndexedSource",
    "KgNeighbours",
    "ProfileConfig",
    "TextSimilarity",
    "VectorModel",
    "VectorSource",
]
