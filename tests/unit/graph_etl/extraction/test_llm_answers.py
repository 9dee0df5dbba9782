"""Answers are read strictly, repaired by the stated rules alone, and written back the same."""

import json

import pytest
from scripted_extraction import film, mention, schema

from graph_etl.extraction.gold import GoldDocument, GoldRelation
from graph_etl.extraction.llm.answers import BadAnswer, SaidAnswer, compact_answer, read_answer
from graph_etl.extraction.llm.grounded import grounded

GOOD = (
    '{"entities":[{"name":"OSLO","type":"place"}],"triples":[{"head":"@",'
    '"relation":"film set_in place","tail":"OSLO","evidence":"in OSLO"}]}'
)


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f"  {GOOD} I hope that helps!",
        f"<think>let me see {{}}</think>\n{GOOD}",
        GOOD + GOOD,
    ],
)
def test_what_the_stated_rules_repair_is_read(content):
    said = read_answer(content, "quoted")
    assert isinstance(said, SaidAnswer)
    assert said.triples[0].tail == "OSLO"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("null", "invalid_json"),
        ("[]", "invalid_json"),
        ("{}", "invalid_json"),
        (GOOD[:-1], "invalid_json"),
        (GOOD[:60], "invalid_json"),
        (f"Here it is: {GOOD}", "invalid_json"),
        (GOOD.replace('"OSLO"', "1", 1), "invalid_json"),
        (GOOD.replace('"OSLO"', "null", 1), "invalid_json"),
        (GOOD.replace('"name"', '"nom"'), "invalid_json"),
        (GOOD.replace(',"evidence":"in OSLO"', ""), "invalid_json"),
        (GOOD[:-1] + ',"note":"x"}', "invalid_json"),
        ('{"entities":"OSLO","triples":[]}', "invalid_json"),
        ('{"entities":{},"triples":[]}', "invalid_json"),
        ('{"entities":[["OSLO","place"]],"triples":[]}', "invalid_json"),
        ('{"entities":[{"name":"\\ud800","type":"place"}],"triples":[]}', "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ('{"a":' * 100_000, "invalid_json"),
        ("9" * 10_000, "invalid_json"),
        ("I cannot help with that.", "invalid_json"),
    ],
)
def test_anything_else_is_a_bad_answer(content, kind):
    said = read_answer(content, "quoted")
    assert isinstance(said, BadAnswer)
    assert said.kind == kind
    assert len(said.told) < 300


def test_compact_answers_are_lists():
    said = read_answer(
        '{"entities":[["OSLO","place"]],"triples":[["@","set_in","OSLO"]]}', "compact"
    )
    assert isinstance(said, SaidAnswer)
    assert (said.entities[0].name, said.triples[0].relation) == ("OSLO", "set_in")
    assert isinstance(read_answer(GOOD, "compact"), BadAnswer)
    assert isinstance(read_answer('{"entities":[["OSLO"]],"triples":[]}', "compact"), BadAnswer)


def test_a_compact_answer_says_what_the_labels_say():
    document = film(1, "Ann Lee was born in OSLO and knows Bob. Set in OSLO.")
    mentions = (
        mention(document, "OSLO", "place"),
        mention(document, "Bob", "person"),
        mention(document, "Ann Lee", "person"),
    )
    relations = (
        GoldRelation(None, "set_in", 0),
        GoldRelation(2, "knows", 1),
        GoldRelation(2, "born_in", 0),
    )
    written = compact_answer(GoldDocument(document, mentions, relations))
    assert json.loads(written) == {
        "entities": [["Ann Lee", "person"], ["OSLO", "place"], ["Bob", "person"]],
        "triples": [
            ["@", "set_in", "OSLO"],
            ["Ann Lee", "born_in", "OSLO"],
            ["Ann Lee", "knows", "Bob"],
        ],
    }
    said = read_answer(written, "compact")
    found = grounded(document, document.text, said, schema(), 1.0)
    assert {(one.head is None, one.relation) for one in found.triples} == {
        (True, "set_in"),
        (False, "born_in"),
        (False, "knows"),
    }
    assert not found.rejected
