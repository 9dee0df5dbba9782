"""The Extractor interface: documents in, one answer for each out.

Engines live in modules of their own; what counts of an answer is decided in validation.py, what is
kept and asked again in run.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from graph_etl.extraction.records import Answer, Document, Usage


@dataclass(frozen=True, slots=True)
class Request:
    """A document to ask about.

    Attributes:
        document: The document.
        attempt: 1 for the first time; higher where earlier answers were no good.
    """

    document: Document
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Cost:
    """Money.

    Attributes:
        amount: How much.
        currency: Of what.
    """

    amount: float
    currency: str

    def told(self) -> str:
        """Return it in words: "0.042 USD"."""
        return f"{self.amount:,.4g} {self.currency}"


class Extractor(ABC):
    """Finds mentions and triples in texts. Use it as a context manager.

    Attributes:
        engine: Short name, stands in the provenance of triples: "gazetteer", "bert", "llm".
        model: Which model, for the same place.
        prompt_version: Version of the prompt; "" where there is none.
        keeps_answers: Whether an answer is worth keeping; False where asking again costs as little
            and everything that the graph learns changes the fingerprint.
    """

    engine: str
    model: str
    prompt_version: str = ""
    keeps_answers: bool = True

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Digest of all that decides an answer besides the document and the attempt.

        Model, parameters, prompt and schema; never an address, a key or a time. Two extractors
        with one fingerprint may use each other's answers.
        """

    @abstractmethod
    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Yield one answer for each request, in any order, as they come.

        A document that fails gives a Failure, never an exception; nothing said of one document
        may change the answer to another.

        Raises:
            ExtractionError: The engine cannot go on at all: the budget is spent, the key is wrong.
        """

    def cost_of(self, usage: Usage) -> Cost | None:
        """Return the money that answers took; None where it costs none, or prices are unknown."""
        return None

    def close(self) -> None:  # noqa: B027  most engines hold nothing
        """Release what the engine holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
