"""Nothing hidden reaches training, and the detectors catch what leaks. Never skipped."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_data import OpenLog, Popularity, random_dataset, strings

from kgrec.data.splits import Split, make_split
from kgrec.errors import DataError
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.leakage import (
    canary_traces,
    changes_with_hidden_part,
    plant_canary,
    require_no_canary,
    require_no_leak,
    twin,
    users_in_graph,
)

DATA = random_dataset(num_users=60, seed=1)
KINDS = ("global_time", "per_user_time", "new_users", "cold_items")


def split_of(kind: str) -> Split:
    return make_split(DATA, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_canary_reaches_neither_training_nor_histories_nor_graph(kind: str) -> None:
    canary = plant_canary(split_of(kind))
    counts = np.bincount(
        canary.split.interactions("train+val").item_idx, minlength=canary.split.dataset.num_items
    )
    for part in ("train", "train+val"):
        require_no_canary(canary, interactions=canary.split.interactions(part))  # type: ignore[arg-type]
    test = canary.split.open_test(OpenLog(), model="m", config_hash="c")
    for task in (*canary.split.validation().values(), *test.values()):
        require_no_canary(canary, histories=task.histories)
    for mode in ("on", "off", "shuffled", "random", "tables"):
        require_no_canary(canary, graph=canary.split.graph(mode))  # type: ignore[arg-type]
    require_no_canary(canary, item_counts=counts)
    task = test[canary.split.primary_slice]
    assert all(canary.item_idx in task.targets_of(row) for row in range(len(task)))


def test_a_canary_has_no_vector_where_the_other_items_have_one() -> None:
    split = split_of("per_user_time")
    vectors = np.ones((split.dataset.num_items, 3), dtype=np.float32)
    items = replace(split.dataset.items, vectors=vectors)
    canary = plant_canary(replace(split, dataset=replace(split.dataset, items=items)))
    grown = canary.split.dataset.items.vectors
    assert grown is not None
    assert np.flatnonzero(~grown.any(axis=1)).tolist() == [canary.item_idx]


def test_canary_is_found_wherever_a_careless_job_would_carry_it() -> None:
    canary = plant_canary(split_of("per_user_time"))
    leaky = canary.leaky_dataset
    counts = np.bincount(leaky.interactions.item_idx, minlength=leaky.num_items)
    traces = canary_traces(
        canary,
        interactions=leaky.interactions,
        histories=None,
        graph=leaky.graph,
        item_counts=counts,
    )
    assert len(traces) == 3
    with pytest.raises(DataError, match="training events on the canary item"):
        require_no_canary(canary, interactions=leaky.interactions)


def test_canary_tells_a_leaky_model_from_an_honest_one() -> None:
    canary = plant_canary(split_of("per_user_time"))
    task = canary.split.open_test(OpenLog(), model="m", config_hash="c")["all"]
    num_items = canary.split.dataset.num_items
    leaky = Popularity(canary.leaky_dataset.interactions, num_items)
    honest = Popularity(canary.split.interactions("train+val"), num_items)
    listed = [
        float((evaluate(model, task, num_items=num_items).lists == canary.item_idx).any(1).mean())
        for model in (leaky, honest)
    ]
    assert listed[0] == 1.0
    assert listed[1] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_twin_changes_what_is_hidden_and_nothing_else(kind: str) -> None:
    split = split_of(kind)
    other = twin(split, seed=3)
    for part in ("train", "train+val"):
        ours, theirs = split.interactions(part), other.interactions(part)  # type: ignore[arg-type]
        for name in ("user_idx", "item_idx", "timestamp", "positive"):
            assert (getattr(ours, name) == getattr(theirs, name)).all()
    before, after = (
        one.open_test(OpenLog(), model="m", config_hash="c")[split.primary_slice]
        for one in (split, other)
    )
    assert not np.array_equal(before.target_items, after.target_items)
    if before.allowed is not None and after.allowed is not None:
        assert (before.allowed == after.allowed).all()


def honest(split: Split) -> dict[str, np.ndarray]:
    model = Popularity(split.interactions("train+val"), split.dataset.num_items)
    histories = split.validation()[split.primary_slice].histories
    return {
        "counts": model.counts,
        "graph": split.graph("shuffled", 1).tail,
        "scores": model.scores(histories),
    }


def leaky(split: Split) -> dict[str, np.ndarray]:
    found = honest(split)
    everything = split._events  # what no job can reach without an underscore
    found["counts"] = np.bincount(everything.item_idx, minlength=split.dataset.num_items)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_twins_catch_a_leaky_build_and_pass_an_honest_one(kind: str) -> None:
    split = split_of(kind)
    require_no_leak(honest, split)
    assert changes_with_hidden_part(leaky, split) == ["counts"]
    with pytest.raises(DataError, match="Expected counts to depend on training data alone"):
        require_no_leak(leaky, split)


def test_twins_of_validation_catch_a_model_that_trained_on_it_too_early() -> None:
    split = split_of("per_user_time")

    def early(one: Split) -> dict[str, np.ndarray]:
        return {"counts": one.interactions("train+val").item_idx}

    def timely(one: Split) -> dict[str, np.ndarray]:
        return {"counts": one.interactions("train").item_idx}

    assert changes_with_hidden_part(early, split, hidden="val+test") == ["counts"]
    assert changes_with_hidden_part(timely, split, hidden="val+test") == []


def test_users_in_graph_finds_user_nodes() -> None:
    graph = DATA.graph
    assert users_in_graph(graph, DATA.users.ids) == []
    with_user = replace(
        graph,
        entity_ids=strings([*graph.entity_ids, "user:u3"]),
        entity_types=strings([*graph.entity_types, "user"]),
        entity_names=strings([*graph.entity_names, "u3"]),
    )
    assert users_in_graph(with_user, DATA.users.ids) == ["user:u3"]
