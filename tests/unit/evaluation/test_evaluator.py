"""The evaluator: batches change nothing, broken lists are refused, the withheld item is found."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_data import OpenLog, Popularity, dataset_of, random_dataset

from kgrec.data.histories import HistoryBatch
from kgrec.data.splits import make_split
from kgrec.data.task import EvaluationTask
from kgrec.errors import DataError
from kgrec.evaluation.beyond_accuracy import catalogue_facts
from kgrec.evaluation.evaluator import evaluate
from kgrec.models.top_items import TopItems

DATA = random_dataset(num_users=70, seed=2)
SPLIT = make_split(DATA, "per_user_time")
TASK = SPLIT.open_test(OpenLog(), model="popularity", config_hash="0")["all"]
TRAINED = SPLIT.interactions("train+val")


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_evaluate_gives_the_same_numbers_in_any_batch_size(batch_size: int) -> None:
    facts = catalogue_facts(TRAINED, DATA.num_items, DATA.graph.item_entity_matrix())
    model = Popularity(TRAINED, DATA.num_items)
    expected = evaluate(model, TASK, num_items=DATA.num_items, catalogue=facts)
    model.largest_batch = 0
    found = evaluate(model, TASK, num_items=DATA.num_items, catalogue=facts, batch_size=batch_size)
    assert model.largest_batch == min(batch_size, len(TASK))
    for name, values in expected.metrics.items():
        np.testing.assert_array_equal(found.metrics[name], values)
    assert found.set_metrics == expected.set_metrics
    assert (found.lists == expected.lists).all()


def test_evaluate_finds_the_withheld_item_of_a_checkerboard() -> None:
    rows = [
        (user, item, 5.0, 1 + item)
        for user in range(8)
        for item in range(10)
        if item % 2 == user % 2 and item != (user // 2) * 2 + user % 2
    ]
    rows += [(user, (user // 2) * 2 + user % 2, 5.0, 99) for user in range(8)]
    data = dataset_of(rows, 8, 10)
    split = make_split(data, "per_user_time", test_fraction=0.2, val_fraction=0.2)
    task = split.open_test(OpenLog(), model="m", config_hash="c")["all"]

    class SameColour:
        def top(self, histories: HistoryBatch, k: int, **_: object) -> TopItems:
            shape = (len(histories), k)
            lists, scores = np.full(shape, -1), np.full(shape, -np.inf, dtype=np.float32)
            for row in range(len(histories)):
                own = histories.item_idx[histories.indptr[row] : histories.indptr[row + 1]]
                wanted = [i for i in range(10) if i % 2 == own[0] % 2 and i not in own]
                lists[row, : len(wanted)] = wanted
                scores[row, : len(wanted)] = 1
            return TopItems(lists, scores)

    result = evaluate(SameColour(), task, ks=(1, 5), num_items=10)
    assert result.means()["recall@1"] == 1.0
    assert result.means()["ndcg@5"] == 1.0


def test_evaluate_breaks_ties_by_seed() -> None:
    class Indifferent(Popularity):
        def scores(self, histories: HistoryBatch) -> np.ndarray:
            return np.zeros((len(histories), DATA.num_items), dtype=np.float32)

    model = Indifferent(TRAINED, DATA.num_items)
    a, b, again = (evaluate(model, TASK, num_items=DATA.num_items, seed=s) for s in (0, 1, 0))
    assert (a.lists != b.lists).any()
    assert (a.lists == again.lists).all()


def broken(change: str) -> Popularity:
    class Broken(Popularity):
        def top(self, histories: HistoryBatch, k: int, **rest: object) -> TopItems:
            top = super().top(histories, k, **rest)  # type: ignore[arg-type]
            items = top.item_idx.copy()
            if change == "masked":
                items[0, 0] = histories.item_idx[0]
            elif change == "twice":
                items[0, 1] = items[0, 0]
            elif change == "range":
                items[0, 0] = DATA.num_items
            elif change == "shape":
                items = items[:, :-1]
            return TopItems(items, top.score)

    return Broken(TRAINED, DATA.num_items)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("masked", "Expected no item of a user's history, got 1"),
        ("twice", "Expected each item once for a user"),
        ("range", r"Expected items in 0\.\.59"),
        ("shape", r"Expected shape \(70, 50\), got \(70, 49\)"),
    ],
)
def test_evaluate_refuses_lists_that_break_the_rules(change: str, message: str) -> None:
    task = TASK if len(TASK) == 70 else replace(TASK)
    message = message.replace("70", str(len(task)))
    with pytest.raises(DataError, match=message):
        evaluate(broken(change), task, num_items=DATA.num_items)


def test_evaluate_refuses_items_that_are_not_ranked() -> None:
    class Deaf(Popularity):
        def top(self, histories: HistoryBatch, k: int, **rest: object) -> TopItems:
            return super().top(histories, k)

    split = make_split(DATA, "cold_items")
    task = split.validation()["among_cold"]
    with pytest.raises(DataError, match="Expected ranked items only"):
        evaluate(Deaf(TRAINED, DATA.num_items), task, num_items=DATA.num_items)
    found = evaluate(Popularity(TRAINED, DATA.num_items), task, num_items=DATA.num_items)
    assert found.ranked_items == task.allowed.sum()  # type: ignore[union-attr]


def test_evaluate_refuses_an_empty_task() -> None:
    empty: EvaluationTask = TASK.take(np.empty(0, dtype=np.int64))
    with pytest.raises(DataError, match="Expected users in task 'per_user_time/test/all'"):
        evaluate(Popularity(TRAINED, DATA.num_items), empty, num_items=DATA.num_items)


@pytest.mark.parametrize("batch_size", [3, 1000])
def test_evaluate_masks_what_the_model_is_not_told_of(batch_size: int) -> None:
    known = TASK.histories.indptr
    middle = known[:-1] + np.diff(known) // 2  # the model is told of the first half
    told = np.concatenate(
        [np.arange(a, b) for a, b in zip(known[:-1], middle, strict=True)]
    ).astype(np.int64)
    untold = np.setdiff1d(np.arange(known[-1]), told)
    histories = TASK.histories
    part = HistoryBatch(
        histories.user_idx,
        np.concatenate([[0], np.cumsum(middle - known[:-1])]),
        histories.item_idx[told],
        histories.value[told],
        histories.timestamp[told],
        histories.positive[told],
        histories.now,
    )
    rows = histories.row_of_event[untold]
    bounds = np.searchsorted(rows, np.arange(len(histories) + 1))
    task = replace(
        TASK, histories=part, masked_indptr=bounds, masked_items=histories.item_idx[untold]
    )
    model = Popularity(TRAINED, DATA.num_items)  # it hears nothing: only the mask can differ
    expected = evaluate(model, TASK, num_items=DATA.num_items)
    found = evaluate(model, task, num_items=DATA.num_items, batch_size=batch_size)
    for name, values in expected.metrics.items():
        np.testing.assert_array_equal(found.metrics[name], values)
    assert (found.lists == expected.lists).all()
