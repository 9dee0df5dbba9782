"""Of readings that exclude each other those stay that are surest together."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graph_etl.extraction.bert.features import SUBJECT
from graph_etl.extraction.bert.settling import WindowReading, settled

Relation = tuple[int, int, int, float]


def reading(
    mentions: list[list[int]], confidences: list[float], relations: list[Relation]
) -> WindowReading:
    spans = np.array(mentions, dtype=np.int64).reshape(-1, 3)
    return WindowReading(spans, np.array(confidences, dtype=np.float32), relations)


def test_of_overlapping_mentions_the_surer_stays() -> None:
    seen = reading([[0, 1, 0], [1, 1, 1], [3, 3, 0], [4, 4, 0]], [0.8, 0.9, 0.7, 0.4], [])
    assert settled(seen, 0.5, nested=False).mentions.tolist() == [[1, 1, 1], [3, 3, 0]]
    nested = settled(seen, 0.5, nested=True)
    assert nested.mentions.tolist() == [[0, 1, 0], [1, 1, 1], [3, 3, 0]]


def test_a_sure_relation_decides_between_two_readings_of_a_name() -> None:
    mentions, confidences = [[0, 0, 0], [2, 2, 1], [2, 3, 1]], [0.9, 0.8, 0.4]
    seen = reading(mentions, confidences, [(0, 0, 1, 0.3), (0, 0, 2, 0.6), (SUBJECT, 1, 0, 0.7)])
    longer = settled(seen, 0.5, nested=False)
    assert longer.mentions.tolist() == [[0, 0, 0], [2, 3, 1]]
    assert longer.relations == [(0, 0, 1, 0.6), (SUBJECT, 1, 0, 0.7)]
    silent = settled(seen, 0.65, nested=False)
    assert silent.mentions.tolist() == [[0, 0, 0], [2, 2, 1]]
    assert silent.relations == [(SUBJECT, 1, 0, 0.7)]


def test_both_sides_of_a_relation_must_stand_beside_each_other() -> None:
    seen = reading([[0, 1, 0], [1, 2, 1]], [0.9, 0.8], [(0, 0, 1, 0.9)])
    assert settled(seen, 0.5, nested=False).relations == []
    assert settled(seen, 0.5, nested=True).relations == [(0, 0, 1, 0.9)]


_SPANS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 1), st.floats(0.05, 0.95)),
    max_size=8,
    unique_by=lambda one: one[:3],
)


@given(spans=_SPANS, data=st.data(), nested=st.booleans(), threshold=st.sampled_from([0.1, 0.5]))
def test_what_stays_can_be_true_together(
    spans: list[tuple[int, int, int, float]], data: st.DataObject, nested: bool, threshold: float
) -> None:
    places = st.integers(0, max(len(spans) - 1, 0))
    relation = st.tuples(places, st.integers(0, 1), places, st.floats(0.05, 0.95))
    relations = data.draw(st.lists(relation, max_size=6)) if spans else []
    relations = [one for one in relations if spans[one[0]][:2] != spans[one[2]][:2]]
    mentions = [[first, first + more, kind] for first, more, kind, _ in spans]
    seen = reading(mentions, [one[3] for one in spans], relations)
    found = settled(seen, threshold, nested)
    kept = found.mentions.tolist()
    for one, other in combinations(kept, 2):
        assert one[:2] != other[:2]
        assert nested or one[1] < other[0] or other[1] < one[0]
    assert all(one in mentions for one in kept)
    said = {
        (tuple(mentions[head]), kind, tuple(mentions[tail]), score)
        for head, kind, tail, score in relations
        if score >= threshold
    }
    for head, kind, tail, score in found.relations:
        assert (tuple(kept[head]), kind, tuple(kept[tail]), score) in said
    for first, last, _ in seen.mentions[seen.confidences > 0.5].tolist():
        assert any(first <= one[1] and one[0] <= last for one in kept)  # there or in a surer one
