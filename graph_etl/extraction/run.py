"""A run: documents through one engine after another, each question asked once, all accounted for.

    items_in = extracted + cached + dead_lettered, for every engine.

An answer is in the ledger before the next one is looked at, so that a killed run repeats no
finished call. Which engines there are and what becomes of the triples is decided elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from pydantic import Field

from graph_etl.errors import ExtractionError, TooManyFailuresError
from graph_etl.extraction.extractor import Cost, Extractor, Request
from graph_etl.extraction.ledger import Ledger, key_of
from graph_etl.extraction.records import Answer, Document, Extraction, Usage
from graph_etl.extraction.validation import ExtractionLimits, rejections_by_reason, validated
from graph_etl.graph_schema import GraphSchema
from graph_etl.table_config import FrozenModel

Progress = Callable[[str, float], None]
CHUNK_DOCUMENTS = 2000


class RunLimits(FrozenModel):
    """When a run gives a document up, and when it fails as a whole."""

    max_attempts: int = Field(default=3, ge=1)
    """Answers to one document that may be no good before it becomes a dead letter."""
    max_failed_share: float = Field(default=0.05, ge=0, le=1)
    """A run with a larger share of dead letters, among all documents of an engine, fails."""


@dataclass(frozen=True)
class Stage:
    """An engine, and for which documents the next one is asked too.

    Attributes:
        extractor: The engine.
        unsure_below: A document goes on to the next engine where this one found no triple, or one
            with a lower confidence; None: every document goes on.
    """

    extractor: Extractor
    unsure_below: float | None = None

    def is_sure_of(self, extraction: Extraction) -> bool:
        """Whether the next engine need not be asked."""
        return (
            self.unsure_below is not None
            and bool(extraction.triples)
            and all(one.confidence >= self.unsure_below for one in extraction.triples)
        )


@dataclass
class StageAccount:
    """What became of the documents of one engine.

    Attributes:
        engine, model, prompt_version: Which.
        items_in: Documents that came.
        extracted: Asked in this run, with a good answer.
        cached: Answered before, or by another document with the same text and subject.
        dead_lettered: Without a good answer.
        unanswered: Those of ``dead_lettered`` that no answer came for; the next run asks again.
        bad_answers: Answers of this run that were no good.
        mentions, triples: That count.
        rejected: Reason -> what engines said and does not count.
        usage: What this run took.
        cost: The money for it; None where it costs none or prices are unknown.
        seconds: Wall time in the engine.
    """

    engine: str
    model: str
    prompt_version: str
    items_in: int = 0
    extracted: int = 0
    cached: int = 0
    dead_lettered: int = 0
    unanswered: int = 0
    bad_answers: int = 0
    mentions: int = 0
    triples: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    cost: Cost | None = None
    seconds: float = 0.0

    def check(self) -> None:
        """Raise ExtractionError unless every document is accounted for."""
        found = self.extracted + self.cached + self.dead_lettered
        if self.items_in != found:
            raise ExtractionError(
                f"Expected items_in = extracted + cached + dead_lettered for {self.engine}, got "
                f"{self.items_in} != {self.extracted} + {self.cached} + {self.dead_lettered}; "
                "this is a fault of the run, please report it"
            )

    def line(self) -> str:
        """Return the accounting as one line for people."""
        return (
            f"{self.engine} ({self.model}): items_in {self.items_in} = extracted {self.extracted} "
            f"+ cached {self.cached} + dead_lettered {self.dead_lettered}; {self.triples} triples, "
            f"{self.mentions} mentions, {sum(self.rejected.values())} rejected"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class Extracted:
    """What the engines found in one document.

    Attributes:
        document: The document.
        parts: What counts of each engine that was asked and answered, in the order of stages.
    """

    document: Document
    parts: tuple[tuple[Extractor, Extraction], ...]


class ExtractionRun:
    """Runs documents through stages.

    Args:
        stages: The engines, in order.
        schema: What may be extracted.
        ledger: Where answers are kept.
        limits: What of an answer counts.
        run_limits: When to give up.
        progress: Told in words how far it is, with the share.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        schema: GraphSchema,
        ledger: Ledger,
        *,
        limits: ExtractionLimits | None = None,
        run_limits: RunLimits | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._stages = stages
        self._schema = schema
        self._ledger = ledger
        self._limits = limits or ExtractionLimits()
        self._run_limits = run_limits or RunLimits()
        self._tell = progress or (lambda what, share: None)
        self._total = 0
        self.accounts = tuple(
            StageAccount(one.extractor.engine, one.extractor.model, one.extractor.prompt_version)
            for one in stages
        )

    def over(self, documents: Iterable[Document], total: int | None = None) -> Iterator[Extracted]:
        """Yield what is found in each document, in the order of the documents.

        Args:
            documents: Texts with unique doc_ids; they are held a few thousand at a time. One
                without any letter or digit is asked of nobody and comes back without parts.
            total: How many there are, for the progress.

        Raises:
            ExtractionError: A doc_id stands twice, or an engine cannot go on. What was answered is
                kept.
            TooManyFailuresError: More documents than ``max_failed_share`` have no good answer; it
                comes after the last document.
        """
        self._total = total if total is not None else 0
        rest = iter(documents)
        while chunk := list(islice(rest, CHUNK_DOCUMENTS)):
            _check_ids(chunk)
            yield from self._chunk(chunk)
        for account in self.accounts:
            account.check()
        self._ledger.finish_run(account.as_dict() for account in self.accounts)
        self._check_failures()

    def _chunk(self, chunk: Sequence[Document]) -> Iterator[Extracted]:
        parts: dict[str, list[tuple[Extractor, Extraction]]] = {one.doc_id: [] for one in chunk}
        waiting = [one for one in chunk if any(letter.isalnum() for letter in one.text)]
        for stage, account in zip(self._stages, self.accounts, strict=True):
            found = self._ask(stage.extractor, account, waiting)
            account.rejected = _sum(account.rejected, rejections_by_reason(found.values()))
            for document in waiting:
                if extraction := found.get(document.doc_id):
                    account.mentions += len(extraction.mentions)
                    account.triples += len(extraction.triples)
                    parts[document.doc_id].append((stage.extractor, extraction))
            waiting = [
                one
                for one in waiting
                if one.doc_id not in found or not stage.is_sure_of(found[one.doc_id])
            ]
        for document in chunk:
            yield Extracted(document, tuple(parts[document.doc_id]))

    def _ask(
        self, extractor: Extractor, account: StageAccount, documents: Sequence[Document]
    ) -> dict[str, Extraction]:
        """Return what counts of the answers, by doc_id; those without a good one are missing."""
        keys = {one.doc_id: key_of(extractor, one) for one in documents}
        unique = list(dict.fromkeys(keys.values()))
        asked_before = unique if extractor.keeps_answers else []
        known = self._ledger.known(asked_before)
        dead = self._ledger.dead(asked_before)
        firsts: dict[str, Document] = {}
        for document in documents:
            firsts.setdefault(keys[document.doc_id], document)
        open_keys = [key for key in unique if key not in known and key not in dead]
        new = self._answers(extractor, account, {key: firsts[key] for key in open_keys})
        found: dict[str, Extraction] = {}
        for document in documents:
            key = keys[document.doc_id]
            answer = known.get(key) or new.get(key)
            account.items_in += 1
            if answer is None:
                account.dead_lettered += 1
                continue
            if key in new and firsts[key] is document:
                account.extracted += 1
            else:
                account.cached += 1
            found[document.doc_id] = validated(document, answer, self._schema, self._limits)
        return found

    def _answers(
        self, extractor: Extractor, account: StageAccount, asked: dict[str, Document]
    ) -> dict[str, Extraction]:
        """Ask until every question has a good answer or is given up; return the good ones."""
        good: dict[str, Extraction] = {}
        # A run that was stopped may have had bad answers: its attempts count.
        asked_before = self._ledger.attempts(list(asked))
        started = time.monotonic()
        waiting = {key: asked_before.get(key, 0) + 1 for key in asked}
        while waiting:
            failed: dict[str, int] = {}
            key_at = {asked[key].doc_id: key for key in waiting}
            for answer in extractor.answers(
                [Request(asked[key], attempt) for key, attempt in waiting.items()]
            ):
                key = key_at.pop(answer.doc_id)
                attempt = waiting[key]
                is_bad = answer.failure is not None and answer.failure.answered
                is_last = attempt % self._run_limits.max_attempts == 0
                if extractor.keeps_answers:
                    self._keep(extractor, asked[key], attempt, answer, bury=is_bad and is_last)
                account.usage += answer.usage
                account.cost = extractor.cost_of(account.usage)
                if answer.extraction is not None:
                    good[key] = answer.extraction
                elif not is_bad:
                    account.unanswered += 1
                else:
                    account.bad_answers += 1
                    if not is_last:
                        failed[key] = attempt + 1
                self._report(account, len(good), len(asked), time.monotonic() - started)
            if key_at:
                raise ExtractionError(
                    f"Expected an answer for each request of {extractor.engine}, got none for "
                    f"{sorted(key_at)[:3]}; this is a fault of the engine"
                )
            waiting = failed
        account.seconds += time.monotonic() - started
        return good

    def _keep(
        self, extractor: Extractor, document: Document, attempt: int, answer: Answer, *, bury: bool
    ) -> None:
        """Keep an answer and, after the last bad one, the dead letter: both or neither."""
        with self._ledger.together():
            self._ledger.record(extractor, document, attempt, answer)
            if bury:
                self._ledger.bury(extractor, document, attempt, answer)

    def _report(self, account: StageAccount, done: int, asked: int, seconds: float) -> None:
        reached = account.items_in + done
        to_come = max((self._total or asked) - reached, asked - done, 0)
        left = seconds / max(done, 1) * to_come
        of = f" of {self._total:,}" if self._total else ""
        usage = account.usage
        spent = f", {usage.requests:,} requests" if usage.requests else ""
        tokens = usage.prompt_tokens + usage.completion_tokens
        spent += f", {tokens:,} tokens" if tokens else ""
        if account.cost is not None:
            whole = account.cost.amount * (1 + to_come / max(account.extracted + done, 1))
            spent += f", {account.cost.told()} of about {whole:,.4g}"
        self._tell(
            f"{account.engine}: {reached:,}{of} texts{spent}, about {_duration(left)} left",
            reached / max(self._total, reached, 1),
        )

    def _check_failures(self) -> None:
        for account in self.accounts:
            share = account.dead_lettered / max(account.items_in, 1)
            if share > self._run_limits.max_failed_share:
                raise TooManyFailuresError(
                    f"Expected at most {self._run_limits.max_failed_share:.1%} of the texts "
                    f"without a good answer, got {share:.1%}: {account.line()}; "
                    f"{account.unanswered} of them got no answer at all. Look at the dead letters "
                    "with 'graph-etl extract retry DIR --list', mend the engine, and retry them"
                )


def _check_ids(chunk: Sequence[Document]) -> None:
    seen: set[str] = set()
    for document in chunk:
        if document.doc_id in seen:
            raise ExtractionError(
                f"Expected each doc_id once, got '{document.doc_id}' twice; give each text an id "
                "of its own"
            )
        seen.add(document.doc_id)


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
