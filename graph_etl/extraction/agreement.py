"""How far two markings of the same texts agree: F1 of mentions and relations, kappa of types.

F1 treats one marking as if it were an answer to the other; exchanging them changes nothing. Kappa
is over the stretches that both marked: it says how far the types agree beyond chance, and nothing
about stretches that one left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graph_etl.errors import DataError
from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.records import ExtractedTriple, Extraction, Span
from graph_etl.extraction.scoring import scores_of


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two markings agree.

    Attributes:
        documents: Texts that both marked.
        mention_f1: Same span and type, 0 to 1.
        mention_f1_interval: 95 % bootstrap interval over documents.
        relation_f1: Same ends (spans and types) and relation, 0 to 1.
        relation_f1_interval: Likewise.
        relation_f1_by_name: By relation.
        matched_spans: Stretches that both marked.
        type_kappa: Cohen's kappa of the types of matched stretches, at most 1.
        confused_types: "one / other" -> how often, where the types of a stretch differ.
    """

    documents: int
    mention_f1: float
    mention_f1_interval: tuple[float, float]
    relation_f1: float
    relation_f1_interval: tuple[float, float]
    relation_f1_by_name: dict[str, float]
    matched_spans: int
    type_kappa: float
    confused_types: dict[str, int]

    def as_record(self) -> dict[str, Any]:
        """Return it as plain JSON values, rounded to four places."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def marking_agreement(first: Sequence[GoldDocument], second: Sequence[GoldDocument]) -> Agreement:
    """Return how far two markings agree.

    Args:
        first: One marking, each doc_id once.
        second: The other, of the same documents with the same texts.

    Raises:
        DataError: They are not of the same texts, or there are none.
    """
    others = {one.document.doc_id: one for one in second}
    for one in first:
        other = others.get(one.document.doc_id)
        if other is None or other.document.text != one.document.text:
            raise DataError(
                f"Expected two markings of the same texts, got '{one.document.doc_id}' "
                f"{'in one alone' if other is None else 'with two texts'}; mark the same file"
            )
    if len(others) != len(first) or not first:
        raise DataError(f"Expected two markings of the same texts, got {len(first)}, {len(others)}")
    scores = scores_of(first, {name: _as_answer(one) for name, one in others.items()})
    mentions, relations = scores["entities"]["strict"], scores["triples"]["strict"]
    pairs = [
        pair for one in first for pair in _matched(_types(one), _types(others[one.document.doc_id]))
    ]
    confused = Counter(" / ".join(sorted(pair)) for pair in pairs if pair[0] != pair[1])
    return Agreement(
        documents=len(first),
        mention_f1=mentions.micro.f1,
        mention_f1_interval=mentions.interval,
        relation_f1=relations.micro.f1,
        relation_f1_interval=relations.interval,
        relation_f1_by_name={name: counts.f1 for name, counts in relations.by_type.items()},
        matched_spans=len(pairs),
        type_kappa=cohens_kappa(pairs),
        confused_types=dict(sorted(confused.items())),
    )


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Return Cohen's kappa of two raters' labels: (observed - expected) / (1 - expected).

    1 where both always agree, also where there is one label alone or none at all.
    Source: Cohen, A coefficient of agreement for nominal scales, 1960, equation 1.

    >>> cohens_kappa([("a", "a"), ("a", "b"), ("b", "b"), ("b", "b")])
    0.5
    """
    total = len(pairs)
    same = sum(one == other for one, other in pairs)
    if same == total:
        return 1.0
    firsts, seconds = (Counter(pair[side] for pair in pairs) for side in (0, 1))
    expected = sum(firsts[label] * seconds[label] for label in firsts) / total**2
    return (same / total - expected) / (1 - expected)


def _as_answer(gold: GoldDocument) -> Extraction:
    whole = (0, len(gold.document.text))
    triples = (ExtractedTriple(one.head, one.relation, one.tail, whole) for one in gold.relations)
    return Extraction(gold.document.doc_id, gold.mentions, tuple(triples))


def _types(gold: GoldDocument) -> dict[Span, str]:
    return {one.span: one.entity_type for one in gold.mentions}


def _matched(one: dict[Span, str], other: dict[Span, str]) -> list[tuple[str, str]]:
    return [(one[span], other[span]) for span in sorted(one.keys() & other.keys())]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, tuple) else value
