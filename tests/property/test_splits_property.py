"""What every split must keep, on any data: ties, repeated pairs, tiny users, no time."""

from typing import Any

import numpy as np
from evaluation_data import OpenLog, dataset_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.data.splits import make_split, user_window
from kgrec.errors import DataError

EVENTS = st.lists(
    st.tuples(
        st.integers(0, 5),  # user
        st.integers(0, 7),  # item
        st.sampled_from([1.0, 5.0]),
        st.integers(1, 6),  # time: mostly ties
    ),
    min_size=1,
    max_size=90,
)
KINDS = st.sampled_from(["global_time", "per_user_time", "new_users", "cold_items"])


def events_of(interactions: Any) -> list[tuple[Any, ...]]:
    return list(
        zip(
            interactions.user_idx.tolist(),
            interactions.item_idx.tolist(),
            interactions.value.tolist(),
            interactions.timestamp.tolist(),
            strict=True,
        )
    )


@settings(max_examples=150, deadline=None)
@given(rows=EVENTS, kind=KINDS, seed=st.integers(0, 3), has_time=st.booleans())
def test_splits_keep_their_invariants(
    rows: list[tuple[int, int, float, int]], kind: Any, seed: int, has_time: bool
) -> None:
    data = dataset_of(rows, 6, 8, has_time=has_time)
    try:
        split = make_split(data, kind, seed=seed)
        test = split.open_test(OpenLog(), model="m", config_hash="c")
        validation = split.validation()
    except DataError:
        return  # too small, or no time for global_time: a clear refusal
    train, both = (events_of(split.interactions(part)) for part in ("train", "train+val"))
    everything = events_of(data.interactions)
    for event in train:
        both.remove(event)  # train is a part of train + val ...
    rest = list(everything)
    for event in events_of(split.interactions("train+val")):
        rest.remove(event)  # ... and that of all events, counting repeats
    for task, part in [(t, "train") for t in validation.values()] + [
        (t, "train+val") for t in test.values()
    ]:
        trained = {(u, i) for u, i, _, _ in events_of(split.interactions(part))}  # type: ignore[arg-type]
        history = task.histories
        assert (np.diff(history.user_idx) > 0).all()
        for row, user in enumerate(history.user_idx.tolist()):
            targets = task.targets_of(row).tolist()
            known = history.item_idx[history.indptr[row] : history.indptr[row + 1]].tolist()
            times = history.timestamp[history.indptr[row] : history.indptr[row + 1]]
            assert targets
            assert len(set(targets)) == len(targets)
            assert not set(targets) & set(known)
            assert not {(user, item) for item in targets} & trained
            assert (np.diff(times) >= 0).all()
            assert {(user, item, 5.0) for item in targets} <= {e[:3] for e in everything}
            assert not has_time or history.now[row] >= times.max(initial=0)
            if task.allowed is not None:
                assert task.allowed[targets].all()


@settings(max_examples=60, deadline=None)
@given(rows=EVENTS, seed=st.integers(0, 5))
def test_time_order_holds_within_each_user_and_over_all(
    rows: list[tuple[int, int, float, int]], seed: int
) -> None:
    data = dataset_of([(u, n, v, t) for n, (u, _, v, t) in enumerate(rows)], 6, 60)
    for kind in ("per_user_time", "global_time"):
        try:
            split = make_split(data, kind, seed=seed)
        except DataError:
            continue
        known = split.interactions("train+val")
        hidden = set(events_of(data.interactions)) - set(events_of(known))
        for user, _, _, time in hidden:
            own = known.timestamp[known.user_idx == user]
            earlier = own if kind == "per_user_time" else known.timestamp
            assert time >= earlier.max(initial=0)


@settings(max_examples=60, deadline=None)
@given(rows=EVENTS, seed=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_splits_do_not_depend_on_the_order_of_the_source(
    rows: list[tuple[int, int, float, int]], seed: int, order: Any
) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    for kind in ("per_user_time", "new_users", "cold_items"):
        try:
            expected = make_split(dataset_of(rows, 6, 8), kind, seed=seed).checksum  # type: ignore[arg-type]
        except DataError:
            continue
        assert make_split(dataset_of(shuffled, 6, 8), kind, seed=seed).checksum == expected  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(rows=EVENTS, cut=st.floats(0, 1))
def test_user_windows_part_every_history(
    rows: list[tuple[int, int, float, int]], cut: float
) -> None:
    events = dataset_of(rows, 6, 8).interactions
    early, late = user_window(events, 0, cut), user_window(events, cut, 1)
    assert (early ^ late).all()
    assert not (early & late).any()
