"""Each split keeps its promise on small data with known answers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import polars as pl
import pytest
from evaluation_data import OpenLog, dataset_of, random_dataset

from graph_etl.snapshot import Snapshot
from kgrec.data.dataset import Dataset
from kgrec.data.interactions import Interactions
from kgrec.data.splits import (
    Split,
    SplitConfig,
    make_split,
    make_task,
    published_labels,
    read_published,
    read_split,
    test_forbidden,
    user_window,
    write_split,
)
from kgrec.data.task import EvaluationTask
from kgrec.errors import ConfigError, DataError, TestLockError

KINDS = ("global_time", "per_user_time", "new_users", "cold_items")


def opened(split: Split) -> dict[str, EvaluationTask]:
    return split.open_test(OpenLog(), model="popularity", config_hash="0" * 64)


def pairs_of(events: Interactions) -> set[tuple[int, int]]:
    return set(zip(events.user_idx.tolist(), events.item_idx.tolist(), strict=True))


def targets_of(task: EvaluationTask) -> set[tuple[int, int]]:
    return {
        (int(user), int(item))
        for row, user in enumerate(task.histories.user_idx)
        for item in task.targets_of(row)
    }


def one_user(times: list[int], values: list[float] | None = None) -> Dataset:
    rows = [
        (0, item, 5.0 if values is None else values[item], time) for item, time in enumerate(times)
    ]
    return dataset_of(rows, num_users=1, num_items=len(times))


def test_per_user_time_takes_the_last_fifth_and_the_tenth_before_it() -> None:
    split = make_split(one_user(list(range(1, 11))), "per_user_time")
    assert split.interactions("train").item_idx.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert split.interactions("train+val").item_idx.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert split.validation()["all"].target_items.tolist() == [7]
    test = opened(split)["all"]
    assert test.target_items.tolist() == [8, 9]
    assert test.histories.item_idx.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert test.histories.now.tolist() == [9]


def test_per_user_time_counts_low_ratings_before_it_takes_positives() -> None:
    values = [5.0, 1, 1, 1, 1, 1, 1, 5, 1, 5]
    split = make_split(one_user(list(range(1, 11)), values), "per_user_time")
    test = opened(split)["all"]
    assert test.target_items.tolist() == [9]
    assert test.histories.item_idx.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert test.histories.positive.sum() == 2


def test_per_user_time_draws_ties_by_seed_and_not_by_row() -> None:
    data = one_user([1000] * 10)
    seen = {
        tuple(opened(make_split(data, "per_user_time", seed=seed))["all"].target_items.tolist())
        for seed in range(12)
    }
    assert len(seen) > 6
    again = opened(make_split(data, "per_user_time", seed=3))["all"].target_items
    assert (
        again.tolist()
        == opened(make_split(data, "per_user_time", seed=3))["all"].target_items.tolist()
    )


def test_make_split_does_not_depend_on_the_order_of_the_rows() -> None:
    data = random_dataset()
    rng = np.random.default_rng(5)
    shuffled = data.interactions.take(rng.permutation(len(data.interactions))).sorted(9)
    other = replace(data, interactions=shuffled)
    for kind in KINDS:
        assert make_split(data, kind, seed=1).checksum == make_split(other, kind, seed=1).checksum


def test_global_time_never_trains_on_what_comes_later() -> None:
    split = make_split(random_dataset(), "global_time")
    train, both = split.interactions("train"), split.interactions("train+val")
    total = len(random_dataset().interactions)
    assert len(train) == int(0.8 * total)
    assert len(both) == int(0.9 * total)
    assert train.timestamp.max() <= both.timestamp.max()
    tasks = opened(split)
    assert (tasks["all"].histories.now == both.timestamp.max() + 1).all()
    parts = [tasks[name] for name in ("with_history", "without_history") if name in tasks]
    assert sum(len(part) for part in parts) == len(tasks["all"])
    assert (tasks["with_history"].histories.lengths > 0).all()
    assert split.primary_slice == "with_history"


def test_global_time_reports_users_without_history_apart() -> None:
    rows = [(0, item, 5.0, 1 + item) for item in range(18)]
    rows += [(0, 18, 5.0, 50), (1, 3, 5.0, 51)]
    tasks = opened(make_split(dataset_of(rows, 2, 20), "global_time"))
    assert tasks["with_history"].histories.user_idx.tolist() == [0]
    assert tasks["without_history"].histories.user_idx.tolist() == [1]
    assert tasks["without_history"].target_items.tolist() == [3]


def test_global_time_refuses_data_without_time() -> None:
    with pytest.raises(DataError, match="Expected timestamps for the split 'global_time'"):
        make_split(random_dataset(has_time=False), "global_time")


def test_data_without_time_is_cut_at_random_and_says_so() -> None:
    data = random_dataset(has_time=False)
    a, b = (make_split(data, "per_user_time", seed=seed) for seed in (0, 1))
    assert "random by seed" in a.details["order_within_user"]
    assert targets_of(opened(a)["all"]) != targets_of(opened(b)["all"])
    assert (opened(a)["all"].histories.now == 0).all()


def test_new_users_trains_on_nothing_of_a_held_out_user() -> None:
    data = random_dataset()
    split = make_split(data, "new_users", seed=2)
    test, val = opened(split)["all"], split.validation()["all"]
    trained = set(split.interactions("train").user_idx.tolist())
    refitted = set(split.interactions("train+val").user_idx.tolist())
    assert not set(test.histories.user_idx.tolist()) & refitted
    assert not set(val.histories.user_idx.tolist()) & trained
    assert set(val.histories.user_idx.tolist()) <= refitted
    assert data.num_users - len(refitted) == 6  # 15 % of 40
    user = int(test.histories.user_idx[0])
    events = int((data.interactions.user_idx == user).sum())
    assert test.histories.lengths[0] == int(0.8 * events)


def test_cold_items_lose_every_event_and_stand_in_no_history() -> None:
    data = random_dataset()
    split = make_split(data, "cold_items", seed=4)
    for part, task in (
        ("train", split.validation()["among_cold"]),
        ("train+val", opened(split)["among_cold"]),
    ):
        cold = np.flatnonzero(task.allowed)
        assert len(cold) in (5, 6)
        assert not np.isin(split.interactions(part).item_idx, cold).any()
        assert not np.isin(task.histories.item_idx, cold).any()
        assert np.isin(task.target_items, cold).all()
    everything = opened(split)["among_all"]
    assert everything.allowed is None
    assert split.graph("on").num_triples == data.graph.num_triples


def test_cold_items_validation_never_ranks_the_cold_items_of_test() -> None:
    split = make_split(random_dataset(), "cold_items", seed=4)
    cold = opened(split)["among_cold"].allowed
    ranked = split.validation()["among_all"].allowed
    assert cold is not None
    assert ranked is not None
    assert not (cold & ranked).any()


def test_only_items_with_enough_positives_are_held_out_as_cold() -> None:
    data = random_dataset()
    positives = np.bincount(
        data.interactions.item_idx[data.interactions.positive], minlength=data.num_items
    )
    least = int(np.median(positives)) + 1
    enough = np.flatnonzero(positives >= least)
    split = make_split(data, "cold_items", seed=4, cold_min_positives=least)
    cold = np.concatenate(
        [np.flatnonzero(task["among_cold"].allowed) for task in (split.validation(), opened(split))]
    )
    assert set(cold) <= set(enough.tolist())
    trained = split.interactions("train+val")
    others = ~np.isin(data.interactions.item_idx, enough)
    assert others.any()
    assert pairs_of(data.interactions.take(np.flatnonzero(others))) <= pairs_of(trained)


def test_too_few_items_with_enough_positives_are_told_of() -> None:
    with pytest.raises(DataError, match=r"with 1000 positives or more.* got 0"):
        make_split(random_dataset(), "cold_items", cold_min_positives=1000)


def test_the_least_number_of_positives_is_no_part_of_another_splits_checksum() -> None:
    plain = make_split(random_dataset(), "per_user_time")
    assert make_split(random_dataset(), "per_user_time", cold_min_positives=5).checksum == (
        plain.checksum
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_pair_is_both_trained_and_asked(kind: str) -> None:
    split = make_split(random_dataset(seed=3), kind, seed=1)
    trained = pairs_of(split.interactions("train+val"))
    for task in opened(split).values():
        assert not targets_of(task) & trained
        known = task.histories
        history = set(
            zip(known.user_idx[known.row_of_event].tolist(), known.item_idx.tolist(), strict=True)
        )
        assert not targets_of(task) & history
        assert (np.diff(task.target_indptr) > 0).all()


def test_a_pair_known_before_the_cut_is_no_target_again() -> None:
    rows = [(0, item, 5.0, 1 + item) for item in range(8)] + [(0, 2, 5.0, 20), (0, 9, 5.0, 21)]
    test = opened(make_split(dataset_of(rows, 1, 10), "per_user_time"))["all"]
    assert test.target_items.tolist() == [9]


def test_interactions_refuses_to_hand_out_test() -> None:
    split = make_split(random_dataset(), "per_user_time")
    with pytest.raises(TestLockError, match=r"Expected part 'train' or 'train\+val', got 'test'"):
        split.interactions("test")  # type: ignore[arg-type]


def test_split_dataset_holds_no_interactions_and_visible_dataset_only_its_part() -> None:
    split = make_split(random_dataset(), "per_user_time")
    assert len(split.dataset.interactions) == 0
    seen = split.visible_dataset("train", "off")
    assert len(seen.interactions) == len(split.interactions("train"))
    assert seen.graph.num_triples == 0


def test_open_test_is_refused_during_tuning_and_logs_nothing() -> None:
    split, log = make_split(random_dataset(), "per_user_time"), OpenLog()
    with (
        test_forbidden("tuning of ease"),
        pytest.raises(TestLockError, match="during tuning of ease"),
    ):
        split.open_test(log, model="ease", config_hash="a")
    assert log.openings == []
    split.open_test(log, model="ease", config_hash="a")
    assert log.openings[0]["checksum"] == split.checksum


def test_test_forbidden_holds_in_other_threads() -> None:
    split = make_split(random_dataset(), "per_user_time")
    with test_forbidden("tuning"), ThreadPoolExecutor(1) as pool:
        future = pool.submit(split.open_test, OpenLog(), model="m", config_hash="c")
        with pytest.raises(TestLockError):
            future.result()


def test_user_window_parts_a_history_without_gap_or_overlap() -> None:
    events = random_dataset().interactions
    first, middle, last = (
        user_window(events, low, high) for low, high in ((0, 0.5), (0.5, 0.6), (0.6, 1))
    )
    assert (first.astype(int) + middle + last == 1).all()


def test_make_task_drops_users_without_hidden_positives() -> None:
    data = dataset_of([(0, 0, 5, 1), (0, 1, 1, 2), (1, 0, 5, 1), (1, 1, 5, 2)], 2, 2)
    late = data.interactions.timestamp > 1
    task = make_task("inner", data.interactions.take(~late), data.interactions.take(late))
    assert task.histories.user_idx.tolist() == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_split_files_round_trip(kind: str, tmp_path: Path) -> None:
    data = random_dataset()
    split = make_split(data, kind, seed=7)
    write_split(split, tmp_path / kind)
    back = read_split(tmp_path / kind, data)
    assert back.checksum == split.checksum
    assert back.config == split.config
    assert back.details == split.details
    for name, task in opened(split).items():
        assert (opened(back)[name].target_items == task.target_items).all()


def test_read_split_refuses_an_altered_file(tmp_path: Path) -> None:
    data = random_dataset()
    write_split(make_split(data, "per_user_time"), tmp_path)
    file = tmp_path / "events.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"events\.parquet to have sha256"):
        read_split(tmp_path, data)


def test_read_split_refuses_other_data(tmp_path: Path) -> None:
    write_split(make_split(random_dataset(seed=0), "per_user_time"), tmp_path)
    with pytest.raises(DataError, match="Expected the events of dataset 'small'"):
        read_split(tmp_path, random_dataset(seed=1))


def published(data: Dataset, last: str = "test") -> pl.DataFrame:
    events = data.interactions
    tenth = user_window(events, 0.9, 1.0)
    return pl.DataFrame(
        {
            "user_id": data.users.ids[events.user_idx].tolist(),
            "item_id": data.items.ids[events.item_idx].tolist(),
            "part": np.where(tenth, last, "train").tolist(),
        }
    )


def test_as_published_uses_the_labels_untouched() -> None:
    data = random_dataset()
    labels = published(data)
    split = make_split(data, "as_published", published=labels, val_fraction=0.1)
    expected = {(int(u[1:]), int(i[1:])) for u, i, part in labels.rows() if part == "test"}
    events = data.interactions
    liked = pairs_of(events.positives())
    assert targets_of(opened(split)["all"]) == expected & liked
    assert "last 0.1" in split.details["validation"]


def test_as_published_reads_files_and_leaves_unlabelled_events_out(tmp_path: Path) -> None:
    data = random_dataset()
    labels = published(data)
    labels = labels.filter(pl.col("user_id") != "u0")
    files = {}
    for part in ("train", "test"):
        files[part] = tmp_path / f"{part}.tsv"
        labels.filter(pl.col("part") == part).select(
            pl.col("user_id").alias("u"), pl.col("item_id").alias("i")
        ).write_csv(files[part], separator="\t")
    read = read_published(files, user_column="u", item_column="i")
    split = make_split(data, "as_published", published=read, refit_on="train", test_history="train")
    assert split.details["events"]["unused"] == int((data.interactions.user_idx == 0).sum())
    assert 0 not in split.interactions("train+val").user_idx
    history = opened(split)["all"].histories
    train = split.interactions("train")
    assert len(history.item_idx) == int(np.isin(train.user_idx, history.user_idx).sum())


def test_as_published_refuses_what_it_cannot_map() -> None:
    data = random_dataset()
    labels = published(data)
    stranger = pl.DataFrame({"user_id": ["nobody"], "item_id": ["i0"], "part": ["test"]})
    with pytest.raises(DataError, match=r"got 1 that are not, \('nobody', 'i0', 'test'\)"):
        make_split(data, "as_published", published=pl.concat([labels, stranger]))
    twice = pl.concat([labels, labels.head(1).with_columns(part=pl.lit("test"))])
    with pytest.raises(DataError, match="got several"):
        make_split(data, "as_published", published=twice)
    with pytest.raises(DataError, match="Expected parts 'train', 'test'"):
        make_split(data, "as_published", published=published(data, "holdout"))
    with pytest.raises(ConfigError, match="Expected a frame 'published'"):
        make_split(data, "as_published")
    with pytest.raises(ConfigError, match="got one for 'per_user_time'"):
        make_split(data, "per_user_time", published=labels)


def test_read_published_names_the_file_and_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Expected the train file"):
        read_published({"train": tmp_path / "none.tsv"})
    (tmp_path / "a.tsv").write_text("x\ty\n1\t2\n")
    with pytest.raises(DataError, match=r"Expected columns \['item_id', 'user_id'\]"):
        read_published({"train": tmp_path / "a.tsv"})


def test_make_split_takes_a_whole_configuration() -> None:
    config = SplitConfig(name="per_user_time", seed=3, test_fraction=0.3)
    assert make_split(random_dataset(), config).config == config.resolved()


def test_make_split_refuses_data_too_small_for_a_task() -> None:
    with pytest.raises(DataError, match="on both sides"):
        make_split(dataset_of([(0, 0, 5.0, 1)], 1, 1), "per_user_time")
    rows = [(0, item, 1.0, 1 + item) for item in range(10)]
    split = make_split(dataset_of(rows, 1, 10), "per_user_time")
    with pytest.raises(DataError, match="Expected users with hidden positives"):
        split.validation()


def test_untold_validation_is_masked_and_no_target() -> None:
    rows = [(0, item, 5.0, 1 + item) for item in range(4)] + [(1, 0, 5.0, 9), (1, 1, 5.0, 10)]
    data = dataset_of(rows, num_users=2, num_items=5)
    parts = ["train", "val", "val", "test", "train", "test"]
    labels = pl.DataFrame(
        {
            "user_id": [data.users.ids[row[0]] for row in rows],
            "item_id": [data.items.ids[row[1]] for row in rows],
            "part": parts,
        }
    )
    settings = {"published": labels, "refit_on": "train", "test_history": "train"}
    task = opened(make_split(data, "as_published", **settings))["all"]
    assert task.histories.item_idx.tolist() == [0, 0]
    assert task.target_items.tolist() == [3, 1]
    assert task.masked_indptr is not None
    assert task.masked_items is not None
    assert task.masked_indptr.tolist() == [0, 2, 2]
    assert task.masked_items.tolist() == [1, 2]
    second = task.take(np.array([1, 0]))
    assert second.masked_indptr is not None
    assert second.masked_indptr.tolist() == [0, 0, 2]
    told = opened(make_split(data, "as_published", published=labels))["all"]
    assert told.masked_items is None
    assert told.histories.item_idx.tolist() == [0, 1, 2, 0]


def test_redrawn_keeps_the_published_sizes_and_differs_by_seed() -> None:
    data = random_dataset()
    labels = published(data, "test")
    sizes: dict[str, set[tuple[int, ...]]] = {}
    seen = set()
    for name, seed in (("as_published", 0), ("redrawn", 1), ("redrawn", 2), ("redrawn", 1)):
        split = make_split(data, name, published=labels, seed=seed)
        roles, events = split._roles, split._events
        counts = [tuple(np.bincount(roles[events.user_idx == u], minlength=6)) for u in range(20)]
        sizes.setdefault("all", set()).add(tuple(map(tuple, counts)))  # type: ignore[arg-type]
        seen.add(split.checksum)
    assert len(sizes["all"]) == 1
    assert len(seen) == 3


def test_published_labels_come_from_the_parts_of_a_snapshot() -> None:
    interactions = pl.DataFrame(
        {
            "user_idx": [1, 0],
            "item_idx": [0, 2],
            "timestamp": [None, 7],
            "context.split": ["valid", "train"],
        }
    )
    snapshot = SimpleNamespace(
        users=pl.DataFrame({"user_id": ["a", "b"]}),
        items=pl.DataFrame({"item_id": ["x", "y", "z"]}),
        interactions=interactions,
    )
    found = published_labels(cast("Snapshot", snapshot))
    assert found is not None
    assert found.rows() == [("b", "x", "val"), ("a", "z", "train")]
    snapshot.interactions = interactions.with_columns(timestamp=pl.Series([5, 7]))
    timed = published_labels(cast("Snapshot", snapshot))
    assert timed is not None
    assert timed.rows() == [("b", "x", 5, "val"), ("a", "z", 7, "train")]
    snapshot.interactions = interactions.drop("context.split")
    assert published_labels(cast("Snapshot", snapshot)) is None
