"""Precision and recall over confidence, and the point to work at."""

import pytest

from graph_etl.extraction.curves import Point, point_inside, precision_recall, surer
from graph_etl.extraction.gold import GoldDocument, GoldRelation
from graph_etl.extraction.records import Document, ExtractedTriple, Extraction, Mention
from graph_etl.extraction.scoring import Counts

MENTIONS = tuple(Mention(at, at + 1, "place") for at in range(4))
DOCUMENT = Document("1", "abcd", "film:1", "film")
GOLD = GoldDocument(DOCUMENT, MENTIONS, tuple(GoldRelation(None, "set_in", at) for at in (0, 1)))
SAID = Extraction(
    "1",
    MENTIONS,
    tuple(
        ExtractedTriple(None, "set_in", at, (0, 4), confidence)
        for at, confidence in enumerate((0.9, 0.6, 0.7, 0.5))
    ),
)


def test_triples_count_from_the_confidence_on():
    assert [one.tail for one in surer(SAID, 0.7).triples] == [0, 2]
    assert surer(SAID, 0.7).mentions == MENTIONS


def test_curve_has_the_counts_of_each_confidence():
    points = precision_recall([GOLD], [SAID], [0.5, 0.6, 0.8, 0.95])
    assert points == [
        Point(0.5, Counts(2, 4, 2)),
        Point(0.6, Counts(2, 3, 2)),
        Point(0.8, Counts(1, 1, 2)),
        Point(0.95, Counts(0, 0, 2)),
    ]


def test_point_is_the_one_furthest_inside_both_bounds():
    points = [
        Point(0.5, Counts(9, 12, 10)),  # precision .75, recall .9
        Point(0.7, Counts(8, 9, 10)),  # .89, .8
        Point(0.9, Counts(5, 5, 10)),  # 1.0, .5
    ]
    assert point_inside(points, 0.7, 0.7) == points[1]
    assert point_inside(points, 0.9, 0.3) == points[2]
    assert point_inside(points, 0.5, 0.85) == points[0]


def test_point_that_misses_least_is_taken_where_none_is_inside():
    points = [Point(0.5, Counts(1, 4, 2)), Point(0.6, Counts(1, 2, 2))]
    assert point_inside(points, 0.9, 0.4) == points[1]
    with pytest.raises(ValueError, match="Expected points of a curve, got none"):
        point_inside([], 0.9, 0.4)
