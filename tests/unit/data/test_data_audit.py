"""The audit counts what is wrong with a dataset, repairs or refuses by its stated rules."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_data import OpenLog, dataset_of, random_dataset, strings

from kgrec.data.audit import RULES, audit_dataset, audit_split, audit_task
from kgrec.data.splits import make_split
from kgrec.errors import DataError


def test_audit_of_sound_data_changes_nothing() -> None:
    data = random_dataset()
    same, report = audit_dataset(data)
    assert same.interactions is data.interactions
    assert same.graph is data.graph
    assert report.repaired == ()
    assert set(report.counts) == set(RULES)


def test_audit_keeps_the_largest_value_of_equal_events() -> None:
    data = dataset_of([(0, 0, 2.0, 7), (0, 0, 5.0, 7), (0, 0, 1.0, 9), (0, 1, 4.0, 8)], 2, 3)
    mended, report = audit_dataset(data)
    assert report.counts["duplicate_events"] == 1
    assert report.counts["repeated_pairs"] == 1
    assert report.counts["users_without_events"] == 1
    assert report.counts["items_without_events"] == 1
    assert report.repaired == ("duplicate_events",)
    assert sorted(mended.interactions.value.tolist()) == [1.0, 4.0, 5.0]
    assert any("1 events equal in user, item and time" in line for line in report.lines())


def test_audit_drops_repeated_triples_and_self_loops() -> None:
    data = random_dataset()
    graph = data.graph
    worse = replace(
        graph,
        head=np.append(graph.head, [graph.head[0], 5]),
        relation=np.append(graph.relation, [graph.relation[0], 0]),
        tail=np.append(graph.tail, [graph.tail[0], 5]),
        extracted=np.append(np.arange(graph.num_triples) % 2 == 0, [True, True]),
    )
    mended, report = audit_dataset(replace(data, graph=worse))
    assert report.counts["duplicate_triples"] == 1
    assert report.counts["self_loops"] == 1
    assert (mended.graph.head == graph.head).all()
    assert mended.graph.extracted is not None
    assert (mended.graph.extracted == (np.arange(graph.num_triples) % 2 == 0)).all()


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("item_idx_out_of_range", {"item_idx": 60}),
        ("user_idx_out_of_range", {"user_idx": -1}),
        ("negative_timestamps", {"timestamp": -5}),
        ("infinite_values", {"value": np.inf}),
    ],
)
def test_audit_refuses_broken_events_and_names_the_check(
    check: str, change: dict[str, float]
) -> None:
    data = random_dataset()
    ((name, value),) = change.items()
    column = getattr(data.interactions, name).copy()
    column[3] = value
    broken = replace(data, interactions=replace(data.interactions, **{name: column}))
    with pytest.raises(DataError, match=rf"got 1 .*\({check}\)"):
        audit_dataset(broken)


def test_audit_refuses_broken_catalogues() -> None:
    data = random_dataset()
    twice = strings(["i0", *data.items.ids[:-1]])
    with pytest.raises(DataError, match="duplicate_item_ids"):
        audit_dataset(replace(data, items=replace(data.items, ids=twice)))
    outside = data.graph.tail.copy()
    outside[0] = data.graph.num_entities
    with pytest.raises(DataError, match="triple_out_of_range"):
        audit_dataset(replace(data, graph=replace(data.graph, tail=outside)))
    quiet = replace(data.interactions, positive=np.zeros_like(data.interactions.positive))
    with pytest.raises(DataError, match="no_positive_events"):
        audit_dataset(replace(data, interactions=quiet))


def test_audit_counts_unknown_tokens_and_empty_items() -> None:
    data = random_dataset()
    names = data.graph.entity_names.copy()
    names[-1], names[-2] = "N/A", "unknown"
    blank = replace(
        data.items,
        titles=strings(["", *data.items.titles[1:]]),
        texts=strings([" ", *data.items.texts[1:]]),
    )
    worse = replace(data, items=blank, graph=replace(data.graph, entity_names=names))
    counts = audit_dataset(worse)[1].counts
    assert counts["unknown_tokens"] == 2
    assert counts["items_without_text"] == 1


@pytest.mark.parametrize("kind", ["global_time", "per_user_time", "new_users", "cold_items"])
def test_audit_split_passes_every_kind(kind: str) -> None:
    split = make_split(random_dataset(), kind)  # type: ignore[arg-type]
    sizes = audit_split(split)
    assert 0 < sizes["train"] < sizes["train+val"]
    for task in split.open_test(OpenLog(), model="m", config_hash="c").values():
        audit_task(task, split.interactions("train+val"), split.dataset.num_items)


def test_audit_task_finds_targets_that_were_trained_on() -> None:
    split = make_split(random_dataset(), "per_user_time")
    task = split.validation()["all"]
    audit_task(task, split.interactions("train"), split.dataset.num_items)
    with pytest.raises(DataError, match="'targets in train': "):
        audit_task(task, split.interactions("train+val"), split.dataset.num_items)
