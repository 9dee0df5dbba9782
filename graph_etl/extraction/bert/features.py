"""Windows to the tensors of a batch, and labels to what is asked of the model about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from graph_etl.extraction.bert.encoder import Pieces
from graph_etl.extraction.bert.labels import Labels
from graph_etl.extraction.bert.windows import IntArray, Window
from graph_etl.extraction.gold import GoldDocument, GoldRelation

IGNORED = -100
SUBJECT = -1
"""In place of a mention's number: the document's subject."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows as tensors; B windows, P pieces with [CLS] and [SEP], W words; padded at the end.

    Attributes:
        piece_ids: int64 (B, P).
        attention: int64 (B, P), 1 at pieces.
        piece_forms: int64 (B, P), form of the piece's word + 1; 0 at [CLS], [SEP], padding.
        first_piece, end_piece: int64 (B, W), the word's pieces; equal at padding.
        forms: int64 (B, W), what the word looks like.
        num_words: int64 (B,).
        sentence: int64 (B, W), number of the word's sentence in the window.
        sentence_start, sentence_end: int64 (B, W), the words of the word's sentence.
        subject_type: int64 (B,), -1 where there is no subject.
    """

    piece_ids: Tensor
    attention: Tensor
    piece_forms: Tensor
    first_piece: Tensor
    end_piece: Tensor
    forms: Tensor
    num_words: Tensor
    sentence: Tensor
    sentence_start: Tensor
    sentence_end: Tensor
    subject_type: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the batch on a device."""
        moved = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in fields(self)
        }
        return type(self)(**moved)


def batch_of(windows: Sequence[Window], pieces: Pieces) -> Batch:
    """Return windows as one batch."""
    size = len(windows)
    num_pieces = max(len(one.piece_ids) for one in windows) + 2
    num_words = max(len(one.words) for one in windows)
    ids = np.full((size, num_pieces), pieces.pad, dtype=np.int64)
    attention = np.zeros((size, num_pieces), dtype=np.int64)
    piece_forms = np.zeros((size, num_pieces), dtype=np.int64)
    word_tables = np.zeros((6, size, num_words), dtype=np.int64)
    first_piece, end_piece, forms, sentence, sentence_start, sentence_end = word_tables
    for row, one in enumerate(windows):
        count, words = len(one.piece_ids), len(one.words)
        ids[row, : count + 2] = [pieces.cls, *one.piece_ids, pieces.sep]
        attention[row, : count + 2] = 1
        starts = np.asarray(one.piece_starts)
        forms[row, :words] = one.forms
        piece_forms[row, 1 : count + 1] = np.repeat(np.asarray(one.forms) + 1, np.diff(starts))
        first_piece[row, :words] = starts[:-1] + 1
        end_piece[row, :words] = starts[1:] + 1
        for number, (start, end) in enumerate(one.sentences):
            sentence[row, start:end] = number
            sentence_start[row, start:end] = start
            sentence_end[row, start:end] = end
    return Batch(
        piece_ids=torch.from_numpy(ids),
        attention=torch.from_numpy(attention),
        piece_forms=torch.from_numpy(piece_forms),
        first_piece=torch.from_numpy(first_piece),
        end_piece=torch.from_numpy(end_piece),
        forms=torch.from_numpy(forms),
        num_words=torch.tensor([len(one.words) for one in windows]),
        sentence=torch.from_numpy(sentence),
        sentence_start=torch.from_numpy(sentence_start),
        sentence_end=torch.from_numpy(sentence_end),
        subject_type=torch.tensor([one.subject_type for one in windows]),
    )


@dataclass(frozen=True, slots=True)
class WindowLabels:
    """What is known of a window.

    Attributes:
        spans: int64 (M, 3): first word, last word, entity type of each mention.
        relations: Those that hold: (head, relation, tail), numbers of mentions or SUBJECT.
        unsure: Those that may hold, likewise.
        unknown: Half-open ranges of words; spans that touch them are not asked about.
    """

    spans: IntArray
    relations: frozenset[tuple[int, int, int]]
    unsure: frozenset[tuple[int, int, int]]
    unknown: tuple[tuple[int, int], ...]


def labels_of(window: Window, gold: GoldDocument, labels: Labels) -> WindowLabels:
    """Return the labels of a document that lie in one of its windows.

    A mention whose ends are no ends of words, or that lies in two windows, is left out, and its
    relations with it: no answer could be right.
    """
    starts = {start: place for place, (start, _) in enumerate(window.words)}
    ends = {end: place for place, (_, end) in enumerate(window.words)}
    spans: list[tuple[int, int, int]] = []
    numbers: dict[int | None, int] = {None: SUBJECT}
    for index, one in enumerate(gold.mentions):
        if one.start in starts and one.end in ends:
            span = (starts[one.start], ends[one.end], labels.type_index[one.entity_type])
            if span not in spans:
                spans.append(span)
            numbers[index] = spans.index(span)

    def numbered(relations: Iterable[GoldRelation]) -> frozenset[tuple[int, int, int]]:
        return frozenset(
            (numbers[one.head], labels.relation_index[one.relation], numbers[one.tail])
            for one in relations
            if one.head in numbers and one.tail in numbers
        )

    unknown = []
    for start, end in gold.unknown:
        touched = [place for place, (a, b) in enumerate(window.words) if a < end and start < b]
        if touched:
            unknown.append((touched[0], touched[-1] + 1))
    return WindowLabels(
        np.array(spans, dtype=np.int64).reshape(-1, 3),
        numbered(gold.relations),
        numbered(gold.unsure),
        tuple(unknown),
    )


def span_targets(
    windows: Sequence[Window],
    labels: Sequence[WindowLabels],
    max_span_words: int,
    negative_spans: int,
    rng: np.random.Generator,
) -> Tensor:
    """Return the class of every span: int64 (B, W, K), by first word and length - 1.

    0 is no mention; IGNORED where there is no such span, where it is unknown, and where there
    would be more than ``negative_spans`` spans without a mention in a window (drawn by ``rng``).
    """
    num_words = max(len(one.words) for one in windows)
    targets = np.full((len(windows), num_words, max_span_words), IGNORED, dtype=np.int64)
    length = np.arange(max_span_words)
    for row, (window, known) in enumerate(zip(windows, labels, strict=True)):
        words = len(window.words)
        first = np.arange(words)[:, None]
        asked = first + length < words
        for start, end in known.unknown:
            asked &= ~((first < end) & (first + length >= start))
        table = np.where(asked, 0, IGNORED)
        for start, last, entity_type in known.spans:
            if last - start < max_span_words:
                table[start, last - start] = entity_type + 1
        places = np.flatnonzero(table == 0)
        if len(places) > negative_spans:
            dropped = rng.permutation(places)[negative_spans:]
            table.reshape(-1)[dropped] = IGNORED
        targets[row, :words] = table
    return torch.from_numpy(targets)
