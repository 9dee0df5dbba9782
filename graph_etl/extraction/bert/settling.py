"""Which mentions and relations of a window stay: those that can be true together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from graph_etl.extraction.bert.decoding import FloatArray
from graph_etl.extraction.bert.features import SUBJECT
from graph_etl.extraction.bert.windows import IntArray


@dataclass(frozen=True, slots=True)
class WindowReading:
    """What a model sees in one window.

    Attributes:
        mentions: (M, 3): first word, last word, entity type.
        confidences: (M,).
        relations: (head, relation, tail, score), numbers of mentions or SUBJECT.
    """

    mentions: IntArray
    confidences: FloatArray
    relations: list[tuple[int, int, int, float]]


def settled(reading: WindowReading, threshold: float, nested: bool) -> WindowReading:
    """Return what stays of a window's candidates.

    A stretch of words has one type, and mentions do not overlap unless ``nested``. Relations are
    taken first, the surest before the others: which of two readings of a name is right is often
    told by what is said of it. Then come the mentions that are surer than "no mention".

    Args:
        reading: Candidates that may exclude each other.
        threshold: Least score of a relation.
        nested: Whether mentions may overlap.
    """
    spans = reading.mentions[:, :2].tolist()
    taken: list[int] = []

    def join(places: Iterable[int]) -> bool:
        """Take mentions if they can stand beside those taken and beside each other."""
        new = [place for place in places if place not in taken]
        for one, other in product(new, taken + new):
            if one != other and _clash(spans[one], spans[other], nested):
                return False
        taken.extend(new)
        return True

    kept = set()
    for number in sorted(range(len(reading.relations)), key=lambda n: -reading.relations[n][3]):
        head, _, tail, score = reading.relations[number]
        if score >= threshold and join(end for end in (head, tail) if end != SUBJECT):
            kept.add(number)
    for place in (-reading.confidences).argsort(kind="stable").tolist():
        if reading.confidences[place] > 0.5:
            join([place])
    places = sorted(taken)
    number_of = {place: number for number, place in enumerate(places)} | {SUBJECT: SUBJECT}
    relations = [
        (number_of[head], relation, number_of[tail], score)
        for number, (head, relation, tail, score) in enumerate(reading.relations)
        if number in kept
    ]
    return WindowReading(reading.mentions[places], reading.confidences[places], relations)


def _clash(one: list[int], other: list[int], nested: bool) -> bool:
    """Whether two spans (first, last word) cannot both be mentions."""
    return one == other if nested else one[0] <= other[1] and other[0] <= one[1]
