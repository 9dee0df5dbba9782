"""Unlisted items, served: read in histories, asked about, and never answered with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_data import NUM_ITEMS, SCORERS, SmallEase, VectorEase, make_training_data

from kgrec import Recommender, UnknownItemError
from kgrec.artifact import publish, save_artifact
from kgrec.models.scorer import TrainingData
from kgrec.serving.answers import Recommendations
from kgrec.serving.extended_graph import extended_items
from kgrec.serving.new_items import NewItem

LISTED = np.arange(NUM_ITEMS) % 2 == 0
UNLISTED = {f"item-{i}" for i in np.flatnonzero(~LISTED)}
HISTORY = ["item-1", "item-3", "item-5"]  # unlisted, of the first topic


def training_data() -> TrainingData:
    train = make_training_data()
    items = replace(train.dataset.items, listed=LISTED)
    return replace(train, dataset=replace(train.dataset, items=items))


@pytest.fixture(params=[SmallEase, VectorEase])
def rec(request: pytest.FixtureRequest, tmp_path: Path) -> Recommender:
    train = training_data()
    fitted = request.param().fit(train)
    publish(save_artifact(tmp_path, fitted, train, scorers=SCORERS), tmp_path / "current")
    return Recommender.load(tmp_path / "current", scorers=SCORERS, state=tmp_path / "state")


def ids(answer: Recommendations) -> set[str]:
    return {item.item_id for item in answer}


def test_no_answer_holds_an_unlisted_item(rec: Recommender) -> None:
    for user in ("user-0", "critic", "nobody"):
        answer = rec.recommend(user, k=NUM_ITEMS)
        assert len(answer)
        assert not ids(answer) & UNLISTED
    assert not ids(rec.search("Item 1", k=20)) & UNLISTED
    assert not ids(rec.recommend("user-0", k=NUM_ITEMS, filters={"year": (1960, 1990)})) & UNLISTED


def test_a_history_of_unlisted_items_is_heard(rec: Recommender) -> None:
    answer = rec.recommend(history=HISTORY, k=5)
    assert answer.personalised
    topics = [int(item.item_id.removeprefix("item-")) // 15 for item in answer]
    assert topics.count(0) >= 4


def test_unlisted_items_can_be_asked_about(rec: Recommender) -> None:
    for answer in (rec.similar("item-1", k=5), rec.complementary("item-1", k=5)):
        assert len(answer)
        assert not ids(answer) & UNLISTED


def test_a_removed_item_still_cannot_be_asked_about(rec: Recommender) -> None:
    rec.remove_item("item-1")
    with pytest.raises(UnknownItemError, match="'item-1', which was removed"):
        rec.similar("item-1")
    rec.remove_item("item-2")
    assert "item-2" not in ids(rec.recommend("user-0", k=NUM_ITEMS))
    assert not ids(rec.recommend("user-0", k=NUM_ITEMS)) & UNLISTED


def test_an_added_item_is_listed(rec: Recommender) -> None:
    new = NewItem(item_id="new", title="New")
    listed = extended_items(rec.artifact.items, [new]).listed
    assert listed is not None
    assert listed.tolist() == [*LISTED.tolist(), True]
    rec.add_item("new", "New", triples=[("made_by", "Maker 0")])
    assert not ids(rec.recommend("user-0", k=NUM_ITEMS)) & UNLISTED
