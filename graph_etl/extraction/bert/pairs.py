"""Which two mentions of a window are asked about, and what is true of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graph_etl.extraction.bert.features import SUBJECT, WindowLabels
from graph_etl.extraction.bert.windows import IntArray

BoolArray = npt.NDArray[np.bool_]
NO_SUBJECT, SUBJECT_IS_HEAD, SUBJECT_IS_TAIL = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Pairs:
    """Ordered pairs of the windows of a batch; N pairs.

    Attributes:
        window: Row of the batch, (N,).
        head, tail: Numbers of the candidates in their window, or SUBJECT, (N,).
        head_span, tail_span: First and last word, (N, 2); that of the mention on both sides
            where the other side is the subject.
        head_type, tail_type: Entity types, (N,).
        subject: NO_SUBJECT, SUBJECT_IS_HEAD or SUBJECT_IS_TAIL, (N,).
    """

    window: IntArray
    head: IntArray
    tail: IntArray
    head_span: IntArray
    tail_span: IntArray
    head_type: IntArray
    tail_type: IntArray
    subject: IntArray

    def __len__(self) -> int:
        return len(self.window)

    def take(self, kept: IntArray | BoolArray) -> Pairs:
        """Return some of the pairs."""
        return Pairs(
            *(
                getattr(self, name)[kept]
                for name in ("window", "head", "tail", "head_span", "tail_span")
            ),
            *(getattr(self, name)[kept] for name in ("head_type", "tail_type", "subject")),
        )


def pairs_of(
    candidates: Sequence[IntArray], subject_types: Sequence[int], allowed: BoolArray
) -> Pairs:
    """Return every ordered pair that the schema has a pattern for.

    Args:
        candidates: Mentions of each window, (C, 3): first word, last word, entity type.
        subject_types: Type of each window's subject; -1: none.
        allowed: (types, types, relations).
    """
    any_relation: BoolArray = np.logical_or.reduce(allowed, axis=2)
    parts = []
    for window, (spans, subject_type) in enumerate(zip(candidates, subject_types, strict=True)):
        if not len(spans):
            continue
        count = len(spans)
        types = spans[:, 2]
        head, tail = np.nonzero(any_relation[types[:, None], types[None, :]])
        apart = (spans[head, :2] != spans[tail, :2]).any(axis=1)
        parts.append(_rows(window, head[apart], tail[apart], spans, spans, NO_SUBJECT))
        if subject_type >= 0:
            subject = np.column_stack([spans[:, :2], np.full(count, subject_type)])
            said_of = np.flatnonzero(any_relation[subject_type, types])
            none = np.full(len(said_of), SUBJECT)
            rows = _rows(window, none, said_of, subject[said_of], spans, SUBJECT_IS_HEAD)
            parts.append(rows)
            said_of = np.flatnonzero(any_relation[types, subject_type])
            none = np.full(len(said_of), SUBJECT)
            rows = _rows(window, said_of, none, spans, subject[said_of], SUBJECT_IS_TAIL)
            parts.append(rows)
    table = np.concatenate(parts) if parts else np.zeros((0, 10), dtype=np.int64)
    window_of, head_of, tail_of, head_type, tail_type, subject = table[:, [0, 1, 2, 7, 8, 9]].T
    sides = (table[:, 3:5], table[:, 5:7], head_type, tail_type)
    return Pairs(window_of, head_of, tail_of, *sides, subject)


def within_reach(pairs: Pairs, sentence: Tensor, sentences_apart: int | None) -> Pairs:
    """Return the pairs whose mentions are at most so many sentences apart; None: all.

    Args:
        pairs: Pairs; those with the subject always stay.
        sentence: (B, W), number of each word's sentence.
        sentences_apart: The limit.
    """
    if sentences_apart is None or not len(pairs):
        return pairs
    table = sentence.cpu().numpy()
    head = table[pairs.window, pairs.head_span[:, 0]]
    tail = table[pairs.window, pairs.tail_span[:, 0]]
    return pairs.take(np.abs(head - tail) <= sentences_apart)


def _rows(
    window: int, head: IntArray, tail: IntArray, heads: IntArray, tails: IntArray, subject: int
) -> IntArray:
    """Return the pairs' rows; the subject's side has a row of its own for each pair."""
    head_rows = heads if subject == SUBJECT_IS_HEAD else heads[head]
    tail_rows = tails if subject == SUBJECT_IS_TAIL else tails[tail]
    constant = np.full(len(head), window), head, tail
    return np.column_stack(
        [*constant, head_rows[:, :2], tail_rows[:, :2], head_rows[:, 2], tail_rows[:, 2],
         np.full(len(head), subject)]
    )  # fmt: skip


def pair_targets(
    pairs: Pairs,
    labels: Sequence[WindowLabels],
    allowed: BoolArray,
    negative_pairs: int,
    rng: np.random.Generator,
) -> tuple[Pairs, Tensor, Tensor]:
    """Return the pairs that are asked about, what is true of them, and what counts.

    A candidate's number below that of the window's mentions is that mention; others are mentions
    that the model sees wrongly, of which nothing holds.

    Returns:
        Pairs with a relation and, at most ``negative_pairs`` in a window, without one (drawn by
        ``rng``); float (N, relations) with 1 where the relation holds; bool, whether it counts:
        the schema allows it and it is not unsure.
    """
    truth = np.zeros((len(pairs), allowed.shape[2]), dtype=np.float32)
    counts = allowed[pairs.head_type, pairs.tail_type]
    places = {
        (window, head, tail): row
        for row, (window, head, tail) in enumerate(
            zip(pairs.window.tolist(), pairs.head.tolist(), pairs.tail.tolist(), strict=True)
        )
    }
    for window, known in enumerate(labels):
        for head, relation, tail in known.relations:
            row = places.get((window, head, tail))
            if row is not None:
                truth[row, relation] = 1.0
        for head, relation, tail in known.unsure:
            row = places.get((window, head, tail))
            if row is not None:
                counts[row, relation] = False
    kept: BoolArray = np.logical_or.reduce(truth > 0, axis=1)
    for window in range(len(labels)):
        negative = np.flatnonzero((pairs.window == window) & ~kept)
        if len(negative) > negative_pairs:
            negative = rng.permutation(negative)[:negative_pairs]
        kept[negative] = True
    return pairs.take(kept), torch.from_numpy(truth[kept]), torch.from_numpy(counts[kept])
