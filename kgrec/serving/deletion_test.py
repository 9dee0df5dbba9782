"""Do reasons hold? Taking away the named liked item must hurt more than taking away another.

Measures; the numbers go into a run's report. Whether a reason reads well is for people to judge.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.serving.capabilities import pair_scores
from kgrec.serving.carriers import drops
from kgrec.serving.recommender import Recommender
from kgrec.serving.request_histories import liked_items

_RESAMPLES = 1000


@dataclass(frozen=True)
class DeletionTest:
    """How often the named liked item matters more than a random other one.

    Attributes:
        share: Share of explanations where the item's score falls more without the named liked
            item than without another liked item drawn at random; equal falls count as a loss.
        low, high: 95 % interval of the share, by bootstrap over users (reasons of one user hang
            together).
        ties: Share of explanations where both falls are equal.
        num_explanations: Explanations tested: those that name a liked item of two or more.
        num_without_item: Explanations met that name no liked item; they are not tested.
        kinds: Kind of explanation -> how many of the tested.
    """

    share: float
    low: float
    high: float
    ties: float
    num_explanations: int
    num_without_item: int
    kinds: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def deletion_test(
    recommender: Recommender, *, num_explanations: int = 1000, k: int = 10, seed: int = 0
) -> DeletionTest:
    """Return how well the named liked items of top-k explanations stand the deletion test.

    Users are drawn at random until there are enough explanations; a user's whole top k counts.

    Args:
        recommender: What explains.
        num_explanations: Explanations to test; fewer where the users have fewer.
        k: Items explained for each user.
        seed: Seed of the draw of users and of the other liked items.
    """
    rng = np.random.default_rng(seed)
    users = recommender.artifact.users.ids
    wins: list[FloatArray] = []
    ties: list[FloatArray] = []
    kinds: dict[str, int] = {}
    without = 0
    for user in rng.permutation(len(users)):
        if sum(map(len, wins)) >= num_explanations:
            break
        history = recommender.history_of(users[user])
        if len(liked_items(history)) < 2:
            continue
        answer = recommender.recommend(users[user], k=k, explain=True)
        reasons = [item.explanation for item in answer if item.explanation is not None]
        named = np.array(
            [
                -1 if r.liked_item_id is None else recommender.row_of(r.liked_item_id)
                for r in reasons
            ],
            dtype=np.int64,
        )
        rows = np.array([recommender.row_of(item.item_id) for item in answer], dtype=np.int64)
        tested = named >= 0
        without += int((~tested).sum())
        for reason, use in zip(reasons, tested, strict=True):
            if use:
                kinds[reason.kind] = kinds.get(reason.kind, 0) + 1
        gaps = _gaps(recommender, history, rows[tested], named[tested], rng)
        wins.append((gaps > 0).astype(np.float32))
        ties.append((gaps == 0).astype(np.float32))
    return _summary(wins, ties, kinds, without, rng)


def _gaps(
    recommender: Recommender,
    history: HistoryBatch,
    rows: IntArray,
    named: IntArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Return, for each item, the fall without the named less the fall without another."""
    if len(rows) == 0:
        return np.empty(0, dtype=np.float32)
    liked = liked_items(history)
    removed = [np.array([name, rng.choice(liked[liked != name])], dtype=np.int64) for name in named]
    scorer = recommender.artifact.scorer

    def anew(variants: HistoryBatch, gone: IntArray, *pairs: IntArray) -> FloatArray:
        return pair_scores(scorer, variants, *pairs)

    falls = drops(anew, history, rows, removed)
    return np.array([fall[0] - fall[1] for fall in falls], dtype=np.float32)


def _summary(
    wins: list[FloatArray],
    ties: list[FloatArray],
    kinds: dict[str, int],
    without: int,
    rng: np.random.Generator,
) -> DeletionTest:
    count = np.array([len(part) for part in wins], dtype=np.int64)
    total = int(count.sum())
    if total == 0:
        nan = float("nan")
        return DeletionTest(nan, nan, nan, nan, 0, without, kinds)
    won = np.array([part.sum() for part in wins])
    draws = rng.integers(len(wins), size=(_RESAMPLES, len(wins)))
    shares = won[draws].sum(axis=1) / np.maximum(count[draws].sum(axis=1), 1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return DeletionTest(
        share=float(won.sum() / total),
        low=float(low),
        high=float(high),
        ties=float(sum(part.sum() for part in ties) / total),
        num_explanations=total,
        num_without_item=without,
        kinds=kinds,
    )
