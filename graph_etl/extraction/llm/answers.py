"""Reading an answer strictly: JSON of exactly the asked form, or a reason why it is none.

What is repaired, and nothing else: a leading <think> block and a code fence are taken off, text
after the JSON object is ignored. Whether an answer stands in the text is decided in grounded.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.llm.prompt import SUBJECT, Form

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"\s*```(?:json)?\s*", re.IGNORECASE)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class SaidEntity(_Strict):
    """A name and what it is."""

    name: str
    type: str


class SaidTriple(_Strict):
    """A relation: a whole pattern ("film set_in place"), or in the compact form its name alone."""

    head: str
    relation: str
    tail: str
    evidence: str = ""


class SaidAnswer(_Strict):
    """All that was said of one text."""

    entities: tuple[SaidEntity, ...]
    triples: tuple[SaidTriple, ...]


class _QuotedTriple(SaidTriple):
    evidence: str


class _Quoted(_Strict):
    entities: tuple[SaidEntity, ...]
    triples: tuple[_QuotedTriple, ...]


class _Compact(_Strict):
    entities: tuple[tuple[str, str], ...]
    triples: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """Why an answer cannot be read.

    Attributes:
        kind: As Failure.kind.
        told: In words.
    """

    kind: str
    told: str


def read_answer(content: str, form: Form) -> SaidAnswer | BadAnswer:
    """Return what an answer says, or why that cannot be told.

    Args:
        content: The model's words.
        form: The form it was asked for.
    """
    if not content.strip():
        return BadAnswer("empty", "the model said nothing")
    text = _THOUGHT.sub("", content, count=1) if content.lstrip().startswith("<think>") else content
    start = fence.end() if (fence := _FENCE.match(text)) else len(text) - len(text.lstrip())
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
        # Strictness is that of JSON: a list may be a tuple, a number may not be a string.
        plain = json.dumps(value)
        if form == "quoted":
            quoted = _Quoted.model_validate_json(plain)
            return SaidAnswer(entities=quoted.entities, triples=quoted.triples)
        return _from_compact(_Compact.model_validate_json(plain))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:100]
        return BadAnswer("invalid_json", f"not of the asked form: {where}: {first['msg'][:100]}")
    except (ValueError, RecursionError) as error:
        return BadAnswer("invalid_json", f"no JSON object: {str(error)[:100]}")


def compact_answer(gold: GoldDocument) -> str:
    """Return the answer in the compact form that states exactly what is known of a document."""
    text = gold.document.text
    names = [text[one.start : one.end] for one in gold.mentions]
    order = sorted(range(len(names)), key=lambda place: gold.mentions[place].span)
    entities = dict.fromkeys((names[at], gold.mentions[at].entity_type) for at in order)

    def end(place: int | None) -> str:
        return SUBJECT if place is None else names[place]

    def position(place: int | None) -> int:
        return -1 if place is None else gold.mentions[place].start

    relations = sorted(gold.relations, key=lambda one: (position(one.head), position(one.tail)))
    triples = dict.fromkeys((end(one.head), one.relation, end(one.tail)) for one in relations)
    said = {"entities": list(entities), "triples": list(triples)}
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def _from_compact(compact: _Compact) -> SaidAnswer:
    return SaidAnswer(
        entities=tuple(SaidEntity(name=name, type=kind) for name, kind in compact.entities),
        triples=tuple(
            SaidTriple(head=head, relation=relation, tail=tail)
            for head, relation, tail in compact.triples
        ),
    )
