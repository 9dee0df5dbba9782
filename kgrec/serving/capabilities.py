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

# sources whose vectors are looked up, the best first
_VECTOR_SOURCES = ("towers", "content_ridge", "text_similarity")
# learned from behaviour; the last number is the item's bias, which says nothing of likeness
_WITH_BIAS = ("towers",)
Contributions = Mapping[str, float]


@dataclass(frozen=True)
class Ranked:
    """One ranked item of an answer.

    Attributes:
        row: The item.
        score: Higher is better.
        probability: Calibrated probability of a like, None where the scorer has none.
        sources: Names of the candidate sources that brought it, the best rank first.
        contributions: Source name -> how many standard deviations its score for the item lies
            above the mean of its best items.
        best: Shape (S, depth): what the sources' standing refers to, the same for all items of an
            answer; None where the scorer has no sources.
    """

    row: int
    score: float
    probability: float | None
    sources: tuple[str, ...]
    contributions: Contributions
    best: IntArray | None = field(default=None, repr=False, compare=False)


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


def changed_scores(
    scorer: Scorer,
    best: IntArray | None,
    histories: HistoryBatch,
    indptr: IntArray,
    item_idx: IntArray,
) -> FloatArray:
    """Return scores of pairs under variants of one history, (num_pairs,); near ``pair_scores``.

    Args:
        scorer: Any; a pipeline is asked in a cheaper way.
        best: What the sources' standing refers to, as Ranked has it for the unchanged history;
            None asks for it anew.
        histories: B variants, the unchanged history first.
        indptr: Shape (B + 1,), int64.
        item_idx: Shape (num_pairs,), int64, ascending within a variant.
    """
    pipeline: Any = scorer
    if not hasattr(pipeline, "score_changed"):
        return pair_scores(scorer, histories, indptr, item_idx)
    if best is None:
        best = pipeline.generator.best_of(histories.take(np.array([0])))
    scores: FloatArray = pipeline.score_changed(histories, indptr, item_idx, best)
    return scores


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


def contributions(scorer: Scorer, history: HistoryBatch, items: IntArray) -> list[Contributions]:
    """Return for each item of a batch of one what ``Ranked.contributions`` says; {} if untold."""
    if not hasattr(scorer, "generator"):
        return [{}] * len(items)
    order = np.argsort(items, kind="stable")
    indptr = np.array([0, len(items)], dtype=np.int64)
    told = scorer.generator.describe_pairs(history, indptr, items[order])
    back = np.argsort(order, kind="stable")
    brought = (told.rank <= scorer.generator.config.depth).astype(np.int64)
    return [
        _standing(told.source_names, told.z[row].tolist(), brought[row].tolist()) for row in back
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
        Ranked(int(row), float(score), None, sources, {})
        for row, score in zip(rows, scores, strict=True)
        if row >= 0
    ]


def _told(found: Any, row: int) -> list[Ranked]:
    """Return one row of kgrec.ranking.ranked_items.RankedItems."""
    best = None if found.best is None else found.best[row]
    columns = (found.item_idx, found.score, found.probability, found.source_rank, found.source_z)
    # plain lists: picking single numbers out of arrays would take most of the time of a batch
    lists = [column[row].tolist() for column in columns]
    return [
        Ranked(
            row=item,
            score=score,
            probability=probability,
            sources=_by_rank(found.source_names, rank),
            contributions=_standing(found.source_names, z, rank),
            best=best,
        )
        for item, score, probability, rank, z in zip(*lists, strict=True)
        if item >= 0
    ]


def _by_rank(names: Sequence[str], ranks: Sequence[int]) -> tuple[str, ...]:
    brought = [place for place, rank in enumerate(ranks) if rank > 0]
    return tuple(names[place] for place in sorted(brought, key=ranks.__getitem__))


def _standing(names: Sequence[str], z: Sequence[float], ranks: Sequence[int]) -> Contributions:
    return {name: z[at] for at, name in enumerate(names) if ranks[at] > 0}
