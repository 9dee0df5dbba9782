"""Documents read by a model: windows in batches of like length, and their answers put together.

Every mention is a range of words of the text and every relation joins two of them (or the subject)
by a pattern of the schema: nothing can be said that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from graph_etl.extraction.bert.decoding import read_batch
from graph_etl.extraction.bert.encoder import Pieces, bfloat16_helps
from graph_etl.extraction.bert.features import SUBJECT, batch_of
from graph_etl.extraction.bert.labels import Labels
from graph_etl.extraction.bert.model import JointModel
from graph_etl.extraction.bert.settling import WindowReading, settled
from graph_etl.extraction.bert.windows import IntArray, Window, windows_of
from graph_etl.extraction.records import Document, ExtractedTriple, Extraction, Mention, Span
from graph_etl.extraction.things import each_thing_once

BATCH_PIECES = 1024
"""Word pieces of a batch, padding among them."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A model with what it needs to read texts.

    Attributes:
        model: In evaluation mode, on its device.
        pieces: Its tokenizer.
        labels: Its schema.
        bfloat16: Whether products are made in bfloat16 where the hardware has it.
    """

    model: JointModel
    pieces: Pieces
    labels: Labels
    bfloat16: bool = True

    def windows(self, documents: Sequence[Document]) -> list[Window]:
        """Return the windows of documents."""
        settings = self.model.settings
        return windows_of(documents, self.pieces, settings, self.labels.type_index)

    @torch.inference_mode()
    def read(self, windows: Sequence[Window], least_score: float) -> list[WindowReading]:
        """Return what may stand in windows, relations of at least a score."""
        device = self.model.subject.device
        readings: dict[int, WindowReading] = {}
        enabled = self.bfloat16 and bfloat16_helps(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            for places in batches_of([len(one.piece_ids) for one in windows]):
                batch = batch_of([windows[place] for place in places], self.pieces).to(device)
                seen = read_batch(self.model, batch, self.labels.allowed)
                relations: list[list[tuple[int, int, int, float]]] = [[] for _ in places]
                for row, relation in zip(*np.nonzero(seen.scores >= least_score), strict=True):
                    pair = (seen.pairs.head[row], relation, seen.pairs.tail[row])
                    head, kind, tail = (int(value) for value in pair)
                    score = float(seen.scores[row, relation])
                    relations[seen.pairs.window[row]].append((head, kind, tail, score))
                for row, place in enumerate(places):
                    readings[place] = WindowReading(
                        seen.mentions[row], seen.confidences[row], relations[row]
                    )
        return [readings[place] for place in range(len(windows))]

    def extract(self, documents: Sequence[Document], threshold: float) -> list[Extraction]:
        """Return what stands in documents; a relation counts from the threshold on."""
        windows = self.windows(documents)
        readings = self.read(windows, threshold)
        return self.answers(documents, windows, readings, threshold)

    def answers(
        self,
        documents: Sequence[Document],
        windows: Sequence[Window],
        readings: Sequence[WindowReading],
        threshold: float,
    ) -> list[Extraction]:
        """Return what stays of readings of at most that threshold."""
        nested = self.model.settings.nested
        stays = [settled(one, threshold, nested) for one in readings]
        return extractions_of(documents, windows, stays, self.labels, threshold)


def batches_of(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield places in batches of like length, the longest first."""
    batch: list[int] = []
    for place in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        if batch and (len(batch) + 1) * (lengths[batch[0]] + 2) > BATCH_PIECES:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def extractions_of(
    documents: Sequence[Document],
    windows: Sequence[Window],
    readings: Sequence[WindowReading],
    labels: Labels,
    threshold: float,
) -> list[Extraction]:
    """Return the readings of windows as one extraction for each document.

    The subject has each relation to each thing once. A relation's confidence is its score moved so
    that the threshold stands at 0.5: odds divided by the threshold's odds.
    """
    mentions: list[list[Mention]] = [[] for _ in documents]
    triples: list[list[ExtractedTriple]] = [[] for _ in documents]
    for window, reading in zip(windows, readings, strict=True):
        found = mentions[window.document]
        offset = len(found)
        for (first, last, kind), surety in zip(
            reading.mentions.tolist(), reading.confidences.tolist(), strict=True
        ):
            span = window.words[first][0], window.words[last][1]
            found.append(Mention(*span, labels.entity_types[kind], surety))
        for head, relation, tail, score in reading.relations:
            ends = [end for end in (head, tail) if end != SUBJECT]
            triples[window.document].append(
                ExtractedTriple(
                    None if head == SUBJECT else head + offset,
                    labels.relations[relation],
                    None if tail == SUBJECT else tail + offset,
                    _evidence(window, [reading.mentions[end] for end in ends]),
                    _moved(score, threshold),
                )
            )
    return [
        each_thing_once(document, Extraction(document.doc_id, tuple(found), tuple(said)))
        for document, found, said in zip(documents, mentions, triples, strict=True)
    ]


def _evidence(window: Window, mentions: Sequence[IntArray]) -> Span:
    """Return the sentences from the first mention's to the last one's."""
    first = min(int(one[0]) for one in mentions)
    last = max(int(one[1]) for one in mentions)
    start = next(start for start, end in window.sentences if start <= first < end)
    stop = next(end for start, end in window.sentences if start <= last < end)
    return (window.words[start][0], window.words[stop - 1][1])


def _moved(score: float, threshold: float) -> float:
    odds = score * (1 - threshold)
    other = (1 - score) * threshold
    return odds / (odds + other)
