"""Documents with known mentions and relations: the record, four file formats, the derived schema.

Whether the labels were made by people, taken from a graph (bert/silver.py) or said by another
engine is told by who made the record; how answers are compared with them is scoring.py's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_etl.errors import DataError
from graph_etl.extraction.records import Document, Extraction, Mention, Span
from graph_etl.graph_schema import EntityType, GraphSchema, RelationType, words_of
from graph_etl.tables import shipped_or

FORMATS = ("conll04", "spert", "scierc", "spans")
# How the Penn Treebank's tokenizer writes brackets.
_BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}


@dataclass(frozen=True, slots=True)
class GoldRelation:
    """A relation between two mentions, or between the document's subject and a mention.

    Attributes:
        head: Index into the document's mentions; None: the subject.
        relation: Name of the relation.
        tail: Likewise; not None where ``head`` is.
    """

    head: int | None
    relation: str
    tail: int | None


@dataclass(frozen=True, slots=True)
class GoldDocument:
    """A document and what is known to stand in it.

    Attributes:
        document: The text.
        mentions: In any order; relations name them by place.
        relations: What holds between them.
        unknown: Ranges of the text whose mentions are not known: a span that touches one is
            neither an example nor a counter-example.
        unsure: Relations (head, relation, tail) of which it is not known whether they hold.
    """

    document: Document
    mentions: tuple[Mention, ...] = ()
    relations: tuple[GoldRelation, ...] = ()
    unknown: tuple[Span, ...] = ()
    unsure: frozenset[GoldRelation] = frozenset()

    def type_of(self, end: int | None) -> str:
        """Return the entity type of a relation's end; None is the subject."""
        return self.document.subject_type if end is None else self.mentions[end].entity_type


def gold_of(document: Document, extraction: Extraction) -> GoldDocument:
    """Return an engine's validated extraction as labels, to learn from it."""
    relations = (GoldRelation(one.head, one.relation, one.tail) for one in extraction.triples)
    return GoldDocument(document, extraction.mentions, tuple(dict.fromkeys(relations)))


def schema_of_gold(gold: Iterable[GoldDocument]) -> GraphSchema:
    """Return the schema with exactly the types and patterns that labelled documents show.

    Types and patterns are ordered by name, so that the order of documents does not matter.
    """
    types: set[str] = set()
    patterns: set[tuple[str, str, str]] = set()
    for one in gold:
        types.update(mention.entity_type for mention in one.mentions)
        types.update({one.document.subject_type} - {""})
        patterns.update(
            (one.type_of(relation.head), relation.relation, one.type_of(relation.tail))
            for relation in one.relations
        )
    return GraphSchema(
        entity_types=[EntityType(name=name) for name in sorted(types)],
        relation_types=[
            RelationType(head=head, relation=relation, tail=tail, phrase=words_of(relation))
            for head, relation, tail in sorted(patterns)
        ],
    )


def read_gold(path: Path, texts: Iterable[Document] | None = None) -> list[GoldDocument]:
    """Return the labelled documents of a file, its format recognised by its fields.

    - conll04: a JSON list of {tokens, tags (BILOU), relations (head, tail, type)}, head and tail
      being places among the entities in order of appearance.
    - spert: a JSON list of {tokens, entities (start, end, type; tokens, end excluded), relations}.
    - scierc: JSON lines of {sentences, ner, relations}, with token places counted over the whole
      document, ends included; one document is one text.
    - spans: JSON lines of {doc_id, text, mentions (start, end, type; characters, end excluded),
      relations (head, relation, tail; a place among the mentions or "subject")}, and subject_id,
      subject_type, subject_name where the text is about something.

    Tokens are joined by one space; "-LRB-" and the like are written as brackets.

    Args:
        path: The file; also one that is shipped, as "corpus:films/train.jsonl".
        texts: Documents, others among them, of a file in format "spans" that has ``content_hash``
            (SHA-256 of the text) in place of the texts: labels may be given away where texts may
            not. None: the texts stand in the file.

    Raises:
        DataError: The file is absent, of no known format, a record is damaged, or its text is
            missing or not the one that was labelled; the message names file, record and field.
    """
    path = shipped_or(path)
    records = _records(path)
    if texts is not None:
        by_id = {one.doc_id: one for one in texts}
        records = [(place, _with_text(record, by_id, path, place)) for place, record in records]
    if not records:
        raise DataError(f"Expected labelled documents in {path}, got an empty file")
    form = _format_of(records[0][1], path)
    read = _READERS[form]
    gold = []
    for place, record in records:
        try:
            gold.append(read(record, f"{path.name}:{place}"))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            said = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"Expected a record of format '{form}' in {path}, {place}, got: {said}; correct "
                "the record or the file's format (docs/how-to/extraction-bert.md lists them)"
            ) from error
    _check_ids(gold, path)
    return gold


