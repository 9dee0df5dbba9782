"""The loss of a training step: what is asked of the model, and how its answers are judged.

Answers are judged against the labels: cross-entropy of spans, binary cross-entropy of relations.
Settings add to it:

- an adversarial step: the same again with embeddings shifted towards where the loss rises
  (Miyato et al., Adversarial Training Methods for Semi-Supervised Text Classification, ICLR 2017;
  Bekoulis et al., Adversarial training for multi-context joint entity and relation extraction,
  EMNLP 2018);
- agreement: two readings with different dropout are to say the same (Liang et al., R-Drop:
  Regularized Dropout for Neural Networks, NeurIPS 2021);
- teachers: the mean decisions of trained models count beside the labels (Furlanello et al., Born
  Again Neural Networks, ICML 2018). They see the pieces that are hidden from the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from graph_etl.extraction.bert.config import TrainConfig
from graph_etl.extraction.bert.features import IGNORED, Batch
from graph_etl.extraction.bert.model import JointModel
from graph_etl.extraction.bert.pairs import BoolArray, Pairs, pair_targets, pairs_of, within_reach
from graph_etl.extraction.bert.training_data import TrainingBatch
from graph_etl.extraction.bert.windows import IntArray


@dataclass(frozen=True, slots=True)
class Asked:
    """What a step asks, and what is true.

    Attributes:
        classes: int64 (B, W, K), see features.span_targets.
        pairs: N pairs of mentions and of stretches that the model wrongly sees as such.
        truth: float (N, R), 1 where the relation holds.
        counts: bool (N, R), whether it is asked.
    """

    classes: Tensor
    pairs: Pairs
    truth: Tensor
    counts: Tensor


@dataclass(frozen=True, slots=True)
class Scores:
    """A model's answers before softmax and sigmoid: spans (B, W, K, T + 1), pairs (N, R)."""

    spans: Tensor
    pairs: Tensor


def joint_loss(
    model: JointModel,
    step: TrainingBatch,
    allowed: BoolArray,
    config: TrainConfig,
    teachers: Sequence[JointModel] = (),
) -> Tensor:
    """Return the loss of a batch, a scalar.

    All parts are sums divided by the number of mentions, so that their weights beside each other
    do not hang on how many spans and pairs are no examples.

    Args:
        model: In training mode.
        step: Windows and labels.
        allowed: (types, types, relations).
        config: Weights and caps.
        teachers: In evaluation mode.
    """
    weight = config.relation_weight
    embedded = model.embed(step.batch)
    if config.adversarial_size and not embedded.requires_grad:
        embedded.requires_grad_()  # the table of word pieces does not learn
    words, window = model.encode(step.batch, embedded)
    spans = model.span_logits(words, window).float()
    asked = _asked(model, spans.detach(), step, allowed, config)
    first = Scores(spans, _pair_scores(model, words, window, step.batch, asked.pairs))
    loss = _gold_loss(first, asked, weight)
    if config.agreement_weight:
        second = _scores(model, step.batch, embedded, asked.pairs)
        loss = (loss + _gold_loss(second, asked, weight)) / 2
        loss = loss + config.agreement_weight * _difference(first, second, asked, weight)
    if teachers:
        said = [_decisions(one, step.whole, asked.pairs) for one in teachers]
        soft = _soft_loss(first, said, asked, weight)
        loss = (1 - config.teacher_share) * loss + config.teacher_share * soft
    if config.adversarial_size:
        shifted = embedded + _worst_shift(loss, embedded, config.adversarial_size)
        loss = loss + _gold_loss(_scores(model, step.batch, shifted, asked.pairs), asked, weight)
    return loss / max(sum(len(one.spans) for one in step.labels), 1)


def _asked(
    model: JointModel,
    spans: Tensor,
    step: TrainingBatch,
    allowed: BoolArray,
    config: TrainConfig,
) -> Asked:
    rng = np.random.default_rng(step.seed)
    wrong = _wrong_mentions(spans, step.span_targets, config.wrong_mentions)
    candidates = [
        np.concatenate([known.spans, seen]) for known, seen in zip(step.labels, wrong, strict=True)
    ]
    pairs = pairs_of(candidates, step.batch.subject_type.tolist(), allowed)
    pairs = within_reach(pairs, step.batch.sentence, model.settings.sentences_apart)
    pairs, truth, counts = pair_targets(pairs, step.labels, allowed, config.negative_pairs, rng)
    return Asked(step.span_targets, pairs, truth.to(spans.device), counts.to(spans.device))


