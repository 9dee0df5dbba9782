"""What the model is trained on: labelled windows in batches, drawn anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from graph_etl.errors import DataError
from graph_etl.extraction.bert.config import ModelSettings, TrainConfig
from graph_etl.extraction.bert.encoder import Pieces
from graph_etl.extraction.bert.features import (
    Batch,
    WindowLabels,
    batch_of,
    labels_of,
    span_targets,
)
from graph_etl.extraction.bert.labels import Labels
from graph_etl.extraction.bert.windows import windows_of
from graph_etl.extraction.bert.words import sentences_of, words_of
from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.records import Span

_COVERED = 0.998
_REACHED = 0.995
_LONGEST_SPAN = 16
_NESTED_SHARE = 0.05
_POOL_BATCHES = 12


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """A step's windows and their labels.

    Attributes:
        batch: The windows, some pieces hidden.
        whole: The windows with all their pieces.
        span_targets: See features.span_targets.
        labels: Of each window.
        seed: Of the step: dropout and the choice of pairs.
    """

    batch: Batch
    whole: Batch
    span_targets: Tensor
    labels: list[WindowLabels]
    seed: int


class TrainingWindows:
    """Labelled documents as windows, and the batches of an epoch."""

    def __init__(
        self,
        gold: Sequence[GoldDocument],
        pieces: Pieces,
        labels: Labels,
        settings: ModelSettings,
        config: TrainConfig,
    ) -> None:
        documents = [one.document for one in gold]
        self.windows = windows_of(documents, pieces, settings, labels.type_index)
        if not self.windows:
            raise DataError("Expected training documents with words, got only empty texts")
        self.labels = [labels_of(one, gold[one.document], labels) for one in self.windows]
        self.pieces = pieces
        self.settings = settings
        self.config = config

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.windows) // self.config.batch_size)

    def epoch(self, number: int) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch, the same for the same seed and number.

        Windows are shuffled, and sorted by length within a few batches, so that little is padding.
        """
        rng = np.random.default_rng([self.config.seed, number])
        size = self.config.batch_size
        order = rng.permutation(len(self.windows))
        batches: list[list[int]] = []
        for start in range(0, len(order), size * _POOL_BATCHES):
            pool = order[start : start + size * _POOL_BATCHES].tolist()
            pool.sort(key=lambda place: len(self.windows[place].piece_ids))
            batches += [pool[at : at + size] for at in range(0, len(pool), size)]
        for place in rng.permutation(len(batches)).tolist():
            windows = [self.windows[one] for one in batches[place]]
            labels = [self.labels[one] for one in batches[place]]
            targets = span_targets(
                windows, labels, self.settings.max_span_words, self.config.negative_spans, rng
            )
            batch = whole = batch_of(windows, self.pieces)
            if self.config.hidden_pieces:
                batch = hide_pieces(batch, self.config.hidden_pieces, self.pieces.mask, rng)
            yield TrainingBatch(batch, whole, targets, labels, int(rng.integers(2**31)))


def hide_pieces(batch: Batch, share: float, hidden_id: int, rng: np.random.Generator) -> Batch:
    """Return a batch in which a share of the words' pieces is replaced by ``hidden_id``.

    What stands in a place must then be told by what is around it too, as for a name never seen.
    """
    drawn = torch.from_numpy(rng.random(tuple(batch.piece_ids.shape)) < share)
    places = torch.arange(batch.piece_ids.shape[1])
    last = batch.attention.sum(dim=1, keepdim=True) - 1
    hidden = drawn & (places > 0) & (places < last)
    return replace(batch, piece_ids=batch.piece_ids.masked_fill(hidden, hidden_id))


def settings_for(gold: Sequence[GoldDocument], settings: ModelSettings) -> ModelSettings:
    """Return settings whose longest span, nesting and reach fit the labels.

    The longest span is the shortest that holds 99.8 % of the mentions, at least the given and at
    most 16; mentions may overlap where more than 5 % of the labelled ones do; mentions are asked
    about that are as far apart as those of 99.5 % of the relations.
    """
    lengths, overlapping, count = [], 0, 0
    apart: list[int] = []
    for one in gold:
        words = words_of(one.document.text)
        starts = np.array([start for start, _ in words])
        spans = sorted({mention.span for mention in one.mentions})
        count += len(spans)
        lengths += [
            int(np.searchsorted(starts, end) - np.searchsorted(starts, start))
            for start, end in spans
        ]
        apart += _sentences_between(one, words)
        overlapping += sum(later[0] < earlier[1] for earlier, later in pairwise(spans))
    needed = int(np.quantile(lengths, _COVERED, method="higher")) if lengths else 1
    longest = max(settings.max_span_words, min(needed, _LONGEST_SPAN))
    nested = settings.nested or overlapping > _NESTED_SHARE * count
    reach = settings.sentences_apart
    if reach is None:
        reach = int(np.quantile(apart, _REACHED, method="higher")) if apart else 0
    update = {"max_span_words": longest, "nested": nested, "sentences_apart": reach}
    return settings.model_copy(update=update)


def _sentences_between(gold: GoldDocument, words: Sequence[Span]) -> list[int]:
    """Return how many sentences apart the mentions of each relation are."""
    sentences = sentences_of(gold.document.text, words)
    starts = np.array([words[first][0] for first, _ in sentences])

    def sentence(place: int) -> int:
        return int(np.searchsorted(starts, gold.mentions[place].start, side="right"))

    return [
        abs(sentence(one.head) - sentence(one.tail))
        for one in gold.relations
        if one.head is not None and one.tail is not None
    ]
