"""What each candidate source gives to the union: recall alone, and recall lost without it.

Takes lists of items, never sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import IntArray

Lists = tuple[IntArray, IntArray]
"""indptr, shape (B + 1,), and the items of B users, none twice for a user."""


@dataclass(frozen=True)
class SourceRecall:
    """One source's part.

    Attributes:
        source: Its name.
        candidates: Mean items that it brings to a user.
        alone: Recall of what it brings.
        lost_without: Recall that the union loses where this source brings nothing.
    """

    source: str
    candidates: float
    alone: float
    lost_without: float


@dataclass(frozen=True)
class UnionRecall:
    """What all sources bring together, and each of them.

    Attributes:
        task: Split, part and slice.
        num_users: Users asked.
        num_targets: Their hidden positives.
        candidates: Mean items in the union.
        recall: Of the union: mean over users of the share of their hidden positives in it.
        sources: In the order of the pipeline.
    """

    task: str
    num_users: int
    num_targets: int
    candidates: float
    recall: float
    sources: tuple[SourceRecall, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**asdict(self), "sources": [asdict(one) for one in self.sources]}


def union_recall(
    task: str, targets: Lists, brought: Mapping[str, Lists], num_items: int
) -> UnionRecall:
    """Return the recall of the union, of each source alone, and what is lost without each.

    Args:
        task: Name of the task.
        targets: Hidden positives of B users, at least one for each.
        brought: Source -> what it brings to these users.
        num_items: Size of the catalogue.
    """
    wanted = _keys(targets, num_items)
    keys = [_keys(lists, num_items) for lists in brought.values()]
    hit = np.stack([np.isin(wanted, one) for one in keys], axis=1)  # targets x sources
    finders = hit.sum(axis=1)
    users = np.repeat(np.arange(len(targets[0]) - 1), np.diff(targets[0]))
    sizes = np.diff(targets[0])

    def recall(found: npt.NDArray[np.bool_]) -> float:
        return float(np.mean(np.bincount(users, found, minlength=len(sizes)) / sizes))

    whole = recall(finders > 0)
    parts = [
        SourceRecall(
            source,
            len(key) / len(sizes),
            recall(hit[:, column]),
            whole - recall(finders - hit[:, column] > 0),
        )
        for column, (source, key) in enumerate(zip(brought, keys, strict=True))
    ]
    union = len(np.unique(np.concatenate(keys)))
    return UnionRecall(task, len(sizes), len(wanted), union / len(sizes), whole, tuple(parts))


def _keys(lists: Lists, num_items: int) -> IntArray:
    indptr, items = lists
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return rows * num_items + items
