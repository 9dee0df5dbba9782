"""A language model served on loopback by llama.cpp, for a laptop and for the tests."""

from graph_etl.llm_server.local import LlmServer, down, served, status, up

__all__ = ["LlmServer", "down", "served", "status", "up"]
