"""The labelled texts that ship with the package, to measure engines on and to train them from.

Each corpus is a folder with graph_schema.yaml, gold.jsonl, train.jsonl and the two markings that
gold.jsonl was settled from; its README.md says how it was made. All of it is CC0.
"""

from __future__ import annotations

from pathlib import Path

from graph_etl.errors import ConfigError
from graph_etl.extraction.gold import GoldDocument, read_gold
from graph_etl.graph_schema import GraphSchema, load_graph_schema

__all__ = ["CORPORA", "PARTS", "corpus_path", "corpus_schema", "load_corpus"]

_HERE = Path(__file__).parent
CORPORA = tuple(sorted(path.parent.name for path in _HERE.glob("*/graph_schema.yaml")))
PARTS = ("train", "gold", "gold-first", "gold-second")


def corpus_path(name: str, file: str) -> Path:
    """Return where a file of a corpus lies.

    Args:
        name: One of CORPORA.
        file: A file name, "gold.jsonl".

    Raises:
        ConfigError: There is no such corpus or file.
    """
    path = _HERE / name / file
    if name not in CORPORA or not path.is_file():
        raise ConfigError(
            f"Expected a corpus among {CORPORA} and one of its files, got '{name}' and '{file}'"
        )
    return path


def load_corpus(name: str, part: str) -> list[GoldDocument]:
    """Return labelled documents of a corpus.

    Args:
        name: One of CORPORA.
        part: One of PARTS.

    Raises:
        ConfigError: There is no such corpus or part.
    """
    return read_gold(corpus_path(name, f"{part}.jsonl"))


def corpus_schema(name: str) -> GraphSchema:
    """Return the schema of a corpus, one of CORPORA."""
    return load_graph_schema(corpus_path(name, "graph_schema.yaml"))
