"""How well extractions agree with labelled documents: precision, recall, F1, intervals, stability.

Strict: both spans, both types and the relation are right. Boundaries-only: spans and relation are
right, types do not count. Within a document each mention (span and type) and each triple counts
once, on either side; a document that failed counts as one without an answer. Takes records and
runs no engine.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graph_etl.errors import DataError
from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.records import Extraction, Span

RESAMPLES = 2000
ALL = "all"
_SUBJECT: Span = (-1, -1)
_KINDS = ("entities", "triples")
_VIEWS = ("strict", "boundaries")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many were right, said and true.

    Attributes:
        right: Said and true.
        said: In the extractions.
        true: In the labels.
    """

    right: int = 0
    said: int = 0
    true: int = 0

    @property
    def precision(self) -> float:
        """Share of what was said that is true; 0 where nothing was said."""
        return self.right / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        """Share of what is true that was said; 0 where nothing is true."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 0 where nothing is right."""
        return 2 * self.right / (self.said + self.true) if self.right else 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """Counts of one kind (entities, triples) in one view (strict, boundaries).

    Attributes:
        micro: Over all types.
        by_type: By entity type or relation, in order of name.
        interval: 95 % bootstrap interval of the micro F1 over documents.
    """

    micro: Counts
    by_type: Mapping[str, Counts]
    interval: tuple[float, float]


Items = Mapping[str, set[Hashable]]


def scores_of(
    gold: Sequence[GoldDocument], extractions: Mapping[str, Extraction], *, seed: int = 0
) -> dict[str, dict[str, Table]]:
    """Return {"entities" | "triples": {"strict" | "boundaries": table}}.

    Args:
        gold: What is true, each doc_id once.
        extractions: What was said, by doc_id; a document that is missing was not answered.
        seed: Seed of the bootstrap.

    Raises:
        DataError: There are no labelled documents, or one extraction is of none of them.
    """
    strange = set(extractions) - {one.document.doc_id for one in gold}
    if not gold or strange:
        got = f"an extraction of '{min(strange)}'" if strange else "no labelled documents"
        raise DataError(f"Expected extractions of labelled documents alone, got {got}")
    return {
        kind: {view: _table(gold, extractions, kind, view, seed) for view in _VIEWS}
        for kind in _KINDS
    }


def micro_counts(gold: Sequence[GoldDocument], said: Sequence[Extraction], kind: str) -> Counts:
    """Return strict counts over all types, of extractions in the order of the documents.

    Args:
        gold: What is true.
        said: What was said of each.
        kind: "entities" or "triples".
    """
    total = Counts()
    for one, extraction in zip(gold, said, strict=True):
        subject_type = one.document.subject_type
        items = (_items(answer, kind, "strict", subject_type) for answer in (extraction, one))
        total = _sum(total, _compared(*items))
    return total


def agreement(first: Sequence[Extraction], second: Sequence[Extraction]) -> dict[str, float]:
    """Return the strict F1 of one run's mentions and triples against another's: 1 = the same.

    Both runs are of the same documents in the same order. Two runs without an answer agree.
    """
    found = {}
    for kind in _KINDS:
        counts = Counts()
        for one, other in zip(first, second, strict=True):
            said, true = _items(one, kind, "strict"), _items(other, kind, "strict")
            counts = _sum(counts, _compared(said, true))
        found[kind] = counts.f1 if counts.said + counts.true else 1.0
    return found


def as_record(scores: Mapping[str, Mapping[str, Table]]) -> dict[str, Any]:
    """Return scores as plain numbers, for JSON."""
    return {
        kind: {
            view: {
                ALL: {**_plain(table.micro), "f1_interval_95": list(table.interval)},
                **{name: _plain(counts) for name, counts in table.by_type.items()},
            }
            for view, table in views.items()
        }
        for kind, views in scores.items()
    }


def _plain(counts: Counts) -> dict[str, float]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "right": counts.right,
        "said": counts.said,
        "true": counts.true,
    }


def _table(
    gold: Sequence[GoldDocument],
    extractions: Mapping[str, Extraction],
    kind: str,
    view: str,
    seed: int,
) -> Table:
    documents = []
    by_type: dict[str, Counts] = {}
    for one in gold:
        extraction = extractions.get(one.document.doc_id, Extraction(one.document.doc_id))
        said = _items(extraction, kind, view, one.document.subject_type)
        true = _items(one, kind, view, one.document.subject_type)
        documents.append(_compared(said, true))
        for name in {*said, *true}:
            counts = _compared({name: said.get(name, set())}, {name: true.get(name, set())})
            by_type[name] = _sum(by_type.get(name, Counts()), counts)
    rows = np.array([(one.right, one.said, one.true) for one in documents], dtype=np.int64)
    right, said_all, true_all = (int(value) for value in rows.sum(axis=0))
    named = {} if (kind, view) == ("entities", "boundaries") else dict(sorted(by_type.items()))
    return Table(Counts(right, said_all, true_all), named, _interval(rows, seed))


def _items(
    answer: GoldDocument | Extraction, kind: str, view: str, subject_type: str = ""
) -> dict[str, set[Hashable]]:
    """Return what stands in an answer as comparable items, by the name it is counted under.

    Strict entities are counted under their type; where types do not count there is one name.
    """
    strict = view == "strict"
    found: dict[str, set[Hashable]] = {}
    if kind == "entities":
        for mention in answer.mentions:
            name = mention.entity_type if strict else ""
            found.setdefault(name, set()).add(mention.span)
        return found

    def end(place: int | None) -> Hashable:
        span = _SUBJECT if place is None else answer.mentions[place].span
        typed = subject_type if place is None else answer.mentions[place].entity_type
        return (span, typed) if strict else span

    relations = answer.relations if isinstance(answer, GoldDocument) else answer.triples
    for one in relations:
        found.setdefault(one.relation, set()).add((end(one.head), end(one.tail)))
    return found


def _compared(said: Items, true: Items) -> Counts:
    return Counts(
        sum(len(items & true.get(name, set())) for name, items in said.items()),
        sum(map(len, said.values())),
        sum(map(len, true.values())),
    )


def _sum(first: Counts, second: Counts) -> Counts:
    return Counts(first.right + second.right, first.said + second.said, first.true + second.true)


def _interval(rows: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of micro F1 when documents are drawn again.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=RESAMPLES) @ rows
    f1 = 2 * drawn[:, 0] / np.maximum(drawn[:, 1] + drawn[:, 2], 1)
    low, high = np.quantile(f1, [0.025, 0.975])
    return float(low), float(high)
