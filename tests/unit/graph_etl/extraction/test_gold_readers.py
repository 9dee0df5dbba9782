"""Reading labelled documents: four formats give one record; damage is told by place and field."""

import json
from pathlib import Path

import pytest

from graph_etl.errors import DataError
from graph_etl.extraction.corpora import load_corpus
from graph_etl.extraction.gold import (
    GoldDocument,
    GoldRelation,
    gold_of,
    read_gold,
    save_spans,
    schema_of_gold,
)
from graph_etl.extraction.records import Document, ExtractedTriple, Extraction, Mention

TOKENS = ["Anna", "Smith", "moved", "to", "Paris", "-LRB-", "France", "-RRB-", "."]
TEXT = "Anna Smith moved to Paris ( France ) ."
MENTIONS = (
    Mention(0, 10, "Peop"),
    Mention(20, 25, "Loc"),
    Mention(28, 34, "Loc"),
)
CONLL = {
    "tokens": TOKENS,
    "tags": ["B-Peop", "L-Peop", "O", "O", "U-Loc", "O", "U-Loc", "O", "O"],
    "relations": [
        {"head": 0, "tail": 1, "type": "Live_In"},
        {"head": 1, "tail": 2, "type": "Located_In"},
        {"head": 0, "tail": 1, "type": "Live_In"},
    ],
    "orig_id": 7,
}
SPERT = {
    "tokens": TOKENS,
    "entities": [
        {"type": "Peop", "start": 0, "end": 2},
        {"type": "Loc", "start": 4, "end": 5},
        {"type": "Loc", "start": 6, "end": 7},
    ],
    "relations": CONLL["relations"],
}
SCIERC = {
    "doc_key": "A1",
    "sentences": [["It", "rained", "."], TOKENS],
    "ner": [[], [[3, 4, "Peop"], [7, 7, "Loc"], [9, 9, "Loc"]]],
    "relations": [[], [[3, 4, 7, 7, "Live_In"], [7, 7, 9, 9, "Located_In"]]],
    "clusters": [],
}
SPANS = {
    "doc_id": "x",
    "text": TEXT,
    "subject_id": "book:1",
    "subject_type": "Book",
    "mentions": [{"start": one.start, "end": one.end, "type": one.entity_type} for one in MENTIONS],
    "relations": [
        {"head": 0, "relation": "Live_In", "tail": 1},
        {"head": "subject", "relation": "Names", "tail": 0},
        {"head": 2, "relation": "Named_By", "tail": "subject"},
    ],
}
FOUND = (GoldRelation(0, "Live_In", 1), GoldRelation(1, "Located_In", 2))


