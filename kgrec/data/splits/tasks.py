"""Builds evaluation tasks from known and hidden events; which events those are is for split.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, IntArray, Interactions
from kgrec.data.task import EvaluationTask

RequestTime = Literal["user", "global"]


def make_task(
    name: str,
    known: Interactions,
    hidden: Interactions,
    *,
    allowed: BoolArray | None = None,
    request_time: RequestTime = "user",
    before: Interactions | None = None,
) -> EvaluationTask:
    """Return the task of finding the hidden positives of users from their known events.

    Users without a hidden positive that they did not know before are not asked. What a user knew,
    low ratings included, stands in the history, is masked, and is no target.

    Args:
        name: Split, part and slice, as it goes into records.
        known: Events before the cut, sorted by user and time.
        hidden: Events after the cut; only positives become targets.
        allowed: Shape (num_items,), bool: the items that are ranked; targets outside are dropped.
        request_time: "user": a second after the user's last known event; "global": a second after
            the last known event of anyone. Users with an empty history always get the latter.
        before: All events before the cut, where the model is told of ``known`` alone: the others
            are masked as well, and are no targets. None: ``known`` is everything.

    Returns:
        The task, users in ascending order; it has no users where nothing is to be found.
    """
    user_idx, item_idx = _unknown_pairs(known if before is None else before, hidden.positives())
    if allowed is not None:
        user_idx, item_idx = user_idx[allowed[item_idx]], item_idx[allowed[item_idx]]
    users = np.unique(user_idx)
    histories = _histories(known, users, request_time)
    task = EvaluationTask(name, histories, _bounds(user_idx, users), item_idx, allowed)
    if before is None:
        return task
    untold_user, untold_item = _unknown_pairs(known, before)
    asked = np.isin(untold_user, users)
    bounds = _bounds(untold_user[asked], users)
    return replace(task, masked_indptr=bounds, masked_items=untold_item[asked])


def _bounds(user_idx: IntArray, users: IntArray) -> IntArray:
    """Return where each user's pairs begin and end, shape (len(users) + 1,), int64."""
    starts = np.searchsorted(user_idx, users)
    return np.append(starts, len(user_idx)).astype(np.int64)


def _unknown_pairs(known: Interactions, hidden: Interactions) -> tuple[IntArray, IntArray]:
    """Return the hidden (user, item) pairs that are not known, each once, by user then item."""
    both = np.concatenate([known.item_idx, hidden.item_idx, [0]])
    width = int(both.max()) + 1
    pairs = np.unique(hidden.user_idx * width + hidden.item_idx)
    pairs = pairs[~np.isin(pairs, known.user_idx * width + known.item_idx)]
    return pairs // width, pairs % width


def _histories(known: Interactions, users: IntArray, request_time: RequestTime) -> HistoryBatch:
    latest = int(known.timestamp.max()) if len(known) else 0
    at_cut = np.full(len(users), latest + 1 if latest > 0 else 0, dtype=np.int64)
    if request_time == "global":
        return HistoryBatch.from_interactions(known, users, at_cut)
    histories = HistoryBatch.from_interactions(known, users)
    now = np.where(histories.lengths > 0, histories.now, at_cut)
    return HistoryBatch.from_interactions(known, users, now)
