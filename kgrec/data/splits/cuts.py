"""Assigns each event its role in a split; turning roles into tasks is for tasks.py.

One vocabulary of roles serves every split, so histories, targets and training data follow from
the roles alone, by the same rule for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import BoolArray, IntArray, Interactions
from kgrec.data.splits.config import SplitConfig
from kgrec.errors import DataError

RoleArray = npt.NDArray[np.int8]


class Role(IntEnum):
    """What one event is for."""

    TRAIN = 0
    VAL_HISTORY = 1  # known when validation is asked, never trained on before the refit
    VAL_TARGET = 2
    TEST_HISTORY = 3  # known when test is asked, never trained on
    TEST_TARGET = 4
    UNUSED = 5  # in the dataset, but not in a published split


def ordered(interactions: Interactions, seed: int) -> Interactions:
    """Return the events by user, then time, ties in an order that depends on ``seed`` alone.

    The rows are first brought into one order of their contents: neither the order of the file nor
    the seed of an earlier sort can reach the split.
    """
    rows = np.lexsort(
        (
            interactions.positive,
            interactions.value,
            interactions.item_idx,
            interactions.timestamp,
            interactions.user_idx,
        )
    )
    return interactions.take(rows).sorted(seed)


def position_of_event(interactions: Interactions) -> tuple[IntArray, IntArray]:
    """Return each event's place in its user's history (0 = oldest) and that history's length.

    Args:
        interactions: Sorted by user and time.

    Returns:
        Two arrays of shape (n,), int64.
    """
    _, start, inverse, count = np.unique(
        interactions.user_idx, return_index=True, return_inverse=True, return_counts=True
    )
    return np.arange(len(interactions)) - start[inverse], count[inverse]


def user_window(interactions: Interactions, low: float, high: float) -> BoolArray:
    """Return which events lie in the window [low, high) of their user's history.

    Args:
        interactions: Sorted by user and time.
        low: Share of the user's events before the window, 0 to 1.
        high: Share of the user's events up to the end of the window, 0 to 1.

    Returns:
        Shape (n,), bool. Windows that share a border neither overlap nor leave a gap.
    """
    position, length = position_of_event(interactions)
    return (position >= _cut(length, low)) & (position < _cut(length, high))


def assign_roles(events: Interactions, config: SplitConfig, has_time: bool) -> RoleArray:
    """Return the role of each event for every split but as_published.

    Args:
        events: As ``ordered`` returns them.
        config: A resolved configuration.
        has_time: False makes the order within a user random (all its times are ties).

    Returns:
        Shape (n,), int8, values of Role.

    Raises:
        DataError: global_time was asked of data without time, or nothing is left to hold out.
    """
    if config.name == "global_time" and not has_time:
        raise DataError(
            "Expected timestamps for the split 'global_time', got a dataset without time; "
            "use 'per_user_time', whose cuts are then drawn at random by seed"
        )
    roles = _CUTS[config.name](events, config)
    if not (roles == Role.TRAIN).any() or not (roles == Role.TEST_TARGET).any():
        raise DataError(
            f"Expected events on both sides of the split '{config.name}', got "
            f"{np.bincount(roles, minlength=len(Role)).tolist()} events by role "
            f"{[role.name for role in Role]}; the data is too small for these fractions, "
            "or most users have a single event"
        )
    return roles


def _per_user_time(events: Interactions, config: SplitConfig) -> RoleArray:
    val, test = _fractions(config)
    position, length = position_of_event(events)
    roles = np.full(len(events), Role.TEST_TARGET, dtype=np.int8)
    roles[position < _cut(length, 1 - test)] = Role.VAL_TARGET
    roles[position < _cut(length, 1 - test - val)] = Role.TRAIN
    return roles


def _global_time(events: Interactions, config: SplitConfig) -> RoleArray:
    val, test = _fractions(config)
    shuffled = np.random.default_rng([config.seed, 1]).permutation(len(events))
    oldest_first = shuffled[np.argsort(events.timestamp[shuffled], kind="stable")]
    roles = np.full(len(events), Role.TEST_TARGET, dtype=np.int8)
    total = np.array(len(events))
    roles[oldest_first[: _cut(total, 1 - test)]] = Role.VAL_TARGET
    roles[oldest_first[: _cut(total, 1 - test - val)]] = Role.TRAIN
    return roles


def _new_users(events: Interactions, config: SplitConfig) -> RoleArray:
    in_test, in_val = _draw(np.unique(events.user_idx), config, stream=2)
    position, length = position_of_event(events)
    known = position < _cut(length, config.history_fraction)
    roles = np.full(len(events), Role.TRAIN, dtype=np.int8)
    for users, history, target in (
        (in_val, Role.VAL_HISTORY, Role.VAL_TARGET),
        (in_test, Role.TEST_HISTORY, Role.TEST_TARGET),
    ):
        held_out = np.isin(events.user_idx, users)
        roles[held_out] = np.where(known[held_out], history, target)
    return roles


def _cold_items(events: Interactions, config: SplitConfig) -> RoleArray:
    items = np.unique(events.item_idx)
    if config.cold_min_positives > 1:
        positives = np.bincount(events.item_idx[events.positive], minlength=items[-1] + 1)
        items = items[positives[items] >= config.cold_min_positives]
        if len(items) < 2:
            raise DataError(
                f"Expected items with {config.cold_min_positives} positives or more to hold out "
                f"as cold, got {len(items)}; lower cold_min_positives"
            )
    in_test, in_val = _draw(items, config, stream=3)
    roles = np.full(len(events), Role.TRAIN, dtype=np.int8)
    roles[np.isin(events.item_idx, in_val)] = Role.VAL_TARGET
    roles[np.isin(events.item_idx, in_test)] = Role.TEST_TARGET
    return roles


_CUTS: dict[str, Callable[[Interactions, SplitConfig], RoleArray]] = {
    "per_user_time": _per_user_time,
    "global_time": _global_time,
    "new_users": _new_users,
    "cold_items": _cold_items,
}


def _draw(ids: IntArray, config: SplitConfig, stream: int) -> tuple[IntArray, IntArray]:
    """Return the ids held out for test, and those held out for validation from the rest."""
    val, test = _fractions(config)
    shuffled = np.random.default_rng([config.seed, stream]).permutation(ids)
    num_test = max(1, round(test * len(ids)))
    num_val = max(1, round(val * (len(ids) - num_test)))
    return shuffled[:num_test], shuffled[num_test : num_test + num_val]


def _fractions(config: SplitConfig) -> tuple[float, float]:
    resolved = config.resolved()
    return float(resolved.val_fraction or 0), float(resolved.test_fraction or 0)


def _cut(length: IntArray, share: float) -> IntArray:
    # the small term keeps .7 * 10 from becoming 6.999...
    cut: IntArray = np.floor(length * share + 1e-9).astype(np.int64)
    return cut