def write(tmp_path, content, name="gold.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("record", [CONLL, SPERT], ids=["conll04", "spert"])
def test_sentences_with_tokens_are_read(tmp_path, record):
    (gold,) = read_gold(write(tmp_path, [record]))
    assert gold.document.text == TEXT
    assert gold.mentions == MENTIONS
    assert gold.relations == FOUND


def test_documents_of_sentences_are_read_as_one_text(tmp_path):
    (gold,) = read_gold(write(tmp_path, json.dumps(SCIERC) + "\n\n"))
    assert gold.document == Document("A1", "It rained . " + TEXT)
    assert [gold.document.text[one.start : one.end] for one in gold.mentions] == [
        "Anna Smith",
        "Paris",
        "France",
    ]
    assert gold.relations == FOUND


def test_spans_with_a_subject_are_read_and_written(tmp_path):
    path = write(tmp_path, json.dumps(SPANS))
    (gold,) = read_gold(path)
    assert gold.document == Document("x", TEXT, "book:1", "Book")
    assert gold.relations[1:] == (
        GoldRelation(None, "Names", 0),
        GoldRelation(2, "Named_By", None),
    )
    save_spans([gold], tmp_path / "again.jsonl")
    assert read_gold(tmp_path / "again.jsonl") == [gold]


def test_labels_without_texts_are_joined_with_them(tmp_path):
    document = Document("x", TEXT, "book:1", "Book", "A book")
    labels = {key: value for key, value in SPANS.items() if key != "text"}
    path = write(tmp_path, json.dumps({**labels, "content_hash": document.content_hash}))
    (gold,) = read_gold(path, [Document("y", "other"), document])
    assert gold.document == document
    assert gold.relations[1:] == (
        GoldRelation(None, "Names", 0),
        GoldRelation(2, "Named_By", None),
    )


@pytest.mark.parametrize(
    ("texts", "told"), [([], "got none"), ([Document("x", "Another text.")], "got another one")]
)
def test_labels_of_another_text_are_refused(tmp_path, texts, told):
    labels = {"doc_id": "x", "content_hash": Document("x", TEXT).content_hash, "mentions": []}
    path = write(tmp_path, json.dumps(labels))
    with pytest.raises(DataError, match=rf"text of document 'x'.*line 1, has labels of, {told}"):
        read_gold(path, texts)


def test_white_space_of_a_text_stays(tmp_path):
    record = {"doc_id": "x", "text": "a\u2028 b", "mentions": [{"start": 3, "end": 4, "type": "T"}]}
    content = json.dumps(record, ensure_ascii=False)
    path = tmp_path / "gold.jsonl"
    path.write_text(content, encoding="utf-8")
    assert read_gold(path)[0].document.text == "a\u2028 b"


def test_extractions_become_labels():
    document = Document("x", TEXT)
    triples = (ExtractedTriple(0, "Live_In", 1, (0, 25), 0.9),) * 2
    gold = gold_of(document, Extraction("x", MENTIONS, triples))
    assert gold == GoldDocument(document, MENTIONS, (GoldRelation(0, "Live_In", 1),))


def test_schema_holds_what_the_labels_show_in_any_order(tmp_path):
    spans, conll = (
        read_gold(write(tmp_path, json.dumps(SPANS))),
        read_gold(write(tmp_path, [CONLL])),
    )
    schema = schema_of_gold([*spans, *conll])
    assert schema == schema_of_gold([*conll, *spans])
    assert [one.name for one in schema.entity_types] == ["Book", "Loc", "Peop"]
    assert [one.pattern for one in schema.relation_types] == [
        ("Book", "Names", "Peop"),
        ("Loc", "Located_In", "Loc"),
        ("Loc", "Named_By", "Book"),
        ("Peop", "Live_In", "Loc"),
    ]


def changed(record, **fields):
    return {**record, **fields}


DAMAGED = [
    (changed(CONLL, tags=["O"]), "record 0, got: 1 tags for 9 tokens"),
    (changed(CONLL, tags=["I-Peop", *CONLL["tags"][1:]]), "'I-Peop' at token 0"),
    (changed(CONLL, tags=[*CONLL["tags"][:-1], "B-Loc"]), "entity at token 8 has no end"),
    (changed(CONLL, tags=["B-Peop", "L-Loc", *CONLL["tags"][2:]]), "'L-Loc' at token 1"),
    (changed(CONLL, relations=[{"head": 0, "tail": 3, "type": "x"}]), "entity that is not there"),
    (changed(CONLL, relations=[{"head": 0, "type": "x"}]), "no field 'tail'"),
    (changed(CONLL, tokens=[1] * 9), "a token that is no text: 1"),
    (changed(SPERT, entities=[{"type": "x", "start": 3, "end": 12}]), "3 to 12 outside of 9"),
    (changed(SCIERC, ner=[[[0, 99, "x"]]]), "0 to 100 outside of 12"),
    (changed(SCIERC, relations=[[[0, 0, 1, 1, "x"]]]), "relation x of tokens 0 to 0: no entity"),
    (changed(SPANS, mentions=[{"start": 3, "end": 3, "type": "x"}]), "mention 3 to 3 outside"),
    (changed(SPANS, mentions=[{"start": 3, "type": "x"}]), "no field 'end'"),
    (changed(SPANS, relations=[{"head": 9, "relation": "x", "tail": 0}]), "relation end 9 is none"),
    (changed(SPANS, subject_type=""), "subject in a document without subject_type"),
    (
        changed(SPANS, relations=[{"head": "subject", "relation": "x", "tail": "subject"}]),
        "joins the subject with itself",
    ),
]


@pytest.mark.parametrize(("record", "told"), DAMAGED, ids=[told for _, told in DAMAGED])
def test_damaged_record_is_told_by_place_and_field(tmp_path, record, told):
    path = write(tmp_path, [record])
    with pytest.raises(DataError, match=rf"Expected a record of format .*{path}.*{told}"):
        read_gold(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "got an empty file"),
        ("[]", "got an empty file"),
        ("[1", "Expected a JSON list in"),
        ('{"text": "a", "mentions": []}\n{"text"', "line 2"),
        ('[{"words": []}]', r"got the fields \['words'\]"),
        ("[3]", r"got the fields \[\]"),
    ],
)
def test_file_of_no_known_format_is_told(tmp_path, content, told):
    with pytest.raises(DataError, match=told):
        read_gold(write(tmp_path, content))


def test_absent_file_and_repeated_ids_are_told(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.json, got"):
        read_gold(tmp_path / "nothing.json")
    lines = f"{json.dumps(SPANS)}\n" * 2
    with pytest.raises(DataError, match=r"each doc_id once .* got 'x' twice"):
        read_gold(write(tmp_path, lines))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "documents", "mentions", "relations"),
    [
        ("kgx-conll04/conll04_train.json", 922, 3377, 1283),
        ("kgx-conll04/conll04_test.json", 288, 1079, 422),
        ("kgx-scierc/train.json", 350, 5598, 3215),
        ("kgx-scierc/scierc_joint_er_train.json", 1861, 5598, 3215),
    ],
)
def test_public_files_are_read_whole(data_dir, name, documents, mentions, relations):
    gold = read_gold(data_dir / name)
    assert len(gold) == documents
    assert sum(len(one.mentions) for one in gold) == mentions
    assert sum(len(one.relations) for one in gold) == relations


def test_a_file_that_is_shipped_is_named_without_its_folder():
    there = read_gold(Path("corpus:chinese/train.jsonl"))
    assert [one.document.doc_id for one in there] == [
        one.document.doc_id for one in load_corpus("chinese", "train")
    ]
