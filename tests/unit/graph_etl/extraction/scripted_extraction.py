"""A schema, documents and an engine whose answers a test writes down beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from graph_etl.extraction.extractor import Extractor, Request
from graph_etl.extraction.grounding import folded
from graph_etl.extraction.records import (
    Answer,
    Document,
    ExtractedTriple,
    Extraction,
    Failure,
    Mention,
    Usage,
)
from graph_etl.graph_schema import EntityType, GraphSchema, RelationType


def schema() -> GraphSchema:
    relations = [
        ("film", "set_in", "place"),
        ("film", "directed_by", "person"),
        ("person", "born_in", "place"),
        ("person", "knows", "person"),
    ]
    return GraphSchema(
        entity_types=[EntityType(name=name) for name in ("film", "person", "place")],
        relation_types=[
            RelationType(relation=relation, head=head, tail=tail, phrase=relation)
            for head, relation, tail in relations
        ],
    )


def film(number: int, text: str) -> Document:
    return Document(f"film-{number}", text, f"film:{number}", "film", f"Film {number}")


def mention(document: Document, name: str, kind: str, confidence: float = 1.0) -> Mention:
    span = folded(document.text).find(name)
    assert span is not None, name
    return Mention(*span, kind, confidence)


def places(document: Document, confidence: float = 0.9) -> Extraction:
    """Every word in capitals is a place where the film is set."""
    mentions, position = [], 0
    for word in document.text.split(" "):
        if word.isupper():
            mentions.append(Mention(position, position + len(word), "place", confidence))
        position += len(word) + 1
    whole = (0, len(document.text))
    triples = [ExtractedTriple(None, "set_in", i, whole, confidence) for i in range(len(mentions))]
    return Extraction(document.doc_id, tuple(mentions), tuple(triples))


Said = Callable[[Request], Extraction | Failure]


class Scripted(Extractor):
    """Answers as it is told and writes down what it was asked: (doc_id, attempt)."""

    def __init__(
        self, said: Said | None = None, *, engine: str = "scripted", fingerprint: str = "one"
    ) -> None:
        self.engine = engine
        self.model = f"model-{fingerprint}"
        self.calls: list[tuple[str, int]] = []
        self._fingerprint = fingerprint
        self._said = said or (lambda request: places(request.document))

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for request in reversed(requests):  # any order is allowed
            doc_id = request.document.doc_id
            self.calls.append((doc_id, request.attempt))
            said, usage = self._said(request), Usage(1, 10, 5)
            if isinstance(said, Failure):
                yield Answer(doc_id, "garbage" if said.answered else "", failure=said, usage=usage)
            else:
                yield Answer(doc_id, "raw", extraction=said, usage=usage)