def save_spans(gold: Sequence[GoldDocument], path: Path) -> None:
    """Write labelled documents as JSON lines of format "spans"; what is unknown is not kept."""
    with path.open("w", encoding="utf-8") as sink:
        for one in gold:
            sink.write(json.dumps(_as_record(one), ensure_ascii=False) + "\n")


def _as_record(gold: GoldDocument) -> dict[str, Any]:
    document = gold.document
    record: dict[str, Any] = {"doc_id": document.doc_id, "text": document.text}
    for name in ("subject_id", "subject_type", "subject_name"):
        if getattr(document, name):
            record[name] = getattr(document, name)
    record["mentions"] = [
        {"start": one.start, "end": one.end, "type": one.entity_type} for one in gold.mentions
    ]
    record["relations"] = [
        {
            "head": "subject" if one.head is None else one.head,
            "relation": one.relation,
            "tail": "subject" if one.tail is None else one.tail,
        }
        for one in gold.relations
    ]
    return record


def _records(path: Path) -> list[tuple[str, Any]]:
    """Return (place in words, record) of a JSON list or of JSON lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Expected labelled documents in {path}, got: {error}") from error
    if text.lstrip().startswith("["):
        try:
            return [(f"record {place}", one) for place, one in enumerate(json.loads(text))]
        except json.JSONDecodeError as error:
            raise DataError(f"Expected a JSON list in {path}, got: {error}") from error
    records = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                records.append((f"line {number}", json.loads(line)))
            except json.JSONDecodeError as error:
                raise DataError(f"Expected JSON in {path}, line {number}, got: {error}") from error
    return records


def _with_text(
    record: Any, texts: Mapping[str, Document], path: Path, place: str
) -> dict[str, Any]:
    """Return a record with the text and the subject that its labels belong to."""
    doc_id = str(record.get("doc_id")) if isinstance(record, Mapping) else ""
    document = texts.get(doc_id)
    if document is None or document.content_hash != record.get("content_hash"):
        got = "none" if document is None else "another one"
        raise DataError(
            f"Expected the text of document '{doc_id}' that {path}, {place}, has labels of, got "
            f"{got}; give the texts that were labelled"
        )
    subject = ("subject_id", "subject_type", "subject_name")
    return {**record, "text": document.text, **{one: getattr(document, one) for one in subject}}


def _format_of(record: Any, path: Path) -> str:
    fields = set(record) if isinstance(record, Mapping) else set()
    if {"tokens", "tags"} <= fields:
        return "conll04"
    if {"tokens", "entities"} <= fields:
        return "spert"
    if {"sentences", "ner"} <= fields:
        return "scierc"
    if {"text", "mentions"} <= fields:
        return "spans"
    raise DataError(
        f"Expected records with the fields tokens and tags (conll04), tokens and entities (spert), "
        f"sentences and ner (scierc), or text and mentions (spans) in {path}, got the fields "
        f"{sorted(map(str, fields))}"
    )


def _joined(tokens: Sequence[str]) -> tuple[str, list[Span]]:
    """Return tokens joined by one space, and where each stands."""
    spans, at = [], 0
    for token in tokens:
        if not isinstance(token, str) or not token:
            raise ValueError(f"a token that is no text: {token!r}")
    written = [_BRACKETS.get(token, token) for token in tokens]
    for token in written:
        spans.append((at, at + len(token)))
        at += len(token) + 1
    return " ".join(written), spans


def _mention(spans: Sequence[Span], first: int, end: int, entity_type: str) -> Mention:
    if not 0 <= first < end <= len(spans):
        raise ValueError(f"entity tokens {first} to {end} outside of {len(spans)} tokens")
    return Mention(spans[first][0], spans[end - 1][1], entity_type)


def _read_conll04(record: Mapping[str, Any], place: str) -> GoldDocument:
    text, spans = _joined(record["tokens"])
    tags = record["tags"]
    if len(tags) != len(spans):
        raise ValueError(f"{len(tags)} tags for {len(spans)} tokens")
    mentions = tuple(_mention(spans, *entity) for entity in _bilou_entities(tags))
    document = Document(f"{record.get('orig_id', '')}#{place}", text)
    return _with_relations(document, mentions, record.get("relations", ()))


def _bilou_entities(tags: Sequence[str]) -> Iterable[tuple[int, int, str]]:
    start: int | None = None
    for at, tag in enumerate(tags):
        part, _, entity_type = tag.partition("-")
        if start is None and part in ("U", "B") and entity_type:
            if part == "U":
                yield at, at + 1, entity_type
            else:
                start = at
        elif start is not None and part in ("I", "L") and entity_type == tags[start][2:]:
            if part == "L":
                yield start, at + 1, entity_type
                start = None
        elif start is not None or tag != "O":
            raise ValueError(f"tag '{tag}' at token {at} does not follow BILOU")
    if start is not None:
        raise ValueError(f"the entity at token {start} has no end")


def _read_spert(record: Mapping[str, Any], place: str) -> GoldDocument:
    text, spans = _joined(record["tokens"])
    mentions = tuple(
        _mention(spans, one["start"], one["end"], one["type"]) for one in record["entities"]
    )
    document = Document(f"{record.get('orig_id', '')}#{place}", text)
    return _with_relations(document, mentions, record.get("relations", ()))


def _with_relations(
    document: Document, mentions: tuple[Mention, ...], relations: Iterable[Mapping[str, Any]]
) -> GoldDocument:
    found = []
    for one in relations:
        if not all(0 <= one[side] < len(mentions) for side in ("head", "tail")):
            raise ValueError(f"relation {dict(one)} of an entity that is not there")
        found.append(GoldRelation(one["head"], one["type"], one["tail"]))
    return GoldDocument(document, mentions, tuple(dict.fromkeys(found)))


def _read_scierc(record: Mapping[str, Any], place: str) -> GoldDocument:
    text, spans = _joined([token for sentence in record["sentences"] for token in sentence])
    mentions = tuple(
        _mention(spans, first, last + 1, entity_type)
        for sentence in record["ner"]
        for first, last, entity_type in sentence
    )
    places = {one.span: index for index, one in enumerate(mentions)}
    relations = []
    for sentence in record.get("relations", ()):
        for head_first, head_last, tail_first, tail_last, relation in sentence:
            sides = []
            for first, last in ((head_first, head_last), (tail_first, tail_last)):
                span = (spans[first][0], spans[last][1])
                if span not in places:
                    raise ValueError(f"relation {relation} of tokens {first} to {last}: no entity")
                sides.append(places[span])
            relations.append(GoldRelation(sides[0], relation, sides[1]))
    document = Document(str(record.get("doc_key", "")) or place, text)
    return GoldDocument(document, mentions, tuple(dict.fromkeys(relations)))


def _read_spans(record: Mapping[str, Any], place: str) -> GoldDocument:
    text = record["text"]
    names = ("subject_id", "subject_type", "subject_name")
    subject = {name: str(record.get(name) or "") for name in names}
    document = Document(str(record.get("doc_id", place)), text, **subject)
    mentions = []
    for one in record["mentions"]:
        start, end = one["start"], one["end"]
        if not 0 <= start < end <= len(text):
            raise ValueError(f"mention {start} to {end} outside of {len(text)} characters")
        mentions.append(Mention(start, end, one["type"]))
    relations = []
    for one in record.get("relations", ()):
        head, tail = (_end(one[side], len(mentions), document) for side in ("head", "tail"))
        if head is None and tail is None:
            raise ValueError(f"relation {one} joins the subject with itself")
        relations.append(GoldRelation(head, one["relation"], tail))
    return GoldDocument(document, tuple(mentions), tuple(dict.fromkeys(relations)))


def _end(value: Any, count: int, document: Document) -> int | None:
    if value == "subject" and document.subject_type:
        return None
    if value == "subject":
        raise ValueError("a relation of the subject in a document without subject_type")
    if not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(f"relation end {value!r} is none of {count} mentions nor 'subject'")
    return value


def _check_ids(gold: Sequence[GoldDocument], path: Path) -> None:
    seen: set[str] = set()
    for one in gold:
        if one.document.doc_id in seen:
            raise DataError(
                f"Expected each doc_id once in {path}, got '{one.document.doc_id}' twice; give "
                "every document an id of its own"
            )
        seen.add(one.document.doc_id)


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], GoldDocument]] = {
    "conll04": _read_conll04,
    "spert": _read_spert,
    "scierc": _read_scierc,
    "spans": _read_spans,
}
