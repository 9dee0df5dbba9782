"""What goes through extraction: documents in, mentions and triples with their evidence out.

Positions are half-open ranges of characters (code points) of the document's text. Nothing here
calls an engine or touches a disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """One text, and what it is about.

    Attributes:
        doc_id: Unique in a run; stands in the provenance of every triple.
        text: The text as it is.
        subject_id: Entity id of what the text is about; "" where it is about nothing in particular.
        subject_type: Its entity type; "" likewise.
        subject_name: Its name, for prompts and pages.
    """

    doc_id: str
    text: str
    subject_id: str = ""
    subject_type: str = ""
    subject_name: str = ""

    @property
    def content_hash(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Mention:
    """A stretch of the text that names something.

    Attributes:
        start, end: Where it stands.
        entity_type: What it is, a type of the graph schema.
        confidence: 0 to 1.
    """

    start: int
    end: int
    entity_type: str
    confidence: float = 1.0

    @property
    def span(self) -> Span:
        """(start, end)."""
        return (self.start, self.end)


@dataclass(frozen=True, slots=True)
class ExtractedTriple:
    """A relation that the text states.

    Attributes:
        head: Index into the mentions; None: the document's subject.
        relation: A relation of the graph schema.
        tail: Likewise; not None where ``head`` is.
        evidence: The stretch of the text that says so; both mentions may lie outside of it.
        confidence: 0 to 1.
    """

    head: int | None
    relation: str
    tail: int | None
    evidence: Span
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Rejection:
    """Something an engine said that does not count.

    Attributes:
        reason: A short name, see validation.REASONS.
        said: What was said, as text, cut to a readable length.
    """

    reason: str
    said: str


@dataclass(frozen=True, slots=True)
class Extraction:
    """What an engine found in one document.

    Attributes:
        doc_id: The document's.
        mentions: Ordered by start, end, entity_type.
        triples: In no order that means anything.
        rejected: What was said and does not count.
    """

    doc_id: str
    mentions: tuple[Mention, ...] = ()
    triples: tuple[ExtractedTriple, ...] = ()
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer cost.

    Attributes:
        requests: Requests that were sent, retries among them.
        prompt_tokens: Tokens that went in.
        completion_tokens: Tokens that came out.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a document has no extraction.

    Attributes:
        kind: A short name: "invalid_json", "refusal", "timeout", "rate_limit", "server", ...
        told: What happened, in words, without secrets.
        answered: Whether an answer came that was no good; False: no answer came.
    """

    kind: str
    told: str
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking an engine about one document: an extraction, or a failure.

    Attributes:
        doc_id: The document's.
        raw: The answer as it came, kept apart from its verdict; "" where none came.
        extraction: What it says; None where it failed.
        failure: Why it failed; None where it did not.
        usage: What it cost.
    """

    doc_id: str
    raw: str
    extraction: Extraction | None = None
    failure: Failure | None = None
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        if (self.extraction is None) == (self.failure is None):
            raise ValueError(
                f"Expected an answer with either an extraction or a failure, got "
                f"{'neither' if self.failure is None else 'both'} for document '{self.doc_id}'"
            )
