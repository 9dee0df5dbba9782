"""A catalogue that changes from night to night: books with makers, and who bought them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from graph_etl.dataset_config import DatasetConfig
from graph_etl.pipeline import BuildResult, build

NUM_BOOKS = 200


def config(**gates: Any) -> DatasetConfig:
    return DatasetConfig.model_validate(
        {
            "name": "nights",
            "items": {
                "table": "books",
                "id": "id",
                "title": "title",
                "entity_type": "book",
                "attributes": [
                    {"column": "maker", "relation": "made_by", "entity_type": "maker"},
                    {"column": "topic", "relation": "is_about", "entity_type": "topic"},
                ],
            },
            "interactions": {
                "table": "orders",
                "user": "user",
                "item": "id",
                "positive": {},
            },
            "gates": gates,
        }
    )


def books(count: int = NUM_BOOKS) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [f"b{i}" for i in range(count)],
            "title": [f"Book {i}" for i in range(count)],
            "maker": [f"Maker {i % 40}" for i in range(count)],
            "topic": [f"Topic {i % 7}" for i in range(count)],
        }
    )


def orders(ids: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user": [f"u{i % 30}" for i in range(600)],
            "id": [ids[i * 7 % len(ids)] for i in range(600)],
        }
    )


def night(out: Path, table: pl.DataFrame, settings: DatasetConfig | None = None,
          **options: Any) -> BuildResult:  # fmt: skip
    """Build one night's tables."""
    sources = {"books": table, "orders": orders(table["id"].to_list())}
    return build(settings or config(), out=out, sources=sources, **options)
