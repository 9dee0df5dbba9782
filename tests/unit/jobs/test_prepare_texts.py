"""What a run's models see of the triples that were extracted from texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from pydantic import ValidationError
from text_data import make_wordy_bert

from kgrec.config import RunConfig
from kgrec.jobs.prepare import Prepared, prepare
from kgrec.jobs.workspace import Workspace
from kgrec.models.text.encoder import TextEncoder
from kgrec.models.text.tuned import TunedText

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


def prepared_with(folder: Path, bert: Path, mode: str) -> Prepared:
    items = {"id": ["1", "2"], "title": ["taste0a", "taste1b noisea"], "place": ["Rome", None]}
    pl.DataFrame({**items, "blurb": ["", ""]}).write_csv(folder / "items.csv")
    pl.DataFrame({"user": ["u", "v"], "book": ["1", "2"], "when": [1, 2]}).write_csv(
        folder / "log.csv"
    )
    shop = {name: part for name, part in SHOP.items() if name != "extraction"}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(shop))
    config = RunConfig(
        name="shop",
        dataset=str(folder / "dataset.yaml"),
        encoder=str(bert),
        store="none",
        text_tuning={"mode": mode},
    )
    workspace = Workspace(folder / "out")
    workspace.prepare()
    return prepare(config, workspace, lambda step, share: None)


def test_frozen_texts_are_the_vectors_of_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "cache"))
    bert = make_wordy_bert(tmp_path / "bert")
    prepared = prepared_with(tmp_path, bert, "frozen")
    expected = TextEncoder(bert, tmp_path / "other").encode(prepared.dataset.items.texts.tolist())
    assert isinstance(prepared.text_vectors, np.ndarray)
    np.testing.assert_array_equal(prepared.text_vectors, expected)


def test_texts_of_an_encoder_that_learns_wait_for_what_it_learns_from(tmp_path: Path) -> None:
    prepared = prepared_with(tmp_path, make_wordy_bert(tmp_path / "bert"), "full")
    assert isinstance(prepared.text_vectors, TunedText)
    assert prepared.text_vectors.root == tmp_path / "out" / "text"


def test_learning_without_an_encoder_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs an encoder, got off"):
        RunConfig(dataset="demo", encoder="off", text_tuning={"mode": "full"})
