"""A small book shop as files, with something wrong of every kind that has a rule."""

from pathlib import Path
from typing import Any

from graph_etl.dataset_config import DatasetConfig
from graph_etl.dataset_yaml import dataset_config_from

BOOKS = """isbn,title,author,subjects,pages,blurb
b1,Dune,Frank Herbert,desert|politics,412,A planet of sand.
b2,Emma,Jane Austen,love,474,
b3,Persuasion,jane  AUSTEN,love|the sea,n/a,Second chances
b4,,N/A,,x,Unknown pages
"""
READERS = """id,age,city
u1,31,Graz
u2,,Oslo
u9,40,
"""
ORDERS = """customer,isbn,stars,at
u1,b1,5,100
u1,b2,2,200
u2,b1,4,150
u2,b1,4,150
u3,b3,3,300
u3,b7,5,310
,b1,5,320
u1,b4,5,400
"""


def content() -> dict[str, Any]:
    return {
        "name": "book-shop",
        "license": "CC0-1.0",
        "items": {
            "table": "books.csv",
            "id": "isbn",
            "title": "title",
            "entity_type": "book",
            "text": ["title", "{blurb}", "About: {subjects}"],
            "attributes": [
                {
                    "column": "author",
                    "relation": "written_by",
                    "entity_type": "person",
                    "phrase": "was written by",
                },
                {
                    "column": "subjects",
                    "relation": "is_about",
                    "entity_type": "subject",
                    "separator": "|",
                },
            ],
            "numeric": ["pages"],
        },
        "users": {
            "table": "readers.csv",
            "id": "id",
            "profile": ["{age} years old", "lives in {city}"],
            "attributes": ["city"],
            "numeric": ["age"],
        },
        "interactions": {
            "table": "orders.csv",
            "user": "customer",
            "item": "isbn",
            "value": "stars",
            "timestamp": "at",
            "event": {"constant": "rating"},
            "positive": {"min_value": 4},
        },
    }


def config(**interactions: Any) -> DatasetConfig:
    """The shop's config with these fields of ``interactions`` changed."""
    fields = content()
    fields["interactions"].update(interactions)
    return dataset_config_from(fields, "the test")


def write(folder: Path, **tables: str) -> Path:
    """Write the shop's tables, or those given instead (orders="...")."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"books": BOOKS, "readers": READERS, "orders": ORDERS} | tables
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder
