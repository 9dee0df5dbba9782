"""What a run's models see of the triples that were extracted from texts."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from kgrec.config import RunConfig
from kgrec.jobs.prepare import prepare
from kgrec.jobs.workspace import Workspace

SHOP = {
    "name": "shop",
    "items": {
        "table": "items.csv",
        "id": "id",
        "title": "title",
        "text": ["blurb"],
        "entity_type": "book",
        "attributes": [{"column": "place", "relation": "set_in", "entity_type": "place"}],
    },
    "interactions": {"table": "log.csv", "user": "user", "item": "book", "timestamp": "when"},
    "extraction": {"engines": [{"engine": "gazetteer", "relates": {"place": "set_in"}}]},
}


@pytest.mark.parametrize(("learn", "num_triples"), [(True, 2), (False, 1)])
def test_models_see_extracted_triples_unless_told_not_to(
    tmp_path: Path, learn: bool, num_triples: int
) -> None:
    items = {"id": ["1", "2"], "title": ["Dust", "Rain"], "place": ["Rome", None]}
    pl.DataFrame({**items, "blurb": ["A walk.", "A thief in Rome."]}).write_csv(
        tmp_path / "items.csv"
    )
    pl.DataFrame({"user": ["u", "v"], "book": ["1", "2"], "when": [1, 2]}).write_csv(
        tmp_path / "log.csv"
    )
    schema = {
        "entity_types": [{"name": "book"}, {"name": "place"}],
        "relation_types": [
            {"head": "book", "relation": "set_in", "tail": "place", "phrase": "is set in"}
        ],
    }
    shop = {**SHOP, "extraction": {**SHOP["extraction"], "schema": schema}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(shop))
    config = RunConfig(
        name="shop",
        dataset=str(tmp_path / "dataset.yaml"),
        encoder="off",
        store="none",
        learn_from_texts=learn,
    )
    workspace = Workspace(tmp_path / "out")
    workspace.prepare()
    prepared = prepare(config, workspace, lambda step, share: None)
    assert prepared.dataset.graph.num_triples == num_triples
    assert prepared.statistics.triples == 2  # the graph that was published has all of them
