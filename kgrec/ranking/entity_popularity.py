"""How popular the items of an entity are, and what that says of an item that nobody has met.

An entity here is a slot of the feature state: one (relation, entity) that several items touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray

FIGURES = ("popularity", "most_popular", "entities")
_SHRINK = 2.0  # items that pull an entity's mean towards that of all items

Arrays = Mapping[str, npt.NDArray[Any]]
_Values = npt.NDArray[np.float64]


def slot_popularity(arrays: Arrays) -> FloatArray:
    """Return for each slot the sum of its items' log popularity and their number, shape (S, 2).

    Log popularity counts train events and is taken less the mean of the items that have any;
    items without events are left out.

    Args:
        arrays: "events", "slot_indptr" and "slots" of a feature state.
    """
    own, seen = _log_popularity(arrays)
    item = np.repeat(np.arange(len(own)), np.diff(arrays["slot_indptr"]))
    size = len(arrays["slot_idf"])
    total = np.bincount(arrays["slots"], weights=own[item], minlength=size)
    count = np.bincount(arrays["slots"], weights=seen[item], minlength=size)
    return np.stack([total, count], axis=1).astype(np.float32)


def entity_popularity(arrays: Arrays, num_groups: int) -> FloatArray:
    """Return FIGURES of each item for each relation group, shape (num_items, 3 * num_groups).

    The popularity of an entity is the shrunk mean over its other items, so that an item's own
    events, which a new one has not, tell nothing; then the mean and the largest over the item's
    entities, 0 where it has none, and the logarithm of 1 + their number.

    Args:
        arrays: Of a feature state, with "slot_popularity" as above.
        num_groups: Relation groups.
    """
    own, seen = _log_popularity(arrays)
    num_items, slots = len(own), arrays["slots"]
    item = np.repeat(np.arange(num_items), np.diff(arrays["slot_indptr"]))
    total, count = arrays["slot_popularity"].astype(np.float64).T
    others = (total[slots] - own[item]) / np.maximum(count[slots] - seen[item] + _SHRINK, _SHRINK)
    cell = item * num_groups + arrays["slot_relation"][slots]
    number = np.bincount(cell, minlength=num_items * num_groups)
    mean = np.bincount(cell, weights=others, minlength=len(number)) / np.maximum(number, 1)
    largest = np.full(len(number), -np.inf)
    np.maximum.at(largest, cell, others)
    largest[number == 0] = 0.0
    figures = np.stack([mean, largest, np.log1p(number)], axis=1)
    return figures.reshape(num_items, len(FIGURES) * num_groups).astype(np.float32)


def _log_popularity(arrays: Arrays) -> tuple[_Values, _Values]:
    seen = (arrays["events"] > 0).astype(np.float64)
    own = np.log1p(arrays["events"].astype(np.float64))
    mean = own[seen > 0].mean() if seen.any() else 0.0
    return (own - mean) * seen, seen
