"""Extraction by a generative language model behind the OpenAI-compatible chat API."""

from graph_etl.extraction.llm.engine import LlmExtractor

__all__ = ["LlmExtractor"]
