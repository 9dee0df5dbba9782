"""Unlisted items are learned from and known of a user; no part of a split asks for them."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from evaluation_data import OpenLog, random_dataset

from kgrec.data.dataset import Dataset, listed_items
from kgrec.data.splits import Split, make_split
from kgrec.data.task import EvaluationTask

DATA = random_dataset()
LISTED = np.arange(DATA.num_items) % 3 > 0
RICH = replace(DATA, items=replace(DATA.items, listed=LISTED))


def tasks_of(split: Split) -> list[EvaluationTask]:
    test = split.open_test(OpenLog(), model="popularity", config_hash="0" * 64)
    return [*split.validation().values(), *test.values()]


@pytest.mark.parametrize("name", ["global_time", "per_user_time", "new_users", "cold_items"])
def test_only_listed_items_are_asked_for(name: str) -> None:
    split = make_split(RICH, name)  # type: ignore[arg-type]
    known = np.zeros(RICH.num_items, dtype=bool)
    for task in tasks_of(split):
        assert LISTED[task.target_items].all()
        assert task.allowed is not None
        assert not task.allowed[~LISTED].any()
        known[task.histories.item_idx] = True
    assert known[~LISTED].any()
    assert not LISTED[split.interactions("train").item_idx].all()


def test_unlisted_items_are_never_held_out_as_cold() -> None:
    train = make_split(RICH, "cold_items").interactions("train")
    unlisted = RICH.interactions.take(~LISTED[RICH.interactions.item_idx])
    assert (~LISTED[train.item_idx]).sum() == len(unlisted)


def labels_of(data: Dataset) -> pl.DataFrame:
    """Return published labels: unlisted items are train, a third each of the others."""
    events = data.interactions
    parts = np.array(["train", "val", "test"])[np.arange(len(events)) % 3]
    parts[~LISTED[events.item_idx]] = "train"
    return pl.DataFrame(
        {
            "user_id": data.users.ids[events.user_idx].tolist(),
            "item_id": data.items.ids[events.item_idx].tolist(),
            "part": parts.tolist(),
        }
    ).unique(["user_id", "item_id"], keep="first", maintain_order=True)


def test_dealing_anew_leaves_unlisted_items_in_train() -> None:
    split = make_split(RICH, "redrawn", seed=1, published=labels_of(RICH))
    published = make_split(RICH, "as_published", published=labels_of(RICH))
    train = split.interactions("train")
    assert len(train) == len(published.interactions("train"))
    unlisted = RICH.interactions.take(~LISTED[RICH.interactions.item_idx])
    assert (~LISTED[train.item_idx]).sum() == len(unlisted)
    assert sorted(train.item_idx) != sorted(published.interactions("train").item_idx)


def test_a_table_says_which_items_are_listed() -> None:
    assert listed_items(pl.DataFrame({"item_id": ["a"]})) is None
    assert listed_items(pl.DataFrame({"listed": [True, True]})) is None
    found = listed_items(pl.DataFrame({"listed": [True, False]}))
    assert found is not None
    assert found.tolist() == [True, False]
