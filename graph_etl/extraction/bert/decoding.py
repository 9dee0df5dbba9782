"""Scores of windows to mentions and pairs: what the model sees, before any threshold."""

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


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model sees in the windows of a batch.

    Attributes:
        mentions: Of each window, (M, 3): first word, last word, entity type; ordered by place.
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
    words, window = model.encode(batch)
    logits = model.span_logits(words, window).float()
    mentions, confidences = mentions_of(logits, batch.num_words, model.settings.nested)
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


def mentions_of(
    logits: Tensor, num_words: Tensor, nested: bool
) -> tuple[list[IntArray], list[FloatArray]]:
    """Return mentions and confidences of each window from the scores of spans.

    A span is a mention where a type scores higher than "no mention". Of two that overlap the surer
    one stays, unless ``nested``.

    Args:
        logits: (B, W, K, T + 1).
        num_words: (B,).
        nested: Whether mentions may overlap.
    """
    size, count, longest, _ = logits.shape
    best, entity_type = logits[..., 1:].max(dim=-1)
    margin = best - logits[..., 0]
    end = torch.arange(count, device=logits.device)[:, None] + torch.arange(
        longest, device=logits.device
    )
    inside = end[None] < num_words[:, None, None]
    places = torch.nonzero((margin > 0) & inside)
    surety = torch.sigmoid(margin[tuple(places.T)]).cpu().numpy()
    types = entity_type[tuple(places.T)].cpu().numpy()
    rows, first, more = places.cpu().numpy().T
    spans = np.column_stack([first, first + more, types]).astype(np.int64)
    mentions, confidences = [], []
    bounds = np.searchsorted(rows, np.arange(size + 1))
    for start, stop in pairwise(bounds.tolist()):
        kept = _kept(spans[start:stop], surety[start:stop], nested)
        mentions.append(spans[start:stop][kept])
        confidences.append(surety[start:stop][kept].astype(np.float32))
    return mentions, confidences


def _kept(spans: IntArray, surety: FloatArray, nested: bool) -> IntArray:
    """Return places of the spans that stay, in their order."""
    if nested or len(spans) < 2:
        return np.arange(len(spans))
    chosen: list[int] = []
    for place in np.argsort(-surety, kind="stable").tolist():
        first, last = spans[place, 0], spans[place, 1]
        if all(last < spans[one, 0] or spans[one, 1] < first for one in chosen):
            chosen.append(place)
    return np.array(sorted(chosen), dtype=np.int64)
