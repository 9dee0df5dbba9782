"""Asks a model for the top items of every user of a task and measures them, batch by batch.

Memory is bounded by the batch and by users x metrics; a users x items array never exists here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, IntArray
from kgrec.data.task import EvaluationTask
from kgrec.errors import DataError
from kgrec.evaluation.beyond_accuracy import CatalogueFacts, list_metrics, set_metrics
from kgrec.evaluation.metrics import MetricArray, ranking_metrics

DEFAULT_KS = (10, 20, 50)


class TopList(Protocol):
    """What a ranking model answers."""

    @property
    def item_idx(self) -> IntArray:
        """Shape (B, k), int64, best first, -1 where there are fewer than k."""


class Ranks(Protocol):
    """What is measured: anything that returns the top items of histories."""

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> TopList:
        """Return the k best items for each history."""


@dataclass(frozen=True)
class EvaluationResult:
    """What one model did on one task.

    Attributes:
        task: Name of the task.
        user_idx: Shape (B,), int64, in the order of the task.
        metrics: "recall@10", "novelty@10", ... -> shape (B,), float64, one value for each user.
        set_metrics: "coverage@10", "gini@10": values of all lists together.
        lists: Shape (B, list_k), int32: the first items of each list, -1 where shorter.
        ranked_items: How many items could be recommended.
        num_targets: Hidden positives of all users together.
        wall_s: Seconds for the whole evaluation; ``model_s`` of them inside the model.
    """

    task: str
    user_idx: IntArray
    metrics: Mapping[str, MetricArray]
    set_metrics: Mapping[str, float]
    lists: np.ndarray[Any, np.dtype[np.int32]] = field(repr=False)
    ranked_items: int
    num_targets: int
    wall_s: float
    model_s: float

    def __len__(self) -> int:
        return len(self.user_idx)

    def means(self) -> dict[str, float]:
        """Return the mean over users of every metric, and the set metrics."""
        means = {name: float(np.mean(values)) for name, values in self.metrics.items()}
        return {**means, **self.set_metrics}


def evaluate(
    model: Ranks,
    task: EvaluationTask,
    ks: Sequence[int] = DEFAULT_KS,
    *,
    num_items: int,
    batch_size: int = 256,
    seed: int = 0,
    catalogue: CatalogueFacts | None = None,
    list_k: int = 10,
) -> EvaluationResult:
    """Return the metrics of a model on a task, full ranking, what the user knows masked.

    Args:
        model: Answers ``top``; it is asked with histories only.
        task: Users and hidden positives.
        ks: Ranking cutoffs.
        num_items: Size of the catalogue.
        batch_size: Users asked at a time. The numbers do not depend on it.
        seed: Seed of the order among equal scores.
        catalogue: Popularity and item features as of training; adds novelty, popularity bias and
            intra-list diversity. Without it there are coverage and Gini only.
        list_k: Cutoff of the metrics beyond accuracy, and length of the lists kept.

    Raises:
        DataError: The task is empty, or the model returned something that may not stand in a
            list: a masked or unranked item, an item twice, an id out of range.
    """
    if not len(task):
        raise DataError(f"Expected users in task '{task.name}', got none; nothing can be measured")
    started, model_s = time.perf_counter(), 0.0
    longest = max(*ks, list_k)
    collected: dict[str, list[MetricArray]] = {}
    lists = np.full((len(task), list_k), -1, dtype=np.int32)
    for start in range(0, len(task), batch_size):
        rows = np.arange(start, min(start + batch_size, len(task)))
        part = task.take(rows)
        asked = time.perf_counter()
        top = _top(model, part, longest, seed)
        model_s += time.perf_counter() - asked
        check_lists(top, part, longest, num_items)
        found = ranking_metrics(top, part.target_indptr, part.target_items, ks)
        if catalogue is not None:
            found |= list_metrics(top[:, :list_k], part.histories, catalogue, list_k)
        for name, values in found.items():
            collected.setdefault(name, []).append(values)
        lists[rows] = top[:, :list_k]
    ranked_items = num_items if task.allowed is None else int(task.allowed.sum())
    return EvaluationResult(
        task=task.name,
        user_idx=task.histories.user_idx,
        metrics={name: np.concatenate(parts) for name, parts in collected.items()},
        set_metrics=set_metrics(lists, ranked_items),
        lists=lists,
        ranked_items=ranked_items,
        num_targets=len(task.target_items),
        wall_s=time.perf_counter() - started,
        model_s=model_s,
    )


def _top(model: Ranks, task: EvaluationTask, k: int, seed: int) -> IntArray:
    """Return the top k of each user, without what the task masks and the model does not know.

    The model is asked for as many items more; taking them out of a ranking is the same as masking.
    """
    indptr, items = task.masked_indptr, task.masked_items
    if indptr is None or items is None:
        return model.top(task.histories, k, allowed=task.allowed, seed=seed).item_idx
    lengths = np.diff(indptr)
    longer = k + int(lengths.max(initial=0))
    top = model.top(task.histories, longer, allowed=task.allowed, seed=seed).item_idx
    width = int(max(top.max(initial=0), items.max(initial=0))) + 1
    rows = np.arange(len(task))
    masked = np.isin(rows[:, None] * width + top, np.repeat(rows, lengths) * width + items)
    masked &= top >= 0
    order = np.argsort(masked | (top < 0), axis=1, kind="stable")
    kept = np.where(masked, -1, top)
    return np.asarray(np.take_along_axis(kept, order, axis=1)[:, :k])


def check_lists(top: IntArray, task: EvaluationTask, k: int, num_items: int) -> None:
    """Raise DataError where lists break the rules of the task; all models face the same mask."""
    where = f"in the lists for task '{task.name}'"
    if top.shape != (len(task), k):
        raise DataError(f"Expected shape {(len(task), k)}, got {top.shape}, {where}")
    listed = top >= 0
    if top.min(initial=-1) < -1 or top.max(initial=-1) >= num_items:
        raise DataError(f"Expected items in 0..{num_items - 1} or -1, got others {where}")
    keys = np.arange(len(top))[:, None] * num_items + top
    history = task.histories.row_of_event * num_items + task.histories.item_idx
    masked = np.isin(keys, history) & listed
    if masked.any():
        raise DataError(
            f"Expected no item of a user's history, got {int(masked.sum())} {where}; "
            "mask histories, low ratings included"
        )
    if task.allowed is not None and not task.allowed[top[listed]].all():
        raise DataError(f"Expected ranked items only, got others {where}; apply 'allowed'")
    ordered = np.sort(np.where(listed, top, -1 - np.arange(k)), axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise DataError(f"Expected each item once for a user, got repeated ones {where}")
