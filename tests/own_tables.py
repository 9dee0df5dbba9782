"""A small shop's tables, their dataset.yaml and a quick run; readers like one of three subjects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

DATASET = {
    "name": "little-shop",
    "items": {
        "table": "books.csv",
        "id": "isbn",
        "title": "title",
        "entity_type": "book",
        "text": ["{title} by {author}"],
        "attributes": [
            {"column": "author", "relation": "written_by", "entity_type": "person",
             "phrase": "was written by"},
            {"column": "subjects", "separator": "|", "relation": "is_about",
             "entity_type": "subject", "phrase": "is about"},
        ],
    },
    "interactions": {
        "table": "orders.csv",
        "user": "customer",
        "item": "isbn",
        "value": "stars",
        "timestamp": "at",
        "positive": {"min_value": 4},
    },
}  # fmt: skip
RUN = {
    "name": "little",
    "publish_on": "measured",
    "dataset": "dataset.yaml",
    "encoder": "off",
    "further_splits": ["cold_items", "new_users"],
    "baselines": ["popularity", "ease"],
    "tuning": {"trials": 2},
    "sources": ["ease", "svd", "kg_neighbours", "towers"],
    "towers": {"steps": 5, "embedding_dim": 8, "users_per_step": 64},
    "pipeline": {"rankers": ["lightgbm", "linear"], "lightgbm": {"rounds": 10}},
    "ablations": {"without_text": True, "without_ranker": True, "graph": ["off"]},
    "explained": 50,
}


# all that the published artifact needs, and one baseline
SHORT_RUN = RUN | {
    "further_splits": [],
    "baselines": ["ease"],
    "ablations": {"without_towers": False},
    "explained": 0,
}


def write_tables(
    folder: Path, num_users: int = 120, num_items: int = 60, run: Mapping[str, object] = RUN
) -> None:
    """Write books of three subjects and readers who like one of them."""
    rng = np.random.default_rng(0)
    subject = np.arange(num_items) % 3
    lines = ["isbn,title,author,subjects"]
    for item in range(num_items):
        author = f"Author {item // 4}"
        lines.append(f'b{item},"Book, number {item}",{author},subject {subject[item]}|print')
    (folder / "books.csv").write_text("\n".join(lines) + "\n")
    lines = ["customer,isbn,stars,at"]
    for user in range(num_users):
        weight = np.where(subject == user % 3, 8.0, 1.0)
        items = rng.choice(num_items, size=25, replace=False, p=weight / weight.sum())
        for place, item in enumerate(items):
            stars = 5 if subject[item] == user % 3 else 2
            lines.append(f"u{user},b{item},{stars},{1_700_000_000 + 3600 * place + user}")
    (folder / "orders.csv").write_text("\n".join(lines) + "\n")
    (folder / "dataset.yaml").write_text(yaml.safe_dump(DATASET))
    (folder / "run.yaml").write_text(yaml.safe_dump(dict(run)))
