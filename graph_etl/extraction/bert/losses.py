"""The loss of a training step: cross-entropy of spans, binary cross-entropy of relations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from graph_etl.extraction.bert.config import TrainConfig
from graph_etl.extraction.bert.features import IGNORED
from graph_etl.extraction.bert.model import JointModel
from graph_etl.extraction.bert.pairs import BoolArray, pair_targets, pairs_of, within_reach
from graph_etl.extraction.bert.training_data import TrainingBatch
from graph_etl.extraction.bert.windows import IntArray


def joint_loss(
    model: JointModel, step: TrainingBatch, allowed: BoolArray, config: TrainConfig
) -> Tensor:
    """Return the loss of a batch, a scalar.

    Both parts are sums divided by the number of mentions, so that their weights beside each other
    do not hang on how many spans and pairs are no examples.

    Args:
        model: In training mode.
        step: Windows and labels.
        allowed: (types, types, relations).
        config: Weights and caps.
    """
    words, window = model.encode(step.batch)
    logits = model.span_logits(words, window).float()
    mentions = max(sum(len(one.spans) for one in step.labels), 1)
    spans = nn.functional.cross_entropy(
        logits.flatten(0, 2),
        step.span_targets.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
    rng = np.random.default_rng(step.seed)
    wrong = _wrong_mentions(logits.detach(), step.span_targets, config.wrong_mentions)
    candidates = [
        np.concatenate([known.spans, seen]) for known, seen in zip(step.labels, wrong, strict=True)
    ]
    return (
        spans
        + config.relation_weight
        * _pair_loss(model, step, candidates, words, window, allowed, config, rng)
    ) / mentions


def _pair_loss(
    model: JointModel,
    step: TrainingBatch,
    candidates: list[IntArray],
    words: Tensor,
    window: Tensor,
    allowed: BoolArray,
    config: TrainConfig,
    rng: np.random.Generator,
) -> Tensor:
    pairs = pairs_of(candidates, step.batch.subject_type.tolist(), allowed)
    pairs = within_reach(pairs, step.batch.sentence, model.settings.sentences_apart)
    pairs, truth, counts = pair_targets(pairs, step.labels, allowed, config.negative_pairs, rng)
    if not len(pairs):
        return words.new_zeros(())
    logits = model.pair_logits(words, window, step.batch, pairs).float()
    truth, counts = truth.to(logits.device), counts.to(logits.device)
    cells = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (cells * counts).sum()


def _wrong_mentions(logits: Tensor, targets: Tensor, most: int) -> list[IntArray]:
    """Return the surest mentions that the model sees where none is, (at most ``most``, 3)."""
    if not most:
        return [np.zeros((0, 3), dtype=np.int64)] * len(logits)
    best, entity_type = logits[..., 1:].max(dim=-1)
    margin = torch.where(targets == 0, best - logits[..., 0], -1.0)  # (B, W, K)
    found = []
    for row in range(len(logits)):
        places = torch.nonzero(margin[row] > 0)
        surest = margin[row][tuple(places.T)].argsort(descending=True, stable=True)[:most]
        first, more = places[surest].T
        kinds = entity_type[row, first, more]
        found.append(torch.stack([first, first + more, kinds], dim=1).cpu().numpy())
    return found
