"""Scores of windows to mentions and pairs: all that may be there, before any choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graph_etl.extraction.bert.features import SUBJECT, Batch
from graph_etl.extraction.bert.model import JointModel
from graph_etl.extraction.bert.pairs import BoolArray, Pairs, pairs_of, within_reach
from graph_etl.extraction.bert.windows import IntArray

FloatArray = npt.NDArray[np.float32]
_LEAST = 0.3
"""A type of a span that has this probability is a candidate even where another is likelier."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model sees in the windows of a batch.

    Attributes:
        mentions: Of each window, (M, 3): first word, last word, entity type; ordered by place;
            candidates, which may exclude each other.
        confidences: Of each window, (M,): probability of the type against "no mention".
        pairs: Pairs of these mentions.
        scores: (N, R), how sure it is that both mentions are there and the relation holds: the
            product of the three probabilities; 0 where the schema has no such pattern.
    """

    mentions: list[IntArray]
    confidences: list[FloatArray]
    pairs: Pairs
    scores: FloatArray


def read_batch(model: JointModel, batch: Batch, allowed: BoolArray) -> Reading:
    """Return what a model in evaluation mode sees in a batch."""
    words, window = model.encode(batch, model.embed(batch))
    logits = model.span_logits(words, window).float()
    mentions, confidences = candidates_of(logits, batch.num_words)
    pairs = pairs_of(mentions, batch.subject_type.tolist(), allowed)
    pairs = within_reach(pairs, batch.sentence, model.settings.sentences_apart)
    scores = np.zeros((0, allowed.shape[2]), dtype=np.float32)
    if len(pairs):
        found = torch.sigmoid(model.pair_logits(words, window, batch, pairs).float()).cpu().numpy()
        for side in (pairs.head, pairs.tail):
            found *= _surety(side, pairs, confidences)[:, None]
        scores = np.where(allowed[pairs.head_type, pairs.tail_type], found, 0.0)
    return Reading(mentions, confidences, pairs, scores.astype(np.float32))


def _surety(side: IntArray, pairs: Pairs, confidences: Sequence[FloatArray]) -> FloatArray:
    """Return the confidence of each pair's mention on a side; 1 for the subject."""
    return np.array(
        [
            1.0 if place == SUBJECT else confidences[window][place]
            for window, place in zip(pairs.window.tolist(), side.tolist(), strict=True)
        ],
        dtype=np.float32,
    )


def candidates_of(logits: Tensor, num_words: Tensor) -> tuple[list[IntArray], list[FloatArray]]:
    """Return possible mentions and their confidences of each window from the scores of spans.

    They are the types of a span that are the likeliest and likelier than "no mention", or have
    a probability of at least 0.3 among all; of each window as many, the surest, as it has words.

    Args:
        logits: (B, W, K, T + 1).
        num_words: (B,).
    """
    size, count, longest, _ = logits.shape
    margin = logits[..., 1:] - logits[..., :1]  # (B, W, K, T)
    likeliest = (margin > 0) & (margin == margin.max(dim=-1, keepdim=True).values)
    possible = likeliest | (logits.softmax(dim=-1)[..., 1:] >= _LEAST)
    end = torch.arange(count, device=logits.device)[:, None] + torch.arange(
        longest, device=logits.device
    )
    inside = end[None] < num_words[:, None, None]
    places = torch.nonzero(possible & inside[..., None])
    surety = torch.sigmoid(margin[tuple(places.T)]).cpu().numpy().astype(np.float32)
    rows, first, more, types = places.cpu().numpy().T
    spans = np.column_stack([first, first + more, types]).astype(np.int64)
    kept = []
    bounds = pairwise(np.searchsorted(rows, np.arange(size + 1)).tolist())
    for (start, stop), most in zip(bounds, num_words.tolist(), strict=True):
        surest = np.argsort(-surety[start:stop], kind="stable")[:most]
        kept.append(start + np.sort(surest))
    return [spans[one] for one in kept], [surety[one] for one in kept]
