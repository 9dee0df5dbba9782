"""Candidate sources of this package by name.

Any Scorer is a candidate source. TextSimilarity, KgNeighbours, ContentRidge and ContentKernel
reach items that nobody has touched, NewItems those that hardly anybody has; IndexedSource answers
for a model with item and user vectors, through FAISS.
"""

from __future__ import annotations

from kgrec.retrieval.content_kernel import ContentKernel, ContentKernelConfig
from kgrec.retrieval.content_ridge import ContentRidge, ContentRidgeConfig
from kgrec.retrieval.graph_source import KgNeighbours
from kgrec.retrieval.indexed_source import IndexedSource, VectorModel
from kgrec.retrieval.new_items import NewItems, NewItemsConfig
from kgrec.retrieval.trending import Trending, TrendingConfig
from kgrec.retrieval.vector_source import ProfileConfig, TextSimilarity, VectorSource

__all__ = [
    "ContentKernel",
    "ContentKernelConfig",
    "ContentRidge",
    "ContentRidgeConfig",
    "IndexedSource",
    "KgNeighbours",
    "NewItems",
    "NewItemsConfig",
    "ProfileConfig",
    "TextSimilarity",
    "Trending",
    "TrendingConfig",
    "VectorModel",
    "VectorSource",
]