def _scores(model: JointModel, batch: Batch, embedded: Tensor, pairs: Pairs) -> Scores:
    words, window = model.encode(batch, embedded)
    spans = model.span_logits(words, window).float()
    return Scores(spans, _pair_scores(model, words, window, batch, pairs))


def _pair_scores(
    model: JointModel, words: Tensor, window: Tensor, batch: Batch, pairs: Pairs
) -> Tensor:
    if not len(pairs):
        return words.new_zeros((0, 1))
    return model.pair_logits(words, window, batch, pairs).float()


def _gold_loss(scores: Scores, asked: Asked, relation_weight: float) -> Tensor:
    spans = nn.functional.cross_entropy(
        scores.spans.flatten(0, 2), asked.classes.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return spans + relation_weight * _pair_loss(scores, asked.truth, asked.counts)


def _pair_loss(scores: Scores, truth: Tensor, counts: Tensor) -> Tensor:
    if not len(counts):
        return counts.new_zeros((), dtype=torch.float32)
    cells = nn.functional.binary_cross_entropy_with_logits(scores.pairs, truth, reduction="none")
    return (cells * counts).sum()


def _difference(one: Scores, other: Scores, asked: Asked, relation_weight: float) -> Tensor:
    """Return the mean of both directions' Kullback-Leibler divergences, summed over what counts."""
    logs = one.spans.log_softmax(dim=-1), other.spans.log_softmax(dim=-1)
    spans = ((logs[0].exp() - logs[1].exp()) * (logs[0] - logs[1])).sum(dim=-1)
    pairs = (one.pairs.sigmoid() - other.pairs.sigmoid()) * (one.pairs - other.pairs)
    counted = (spans * (asked.classes != IGNORED)).sum()
    return (counted + relation_weight * (pairs * asked.counts).sum()) / 2


@torch.no_grad()
def _decisions(teacher: JointModel, batch: Batch, pairs: Pairs) -> Scores:
    """Return a teacher's probabilities."""
    scores = _scores(teacher, batch, teacher.embed(batch), pairs)
    return Scores(scores.spans.softmax(dim=-1), scores.pairs.sigmoid())


def _soft_loss(
    scores: Scores, said: Sequence[Scores], asked: Asked, relation_weight: float
) -> Tensor:
    """Return the cross-entropy against the mean of probabilities."""
    spans = torch.stack([one.spans for one in said]).mean(dim=0)
    pairs = torch.stack([one.pairs for one in said]).mean(dim=0)
    cells = -(spans * scores.spans.log_softmax(dim=-1)).sum(dim=-1)
    counted = (cells * (asked.classes != IGNORED)).sum()
    return counted + relation_weight * _pair_loss(scores, pairs, asked.counts)


def _worst_shift(loss: Tensor, embedded: Tensor, size: float) -> Tensor:
    """Return the step of a length for each window in which its loss rises fastest, (B, P, H)."""
    (slope,) = torch.autograd.grad(loss, embedded, retain_graph=True)
    length = slope.flatten(1).norm(dim=1).clamp(min=1e-12)
    shift: Tensor = slope * (size / length)[:, None, None]
    return shift


def _wrong_mentions(logits: Tensor, targets: Tensor, most: int) -> list[IntArray]:
    """Return the surest mentions that the model sees where none is, (at most ``most``, 3)."""
    if not most:
        return [np.zeros((0, 3), dtype=np.int64)] * len(logits)
    best, entity_type = logits[..., 1:].max(dim=-1)
    margin = torch.where(targets == 0, best - logits[..., 0], -1.0)  # (B, W, K)
    places = torch.nonzero(margin > 0)
    at = tuple(places.T)
    margins = margin[at].cpu().numpy()  # all windows at once: a GPU that is waited for stands still
    rows, first, more, kinds = torch.cat([places, entity_type[at][:, None]], 1).cpu().numpy().T
    spans = np.column_stack([first, first + more, kinds])
    found = []
    for start, stop in pairwise(np.searchsorted(rows, np.arange(len(logits) + 1)).tolist()):
        surest = np.argsort(-margins[start:stop], kind="stable")[:most]
        found.append(spans[start:stop][surest])
    return found
