"""What a scorer can tell besides scores, found by duck typing: any Scorer can be served without.

The pipeline of kgrec.ranking tells most: probabilities, sources, and the ranker's score of any
pair. Each function here falls back on the plain Scorer contract, or returns None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.scorer import Scorer
from kgrec.models.top_items import TopItems
from kgrec.retrieval.candidates import Candidates
from kgrec.retrieval.standing import RankArray

# sources whose vectors are looked up, the best first
_VECTOR_SOURCES = ("towers", "content_ridge", "text_similarity")
# learned from behaviour; the last number is the item's bias, which says nothing of likeness
_WITH_BIAS = ("towers",)
Contributions = Mapping[str, float]
_NOT_BROUGHT = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Standing:
    """Where an item stands among the best items of each of S sources.

    Attributes:
        z: Shape (S,), float32, as Candidates has it.
        rank: Shape (S,), int32, as Candidates has it.
        best: What both refer to, as Candidates has it for a batch of one; the same for all items
            of an answer.
    """

    z: FloatArray
    rank: RankArray
    best: TopItems


@dataclass(frozen=True)
class Ranked:
    """One ranked item of an answer.

    Attributes:
        row: The item.
        score: Higher is better.
        probability: Calibrated probability of a like, None where the scorer has none.
        sources: Names of the candidate sources that brought it, the best rank first.
        place: The kgrec.ranking.ranked_items.RankedItems it stands in, its user and its place
            there; None where the scorer has no sources, or none was asked.
    """

    row: int
    score: float
    probability: float | None
    sources: tuple[str, ...]
    place: tuple[Any, int, int] | None = field(default=None, repr=False, compare=False)

    @property
    def contributions(self) -> Contributions:
        """Source name -> how many standard deviations its score for the item lies above the mean
        of its best items.
        """
        if self.place is None:
            return {}
        found, user, slot = self.place
        z, ranks = found.source_z[user, slot].tolist(), found.source_rank[user, slot].tolist()
        return _contributions(found.source_names, z, ranks)

    @property
    def standing(self) -> Standing | None:
        """Where it stands in each source; None where the scorer has no sources."""
        if self.place is None:
            return None
        found, user, slot = self.place
        only = slice(user, user + 1)
        best = TopItems(found.best.item_idx[only], found.best.score[only])
        return Standing(found.source_z[user, slot], found.rank[user, slot], best)


def ranked_items(
    scorer: Scorer, histories: HistoryBatch, k: int, allowed: BoolArray
) -> list[list[Ranked]]:
    """Return the k best allowed items of each history, best first, nothing of the history."""
    if not hasattr(scorer, "rank_candidates"):
        top = scorer.top(histories, k, allowed=allowed)
        return [_plain(top.item_idx[row], top.score[row], ()) for row in range(len(histories))]
    found = scorer.rank_candidates(histories, k, allowed=allowed)
    lists = [_told(found, row) for row in range(len(histories))]
    short = np.array([row for row, best in enumerate(lists) if len(best) < k], dtype=np.int64)
    if len(short):
        # the sources bring only so many; top() goes on with popular items from outside them
        top = scorer.top(histories.take(short), k, allowed=allowed)
        for place, row in enumerate(short):
            taken = {item.row for item in lists[row]}
            rest = _plain(top.item_idx[place], top.score[place], ("popular",))
            lists[row] += [item for item in rest if item.row not in taken]
    return lists


def pair_scores(
    scorer: Scorer, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
) -> FloatArray:
    """Return scores that can be compared before and after a change of the history, (num_pairs,).

    Args:
        scorer: Its ranker is asked where it has one: also about items that no source brings.
        histories: B users.
        indptr: Shape (B + 1,), int64.
        item_idx: Shape (num_pairs,), int64.
    """
    if hasattr(scorer, "score_candidates"):
        scores: FloatArray = scorer.score_candidates(histories, indptr, item_idx)[0]
        return scores
    return scorer.score_pairs(histories, indptr, item_idx)


def kind_of_score(scorer: Scorer) -> str:
    """Return in words what ``comparable_scores`` returns for a scorer."""
    if getattr(scorer, "likes", None) is not None:
        return "calibrated probability that the user likes the item, once met"
    if hasattr(scorer, "score_candidates"):
        return "calibrated probability that the user meets the item next and likes it"
    return f"score of '{scorer.name}', not calibrated"


def comparable_scores(
    scorer: Scorer, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
) -> FloatArray:
    """Return scores of pairs of many users that go into one order, shape (num_pairs,), float32.

    P(like) of a model of likes, else the ranker's probability, else the plain score. An item that
    is not known counts as the average one: of the model of likes, or of all items for somebody
    without a history.

    Args:
        scorer: Any.
        histories: B users; an empty history stands for the average user.
        indptr: Shape (B + 1,), int64.
        item_idx: Shape (num_pairs,), int64, -1 where the item is not known.
    """
    likes = getattr(scorer, "likes", None)
    if likes is not None:
        found: FloatArray = likes.probabilities(histories, indptr, item_idx)
        return found
    rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
    known = item_idx >= 0
    kept = np.concatenate([[0], np.cumsum(np.bincount(rows[known], minlength=len(histories)))])
    out = np.empty(len(item_idx), dtype=np.float32)
    out[known] = _plain_pair_scores(scorer, histories, kept.astype(np.int64), item_idx[known])
    if not known.all():
        nobody = HistoryBatch.of_nobody()
        every = np.arange(scorer.scores(nobody).shape[1])
        whole = np.array([0, len(every)], dtype=np.int64)
        out[~known] = _plain_pair_scores(scorer, nobody, whole, every).mean()
    return out


def _plain_pair_scores(
    scorer: Scorer, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
) -> FloatArray:
    if hasattr(scorer, "score_candidates"):
        probability: FloatArray = scorer.score_candidates(histories, indptr, item_idx)[1]
        return probability
    return scorer.score_pairs(histories, indptr, item_idx)


def contributions(told: Candidates, depth: int) -> list[Contributions]:
    """Return for each candidate what ``Ranked.contributions`` says.

    Args:
        told: What the sources say.
        depth: Best items of a source that count as brought by it.
    """
    brought = (told.rank <= depth).astype(np.int64).tolist()
    return [
        _contributions(told.source_names, z, ranks)
        for z, ranks in zip(told.z.tolist(), brought, strict=True)
    ]


def item_vectors(scorer: Scorer) -> FloatArray | None:
    """Return the vectors of all items, shape (num_items, dim), or None."""
    source = _vector_source(scorer)
    if source is None:
        return None
    found = source.item_vectors
    return np.asarray(found() if callable(found) else found, dtype=np.float32)


def similarity_vectors(scorer: Scorer) -> FloatArray | None:
    """Return unit vectors of all items for comparing items with each other, or None.

    Vectors from content alone are left aside: the pipeline itself says better what is alike.
    """
    vectors, source = item_vectors(scorer), _vector_source(scorer)
    if vectors is None or (source is not scorer and source.name not in _WITH_BIAS):
        return None
    if source.name in _WITH_BIAS:
        vectors = vectors[:, :-1]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)


def user_vectors(scorer: Scorer, histories: HistoryBatch) -> FloatArray | None:
    """Return the vectors of the histories in the space of the item vectors, (B, dim), or None."""
    source = _vector_source(scorer)
    return None if source is None else np.asarray(source.user_vectors(histories), dtype=np.float32)


def _vector_source(scorer: Scorer) -> Any:
    sources: Mapping[str, Scorer] = getattr(scorer, "sources", {})
    for candidate in (scorer, *(sources[name] for name in _VECTOR_SOURCES if name in sources)):
        if hasattr(candidate, "item_vectors") and hasattr(candidate, "user_vectors"):
            return candidate
    return None


def _plain(rows: IntArray, scores: FloatArray, sources: tuple[str, ...]) -> list[Ranked]:
    return [
        Ranked(int(row), float(score), None, sources)
        for row, score in zip(rows, scores, strict=True)
        if row >= 0
    ]


def _told(found: Any, row: int) -> list[Ranked]:
    """Return one row of kgrec.ranking.ranked_items.RankedItems."""
    rank = found.source_rank[row]
    best_first = np.argsort(np.where(rank > 0, rank, _NOT_BROUGHT), axis=1, kind="stable")
    columns = (found.item_idx[row], found.score[row], found.probability[row])
    # plain lists: picking single numbers out of arrays would take most of the time of a batch
    lists = [column.tolist() for column in (*columns, best_first, np.count_nonzero(rank, axis=1))]
    name = found.source_names.__getitem__
    return [
        Ranked(item, score, probability, tuple(map(name, order[:brought])), (found, row, place))
        for place, (item, score, probability, order, brought) in enumerate(zip(*lists, strict=True))
        if item >= 0
    ]


def _contributions(names: Sequence[str], z: Sequence[float], ranks: Sequence[int]) -> Contributions:
    return {name: own for name, own, rank in zip(names, z, ranks, strict=True) if rank}
