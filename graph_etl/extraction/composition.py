"""Several engines' extractions of a document as one, and a cascade of engines as one engine.

A run keeps every engine's part apart (run.py, statements.py); what is composed here serves those
who want one answer: evaluation, teaching another engine, a page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from graph_etl.extraction.extractor import Cost, Extractor, Request
from graph_etl.extraction.records import (
    Answer,
    ExtractedTriple,
    Extraction,
    Mention,
    Usage,
)
from graph_etl.extraction.run import RunLimits, Stage
from graph_etl.extraction.validation import ExtractionLimits, rejection, validated
from graph_etl.graph_schema import GraphSchema


@dataclass(frozen=True, slots=True)
class Merged:
    """One extraction made of several.

    Attributes:
        extraction: What they say together.
        mention_engines: For each of its mentions the engines that said it, in their order.
        triple_engines: Likewise for its triples.
    """

    extraction: Extraction
    mention_engines: tuple[tuple[str, ...], ...]
    triple_engines: tuple[tuple[str, ...], ...]


def merged(doc_id: str, parts: Sequence[tuple[str, Extraction]]) -> Merged:
    """Return several engines' validated extractions of one document as one.

    The same span and type is one mention, with the highest confidence. A mention inside of a longer
    one of its type is that longer one (of several the longest, then the first). Triples follow
    their mentions; equal ones are one, the surest, with its evidence; one whose head and tail have
    become one is rejected as a self-loop.

    Args:
        doc_id: The document's.
        parts: Name of the engine and what it found, in order.
    """
    surest: dict[tuple[int, int, str], Mention] = {}
    for _, part in parts:
        for mention in part.mentions:
            key = _key(mention)
            surest[key] = max(surest.get(key, mention), mention, key=lambda one: one.confidence)
    kept = {key: _longest_around(mention, surest.values()) for key, mention in surest.items()}
    mentions = sorted(set(kept.values()), key=_key)
    place = {mention: index for index, mention in enumerate(mentions)}
    said_mentions: list[dict[str, None]] = [{} for _ in mentions]
    triples: dict[tuple[int | None, str, int | None], ExtractedTriple] = {}
    said_triples: dict[tuple[int | None, str, int | None], dict[str, None]] = {}
    rejected = [one for _, part in parts for one in part.rejected]
    for engine, part in parts:
        moved = [place[kept[_key(mention)]] for mention in part.mentions]
        for index in moved:
            said_mentions[index][engine] = None
        for triple in part.triples:
            head, tail = (None if end is None else moved[end] for end in (triple.head, triple.tail))
            if head == tail:
                rejected.append(rejection("self_loop", triple.relation))
                continue
            same = (head, triple.relation, tail)
            new = replace(triple, head=head, tail=tail)
            triples[same] = max(triples.get(same, new), new, key=lambda one: one.confidence)
            said_triples.setdefault(same, {})[engine] = None
    return Merged(
        Extraction(doc_id, tuple(mentions), tuple(triples.values()), tuple(rejected)),
        tuple(map(tuple, said_mentions)),
        tuple(tuple(said_triples[same]) for same in triples),
    )


def _key(mention: Mention) -> tuple[int, int, str]:
    return (mention.start, mention.end, mention.entity_type)


def _longest_around(mention: Mention, all_mentions: Iterable[Mention]) -> Mention:
    around = [
        one
        for one in all_mentions
        if one.entity_type == mention.entity_type
        and one.start <= mention.start
        and mention.end <= one.end
    ]
    return max(around, key=lambda one: (one.end - one.start, -one.start))


class Cascade(Extractor):
    """Engines that are asked one after another, as one engine.

    Which documents go on to the next engine, how often a bad answer is asked again and what of an
    answer counts is as in ExtractionRun; the parts are merged. A document that no engine answered
    fails with the last failure.

    Args:
        stages: The engines, in order; closed with the cascade.
        schema: What may be extracted.
        limits: What of an answer counts.
        max_attempts: Answers to one document that may be no good, for each engine; None: as in a
            run by default.
    """

    engine = "cascade"

    def __init__(
        self,
        stages: Sequence[Stage],
        schema: GraphSchema,
        limits: ExtractionLimits | None = None,
        *,
        max_attempts: int | None = None,
    ) -> None:
        if not stages:
            raise ValueError("Expected at least one engine in a cascade, got none")
        self._stages = tuple(stages)
        self._schema = schema
        self._limits = limits or ExtractionLimits()
        self._max_attempts = max_attempts or RunLimits().max_attempts
        self.model = " + ".join(f"{one.extractor.engine} {one.extractor.model}" for one in stages)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the engines, when each is sure, the schema and the limits."""
        asked = [
            [(one.extractor.fingerprint, one.unsure_below) for one in self._stages],
            self._schema.model_dump(),
            self._limits.model_dump(),
            self._max_attempts,
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Yield one answer for each request, in their order, when all engines are done."""
        parts: dict[str, list[tuple[str, Extraction]]] = {}
        usage = {one.document.doc_id: Usage() for one in requests}
        failures: dict[str, Answer] = {}
        waiting = list(requests)
        for stage in self._stages:
            found = self._ask(stage.extractor, waiting, usage, failures)
            for doc_id, extraction in found.items():
                parts.setdefault(doc_id, []).append((stage.extractor.engine, extraction))
            waiting = [
                one
                for one in waiting
                if one.document.doc_id not in found
                or not stage.is_sure_of(found[one.document.doc_id])
            ]
        for request in requests:
            doc_id = request.document.doc_id
            if doc_id in parts:
                extraction = merged(doc_id, parts[doc_id]).extraction
                yield Answer(doc_id, "", extraction=extraction, usage=usage[doc_id])
            else:
                yield replace(failures[doc_id], usage=usage[doc_id])

    def cost_of(self, usage: Usage) -> Cost | None:
        """See Extractor; not known where several engines of different prices were asked."""
        costs = {one.extractor.cost_of(usage) for one in self._stages} - {None}
        return costs.pop() if len(costs) == 1 else None

    def _ask(
        self,
        extractor: Extractor,
        requests: Sequence[Request],
        usage: dict[str, Usage],
        failures: dict[str, Answer],
    ) -> dict[str, Extraction]:
        """Return what counts of an engine's answers, by doc_id; those without one are missing."""
        found: dict[str, Extraction] = {}
        asked = {one.document.doc_id: one for one in requests}
        for round_ in range(self._max_attempts):
            again = [replace(one, attempt=one.attempt + round_) for one in asked.values()]
            bad: dict[str, Request] = {}
            for answer in extractor.answers(again) if again else ():
                request = asked[answer.doc_id]
                usage[answer.doc_id] += answer.usage
                if answer.extraction is not None:
                    found[answer.doc_id] = validated(
                        request.document, answer.extraction, self._schema, self._limits
                    )
                    continue
                failures[answer.doc_id] = answer
                if answer.failure is not None and answer.failure.answered:
                    bad[answer.doc_id] = request
            asked = bad
        return found

    def close(self) -> None:
        """Close the engines."""
        for stage in self._stages:
            stage.extractor.close()
