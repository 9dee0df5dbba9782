"""Only what stands in the text counts, with the right type, at the right place."""

from scripted_extraction import film, schema

from graph_etl.extraction.llm.answers import SaidAnswer, SaidEntity, SaidTriple
from graph_etl.extraction.llm.grounded import grounded, joined
from graph_etl.extraction.llm.parts import parts_of, sentence_around, sentences
from graph_etl.extraction.records import Document, Extraction

TEXT = "Ann was born in New York. Bob Stone met Ann in York. It ends in New York."
SUBJECT = film(1, TEXT)


def found(entities, triples, document=SUBJECT):
    said = SaidAnswer(
        entities=tuple(SaidEntity(name=name, type=kind) for name, kind in entities),
        triples=tuple(
            SaidTriple(head=head, relation=relation, tail=tail, evidence=evidence)
            for head, relation, tail, evidence in triples
        ),
    )
    return grounded(document, document.text, said, schema(), 0.9)


def said_of(extraction, document=SUBJECT):
    names = [document.text[one.start : one.end] for one in extraction.mentions]
    return [
        (
            "@" if one.head is None else names[one.head],
            one.relation,
            "@" if one.tail is None else names[one.tail],
            document.text[slice(*one.evidence)],
        )
        for one in extraction.triples
    ]


def test_every_occurrence_is_a_mention_but_those_inside_longer_names():
    extraction = found([("York", "place"), ("New York", "place"), ("Ann", "person")], [])
    spans = sorted(one.span for one in extraction.mentions if one.entity_type == "place")
    assert [TEXT[slice(*span)] for span in spans] == ["New York", "York", "New York"]
    assert sum(one.entity_type == "person" for one in extraction.mentions) == 2


def test_a_triple_takes_the_occurrences_within_its_evidence():
    extraction = found(
        [], [("Ann", "person born_in place", "New York", "Ann was born in New York")]
    )
    [triple] = extraction.triples
    assert extraction.mentions[triple.head].start == 0
    assert extraction.mentions[triple.tail].start == TEXT.index("New York")
    assert TEXT[slice(*triple.evidence)] == "Ann was born in New York"


def test_without_a_quote_the_sentence_around_both_is_the_evidence():
    entities = [("Bob Stone", "person"), ("Ann", "person")]
    extraction = found(entities, [("Bob Stone", "knows", "Ann", "")])
    assert said_of(extraction) == [("Bob Stone", "knows", "Ann", "Bob Stone met Ann in York.")]


def test_what_does_not_stand_in_the_text_is_rejected():
    extraction = found(
        [("Paris", "place"), ("Sto", "person"), ("", "person")],
        [
            ("@", "film set_in place", "Paris", "in York"),
            ("@", "film set_in place", "New York", "It is set in New York"),
            ("@", "film directed_by person", "Bob", "Bob met Ann"),
            ("@", "film set_in place", "@", "in York"),
        ],
    )
    assert not extraction.mentions
    assert not extraction.triples
    assert [one.reason for one in extraction.rejected[:3]] == ["no_evidence"] * 3
    assert {one.reason for one in extraction.rejected} <= {"no_evidence", "unknown_pattern"}


def test_patterns_outside_the_schema_are_rejected():
    extraction = found(
        [("Ann", "person"), ("York", "place")],
        [
            ("York", "place born_in person", "Ann", "met Ann in York"),
            ("York", "born_in", "Ann", ""),
            ("York", "MATCH (n) DETACH DELETE n", "Ann", ""),
            ("@", "person born_in place", "York", "in York"),
        ],
    )
    assert not extraction.triples
    assert [one.reason for one in extraction.rejected] == ["unknown_pattern"] * 4


def test_the_subject_is_meant_by_its_sign_or_by_name_and_type():
    document = Document("1", "Alien is set in OSLO.", "film:1", "film", "Alien")
    for head in ("@", "Alien", "ALIEN"):
        extraction = found([], [(head, "film set_in place", "OSLO", "set in OSLO")], document)
        assert said_of(extraction, document) == [("@", "set_in", "OSLO", "set in OSLO")]
    nothing = Document("1", "Alien is set in OSLO.")
    extraction = found([], [("@", "film set_in place", "OSLO", "set in OSLO")], nothing)
    assert not extraction.triples


def test_parts_come_back_with_positions_of_the_whole_text():
    text = "Set in OSLO. " * 3
    whole = film(1, text)
    parts = parts_of(text, 20)
    assert len(parts) == 3
    said = SaidAnswer(
        entities=(),
        triples=(
            SaidTriple(head="@", relation="film set_in place", tail="OSLO", evidence="in OSLO"),
        ),
    )
    pieces = [(a, grounded(whole, text[a:b], said, schema(), 0.9)) for a, b in parts]
    extraction = joined("film-1", pieces)
    assert [text[one.start : one.end] for one in extraction.mentions] == ["OSLO"] * 3
    assert len({one.span for one in extraction.mentions}) == 3
    assert all(one.evidence[0] <= extraction.mentions[one.tail].start for one in extraction.triples)
    assert joined("x", []) == Extraction("x")


def test_parts_are_whole_sentences_that_cover_the_text():
    text = "One sentence here. Another one! 第一句。第二句。\nA line\n" + "long " * 100 + "end."
    for size in (5, 20, 60, 1000):
        parts = parts_of(text, size)
        assert all(0 < end - start <= size for start, end in parts)
        covered = set().union(*(range(start, end) for start, end in parts))
        assert all(i in covered for i, letter in enumerate(text) if letter.isalnum())
    assert [text[slice(*one)].strip() for one in sentences(text)[:4]] == [
        "One sentence here.",
        "Another one!",
        "第一句。",
        "第二句。",
    ]
    assert parts_of("", 100) == parts_of("😀 ?!", 100) == []
    assert len(parts_of("x" * 1000, 300)) == 4
    assert sentence_around("A b. C d. E f.", (5, 6)) == (5, 9)


def test_an_endless_answer_is_looked_at_to_a_limit():
    entities = [("Ann", "person")] * 30_000
    triples = [("Bob Stone", "person knows person", "Ann", "met")] * 10_000
    extraction = found(entities, triples)
    assert len(extraction.mentions) == 3
    assert [one.said for one in extraction.rejected] == [
        "29500 further entities",
        "9500 further triples",
    ]
