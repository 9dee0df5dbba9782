"""Labelled texts as HTML: what engines found, missed and invented in each.

A mention or triple is right where the labels have the same one, types and positions included, as
in scoring.py's strict view.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.records import Extraction, Mention
from graph_etl.graph_schema import words_of
from graph_etl.markup import Markup, from_data, join, tag

VERDICTS = ("right", "missed", "invented")
_COLOURS = 8
_Place = tuple[int, int, str]  # start, end, type


def colour_of(types: Sequence[str]) -> dict[str, str]:
    """Return the style class of each entity type."""
    return {name: f"t{place % _COLOURS}" for place, name in enumerate(types)}


def article(
    gold: GoldDocument, said: Mapping[int, tuple[str, Extraction]], colours: Mapping[str, str]
) -> Markup:
    """Return a text with what each engine said of it.

    Args:
        gold: The text and its labels.
        said: By number of the engine its name and what it found.
        colours: Style class of each entity type.
    """
    document = gold.document
    name = document.subject_name or document.doc_id
    parts = [
        tag(
            "div",
            tag("h4", from_data(engine)),
            tag("p", _marked(gold, extraction, colours)),
            _triples(gold, extraction),
            class_="part",
            data_engine=number,
        )
        for number, (engine, extraction) in said.items()
    ]
    heading = tag("h3", from_data(name), " ", tag("small", document.doc_id, class_="note"))
    return tag("article", heading, tag("div", *parts, class_="grid"))


def _marked(gold: GoldDocument, extraction: Extraction, colours: Mapping[str, str]) -> Markup:
    """Return the text with its mentions; where they overlap the shorter one shows."""
    true, found = _places(gold.mentions), _places(extraction.mentions)
    verdicts = _verdicts(true, found)
    text = gold.document.text
    cuts = sorted({0, len(text), *(at for start, end, _ in verdicts for at in (start, end))})
    pieces: list[str] = []
    for start, end in pairwise(cuts):
        around = [one for one in verdicts if one[0] <= start and end <= one[1]]
        piece = text[start:end]
        if not around:
            pieces.append(piece)
            continue
        around.sort(key=lambda one: (one[1] - one[0], VERDICTS.index(verdicts[one]), one[2]))
        shown = around[0]
        told = "; ".join(f"{one[2]}: {text[one[0] : one[1]]} ({verdicts[one]})" for one in around)
        pieces.append(
            tag(
                "mark",
                piece,
                class_=f"{colours.get(shown[2], 't0')} {verdicts[shown]}",
                title=told,
                data_type=" ".join(sorted({one[2] for one in around})),
                data_verdict=verdicts[shown],
            )
        )
    return tag("bdi", join(pieces))


def _triples(gold: GoldDocument, extraction: Extraction) -> Markup | None:
    true: dict[Hashable, tuple[str, Markup]] = {}
    found: dict[Hashable, tuple[str, Markup]] = {}
    for one in gold.relations:
        key = (_end(gold.mentions, one.head), one.relation, _end(gold.mentions, one.tail))
        true[key] = (one.relation, _told(gold, gold.mentions, one.head, one.relation, one.tail))
    for two in extraction.triples:
        own = extraction.mentions
        key = (_end(own, two.head), two.relation, _end(own, two.tail))
        found[key] = (two.relation, _told(gold, own, two.head, two.relation, two.tail))
    verdicts = _verdicts(true, found)
    lines = []
    for key in sorted(verdicts, key=lambda one: (VERDICTS.index(verdicts[one]), str(one))):
        relation, told = found.get(key) or true[key]
        verdict = verdicts[key]
        content = [tag("b", verdict), told]
        lines.append(tag("li", *content, class_=verdict, data_type=relation, data_verdict=verdict))
    return tag("ul", *lines, class_="said") if lines else None


def _verdicts(true: Mapping[Hashable, object], found: Mapping[Hashable, object]) -> dict[Any, str]:
    return {
        one: "right" if one in true and one in found else "missed" if one in true else "invented"
        for one in {**true, **found}
    }


def _places(mentions: Sequence[Mention]) -> dict[Hashable, None]:
    return dict.fromkeys((one.start, one.end, one.entity_type) for one in mentions)


def _end(mentions: Sequence[Mention], place: int | None) -> _Place | None:
    if place is None:
        return None
    return (mentions[place].start, mentions[place].end, mentions[place].entity_type)


def _told(
    gold: GoldDocument,
    mentions: Sequence[Mention],
    head: int | None,
    relation: str,
    tail: int | None,
) -> Markup:
    def name(place: int | None) -> Markup:
        if place is None:
            return tag("i", gold.document.subject_type or "subject")
        return from_data(gold.document.text[mentions[place].start : mentions[place].end])

    return join([name(head), " ", tag("i", words_of(relation)), " ", name(tail)])
