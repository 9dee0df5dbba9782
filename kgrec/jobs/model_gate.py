"""Whether a new model may take the place of the published one: both asked about the newest events.

Neither has learned from them. The published one is asked in its own numbering of users and items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgrec.artifact import Artifact
from kgrec.data.dataset import Dataset
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, IntArray, kinds_at
from kgrec.data.strings import Strings
from kgrec.data.task import EvaluationTask
from kgrec.evaluation.evaluator import Ranks, evaluate
from kgrec.evaluation.statistics import paired_test
from kgrec.models.top_items import TopItems

METRIC = "ndcg@20"


@dataclass(frozen=True)
class Verdict:
    """What the comparison says.

    Attributes:
        passes: Whether the candidate may be published.
        reason: Why, in words.
        num_users: Users with a like among the newest events.
        candidate, published: Mean NDCG@20; published is None where there is nothing to compare.
        relative: (candidate - published) / published.
        p: Of the paired bootstrap test.
    """

    passes: bool
    reason: str
    num_users: int
    candidate: float
    published: float | None = None
    relative: float | None = None
    p: float | None = None


def judge(
    candidate: Ranks,
    published: Artifact | None,
    task: EvaluationTask,
    dataset: Dataset,
    *,
    max_drop: float,
    drop_p_value: float,
    p_value: float,
    min_users: int,
) -> Verdict:
    """Compare a candidate with the published artifact on a task.

    Args:
        candidate: The new model.
        published: What stands; None at the first publish.
        task: The newest events, hidden from both.
        dataset: Users and items of the task.
        max_drop: A larger relative loss of NDCG@20 does not pass, unless it may be chance.
        drop_p_value: With at least this p such a loss may be chance.
        p_value: A loss with a smaller p does not pass, however small it is.
        min_users: With fewer users no loss can be told from chance; the candidate passes.
    """
    own = _ndcg(candidate, task, dataset.num_items)
    mean, users = float(own.mean()), len(own)
    if published is None:
        return Verdict(True, "nothing was published before", users, mean)
    if _learned_until(published) > int(task.histories.now.min(initial=np.iinfo(np.int64).max)):
        reason = "the published model has learned from some of the newest events: not comparable"
        return Verdict(True, reason, users, mean)
    other = _ndcg(AskedByOldIds(published, dataset), task, dataset.num_items)
    if not other.any():
        return Verdict(
            True, "the published model finds none of the newest events", users, mean, 0.0
        )
    test = paired_test(own, other)
    drop, p = -test.relative, test.p_bootstrap
    if users < min_users:
        passes, reason = True, f"only {users} users to compare, fewer than {min_users}"
    elif drop > 0 and p < p_value:
        passes, reason = False, f"NDCG@20 is {drop:.1%} lower, p = {p:.4f} below {p_value}"
    elif drop > max_drop and p < drop_p_value:
        reason = f"NDCG@20 is {drop:.1%} lower, at most {max_drop:.1%} may be lost (p = {p:.4f})"
        passes = False
    elif drop > max_drop:
        passes, reason = True, f"NDCG@20 is {drop:.1%} lower, which may be chance (p = {p:.4f})"
    else:
        passes, reason = True, f"NDCG@20 changes by {test.relative:+.1%}"
    return Verdict(passes, reason, users, mean, float(other.mean()), float(test.relative), float(p))


class AskedByOldIds:
    """A published model that is asked about users and items of a newer data set.

    Args:
        published: The artifact.
        dataset: The newer users and items. Events on items that the artifact does not know are
            left out of histories; it cannot recommend them.
    """

    def __init__(self, published: Artifact, dataset: Dataset) -> None:
        self._scorer = published.scorer
        self._old_item = _positions(published.items.ids, dataset.items.ids)
        self._new_item = _positions(dataset.items.ids, published.items.ids)
        self._old_user = _positions(published.users.ids, dataset.users.ids)

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> TopItems:
        """Return the k best items in the newer numbering."""
        known = self._old_item[histories.item_idx] >= 0
        lengths = np.bincount(histories.row_of_event[known], minlength=len(histories))
        users = np.where(histories.user_idx >= 0, self._old_user[histories.user_idx], -1)
        asked = HistoryBatch(
            user_idx=users,
            indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            item_idx=self._old_item[histories.item_idx[known]],
            value=histories.value[known],
            timestamp=histories.timestamp[known],
            positive=histories.positive[known],
            now=histories.now,
            kind=kinds_at(histories.kind, known),
        )
        there = self._new_item >= 0
        if allowed is not None:
            there = there & allowed[self._new_item]
        top = self._scorer.top(asked, k, exclude_history=exclude_history, allowed=there, seed=seed)
        found = np.where(top.item_idx >= 0, self._new_item[top.item_idx], -1)
        return TopItems(found, top.score)


def _ndcg(model: Ranks, task: EvaluationTask, num_items: int) -> npt.NDArray[np.float64]:
    return evaluate(model, task, (20,), num_items=num_items).metrics[METRIC]


def _learned_until(published: Artifact) -> int:
    """Return the time of the last event that a model learned from, Unix seconds."""
    told = published.manifest["metrics"].get("learned_until")
    return int(published.interactions.timestamp.max(initial=0) if told is None else told)


def _positions(among: Strings, ids: Strings) -> IntArray:
    """Return where each of ``ids`` stands in ``among``, -1 where it does not."""
    place = {str(one): number for number, one in enumerate(among)}
    return np.array([place.get(str(one), -1) for one in ids], dtype=np.int64)
