"""Mentions of one thing within a document: its full name, and what is said of it said once.

A text about Little Junior Brown goes on with "Junior Brown"; two mentions, one character. Which
things of several documents are one is for graph_etl.resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graph_etl.extraction.grounding import folded
from graph_etl.extraction.records import Document, ExtractedTriple, Extraction, Mention


def full_names(document: Document, mentions: Sequence[Mention]) -> list[str]:
    """Return the name of each mention: the longer one of the document where it is a part of it.

    A mention is a part where its words begin or end exactly one longer name of its type. White
    space within a name is one space.
    """
    spelled = [" ".join(document.text[one.start : one.end].split()) for one in mentions]
    words = [tuple(folded(name).text.split()) for name in spelled]
    names = []
    for mention, name, own in zip(mentions, spelled, words, strict=True):
        longer = {
            other: full
            for one, full, other in zip(mentions, spelled, words, strict=True)
            if one.entity_type == mention.entity_type and _is_part(own, other)
        }
        names.append(next(iter(longer.values())) if len(longer) == 1 else name)
    return names


def _is_part(own: tuple[str, ...], other: tuple[str, ...]) -> bool:
    size = len(own)
    return 0 < size < len(other) and own in (other[-size:], other[:size])


def each_thing_once(document: Document, extraction: Extraction) -> Extraction:
    """Return an extraction in which the subject has each relation to each thing once.

    Of the mentions that carry it the longest stays, then the first, as surely as the surest says.
    Relations between mentions stay as they are: each says where in the text it holds.
    """
    names = [folded(name).text for name in full_names(document, extraction.mentions)]
    kept: dict[object, ExtractedTriple] = {}
    for triple in extraction.triples:
        if triple.head is not None or triple.tail is None:
            kept[triple.head, triple.relation, triple.tail] = triple
            continue
        mention = extraction.mentions[triple.tail]
        key = (triple.relation, mention.entity_type, names[triple.tail])
        other = kept.get(key)
        if other is None:
            kept[key] = triple
        else:
            longest = max(other, triple, key=lambda one: _length(extraction.mentions, one.tail))
            surest = max(other.confidence, triple.confidence)
            kept[key] = replace(longest, confidence=surest)
    return replace(extraction, triples=tuple(kept.values()))


def _length(mentions: Sequence[Mention], place: int | None) -> tuple[int, int]:
    """Return what the longest, then first mention has most of; a subject has none."""
    if place is None:
        return (0, 0)
    return (mentions[place].end - mentions[place].start, -mentions[place].start)
