"""Readings of windows put together: what the subject has with one thing counts once."""

import numpy as np
import pytest

from graph_etl.extraction.bert.features import SUBJECT
from graph_etl.extraction.bert.labels import Labels
from graph_etl.extraction.bert.reading import extractions_of
from graph_etl.extraction.bert.settling import WindowReading
from graph_etl.extraction.bert.windows import Window
from graph_etl.extraction.records import Document
from graph_etl.graph_schema import EntityType, GraphSchema, RelationType

TEXT = "Ann leaves. Ann returns."
FILM = Document("1", TEXT, "film:1", "film", "Away")
SCHEMA = GraphSchema(
    entity_types=[EntityType(name="character"), EntityType(name="film")],
    relation_types=[
        RelationType(head="film", relation="has", tail="character", phrase="has"),
    ],
)


def window(words):
    return Window(0, words, ((0, len(words)),), (1,) * len(words), (0, 1, 2), (0,) * 2, 1)


def reading(score):
    return WindowReading(
        np.array([[0, 0, 0]]), np.array([0.9], dtype=np.float32), [(SUBJECT, 0, 0, score)]
    )


def test_a_name_in_two_windows_is_one_thing_of_the_subject():
    windows = [window(((0, 3), (4, 10))), window(((12, 15), (16, 23)))]
    (found,) = extractions_of([FILM], windows, [reading(0.6), reading(0.8)], Labels(SCHEMA), 0.5)
    assert [one.span for one in found.mentions] == [(0, 3), (12, 15)]
    (triple,) = found.triples
    assert (triple.head, triple.relation, triple.tail) == (None, "has", 0)
    assert triple.confidence == pytest.approx(0.8)
    assert triple.evidence == (0, 10)
