"""What user groups, by attribute value or fifth of a number, touch and like more than others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.data.strings import Strings
from kgrec.models.scorer import TrainingData


def count_groups(
    train: TrainingData,
    arrays: dict[str, npt.NDArray[Any]],
    smoothing: float,
    max_groups: int,
) -> tuple[str, ...]:
    """Compare each item's share of events and of likes in a user group with the average.

    Args:
        train: The events and the users.
        arrays: Holds "events" and "like_rate"; gets "group_of_user" (U, A), the row of each user's
            group in "group_share" and "group_rate" (G, I), and "group_start" (A,), the row that
            stands for an unknown value of each attribute.
        smoothing: Events that pull a rate towards the average.
        max_groups: Values of an attribute that count, the most frequent.

    Returns:
        The names of the A attributes.
    """
    users, events = train.dataset.users, train.interactions
    columns = {name: _codes(values, max_groups) for name, values in users.attributes.items()}
    columns |= {name: _fifths(values) for name, values in users.numeric.items()}
    columns = {name: codes for name, codes in columns.items() if (codes > 0).any()}
    size, share, rate = train.num_items, [], []
    popularity = (arrays["events"] + 0.5) / (arrays["events"].sum() + 0.5 * size)
    for name in sorted(columns):
        group = columns[name][events.user_idx]
        values = int(columns[name].max()) + 1
        cell = group * size + events.item_idx
        count = np.bincount(cell, minlength=values * size).reshape(values, size)
        likes = np.bincount(cell, weights=events.positive, minlength=values * size)
        likes = likes.reshape(values, size)
        total = count.sum(axis=1, keepdims=True)
        expected = total * popularity[None, :]
        lift = np.log((count + smoothing * 0.25) / (expected + smoothing * 0.25))
        smooth = (likes + smoothing * arrays["like_rate"]) / (count + smoothing)
        lift[0], smooth[0] = 0.0, arrays["like_rate"]  # code 0: unknown
        share.append(lift)
        rate.append(smooth - arrays["like_rate"])
    names = tuple(sorted(columns))
    starts = np.cumsum([0, *(len(block) for block in share)])[:-1]
    codes = [columns[name] + start for name, start in zip(names, starts, strict=True)]
    arrays["group_of_user"] = (
        np.stack(codes, axis=1) if codes else np.empty((train.num_users, 0))
    ).astype(np.int64)
    arrays["group_start"] = np.asarray(starts, dtype=np.int64)
    empty = np.empty((0, size))
    arrays["group_share"] = np.concatenate([*share, empty]).astype(np.float32)
    arrays["group_rate"] = np.concatenate([*rate, empty]).astype(np.float32)
    return names


def _codes(values: Strings, max_groups: int) -> IntArray:
    """Number the most frequent values from 1; 0 is unknown or rare."""
    found, inverse, count = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    wanted = [
        index
        for index in np.argsort(-count, kind="stable")
        if found[index] != "" and count[index] >= 5
    ]
    code = np.zeros(len(found), dtype=np.int64)
    code[wanted[:max_groups]] = np.arange(1, len(wanted[:max_groups]) + 1)
    return np.asarray(code[inverse], dtype=np.int64)


def _fifths(values: FloatArray) -> IntArray:
    """Number the fifths of a numeric attribute from 1; 0 is unknown."""
    known = np.isfinite(values)
    code = np.zeros(len(values), dtype=np.int64)
    if known.any():
        cuts = np.unique(np.quantile(values[known], [0.2, 0.4, 0.6, 0.8]))
        code[known] = 1 + np.searchsorted(cuts, values[known], side="right")
    return code
