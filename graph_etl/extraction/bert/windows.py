"""Texts cut into windows: whole sentences, together at most so many word pieces.

A window is what the encoder reads at once and what a relation may not reach across. A sentence
that is too long alone is cut between words. Windows do not overlap and leave no word out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graph_etl.extraction.bert.config import ModelSettings
from graph_etl.extraction.bert.encoder import Pieces
from graph_etl.extraction.bert.words import forms_of, sentences_of, words_of
from graph_etl.extraction.records import Document, Span

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """Some sentences of a document.

    Attributes:
        document: Place of the document among those that were cut.
        words: Where each word stands in the document's text.
        sentences: Half-open ranges of places in ``words``.
        piece_ids: Word pieces of all words, without [CLS] and [SEP].
        piece_starts: Where each word's pieces begin, and behind them their number.
        forms: What each word looks like, see words.forms_of.
        subject_type: Number of the subject's entity type; -1: the text has no subject.
    """

    document: int
    words: tuple[Span, ...]
    sentences: tuple[Span, ...]
    piece_ids: tuple[int, ...]
    piece_starts: tuple[int, ...]
    forms: tuple[int, ...]
    subject_type: int


def windows_of(
    documents: Sequence[Document],
    pieces: Pieces,
    settings: ModelSettings,
    type_index: dict[str, int],
) -> list[Window]:
    """Return the windows of documents, in order; a text without a word has none."""
    words = [words_of(one.text) for one in documents]
    texts = [
        [one.text[start:end] for start, end in spans]
        for one, spans in zip(documents, words, strict=True)
    ]
    pieces.learn(word for one in texts for word in one)
    windows = []
    for place, document in enumerate(documents):
        cut = [pieces.of(word) for word in texts[place]]
        forms = forms_of(document.text, words[place])
        sentences = sentences_of(document.text, words[place])
        subject = type_index.get(document.subject_type, -1)
        for group in _packed(sentences, [len(one) for one in cut], settings):
            first, end = group[0][0], group[-1][1]
            inside = cut[first:end]
            windows.append(
                Window(
                    document=place,
                    words=tuple(words[place][first:end]),
                    sentences=tuple((start - first, stop - first) for start, stop in group),
                    piece_ids=tuple(piece for word in inside for piece in word),
                    piece_starts=tuple(np.cumsum([0, *map(len, inside)]).tolist()),
                    forms=tuple(forms[first:end]),
                    subject_type=subject,
                )
            )
    return windows


def _packed(
    sentences: Sequence[Span], lengths: Sequence[int], settings: ModelSettings
) -> Iterator[list[Span]]:
    """Yield groups of neighbouring sentences that fit into a window each."""
    group: list[Span] = []
    size = 0
    for sentence in _cut_long(sentences, lengths, settings.max_pieces):
        length = sum(lengths[sentence[0] : sentence[1]])
        if group and size + length > settings.window_pieces:
            yield group
            group, size = [], 0
        group.append(sentence)
        size += length
    if group:
        yield group


def _cut_long(sentences: Sequence[Span], lengths: Sequence[int], max_pieces: int) -> Iterator[Span]:
    for start, end in sentences:
        first, size = start, 0
        for place in range(start, end):
            if place > first and size + lengths[place] > max_pieces:
                yield (first, place)
                first, size = place, 0
            size += lengths[place]
        yield (first, end)
