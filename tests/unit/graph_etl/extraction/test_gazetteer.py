"""Known names are found as whole words, the longest first, and mean what the graph says."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_extraction import schema

from graph_etl.errors import ConfigError
from graph_etl.extraction.config import GazetteerConfig
from graph_etl.extraction.extractor import Request
from graph_etl.extraction.gazetteer import KNOWN, RELATED, GazetteerExtractor
from graph_etl.extraction.grounding import folded
from graph_etl.extraction.name_index import NameIndex, normalised
from graph_etl.extraction.records import Document
from graph_etl.extraction.validation import ExtractionLimits, validated


def names(*rows):
    """Rows are (type, name) or (type, name, id)."""
    full = [(*row, f"{row[0]}:{row[1].lower()}")[:3] for row in rows]
    return pl.DataFrame(full, schema=["entity_type", "name", "entity_id"], orient="row")


def triples(*rows):
    columns = dict.fromkeys(("head_id", "relation", "tail_id"), pl.String())
    return pl.DataFrame(list(rows), schema=columns, orient="row")


def engine(known_names, *known_triples, **config):
    config.setdefault("min_characters", 1)
    return GazetteerExtractor(
        GazetteerConfig(**config), schema(), known_names, triples(*known_triples)
    )


def asked(gazetteer, text, subject="film:1"):
    document = Document("d", text, subject, "film", "Film")
    [answer] = gazetteer.answers([Request(document)])
    limits = ExtractionLimits(min_confidence=0, max_mentions=2000)
    kept = validated(document, answer.extraction, schema(), limits)
    assert not kept.rejected  # what the engine says always counts
    return answer.extraction


def surfaces(gazetteer, text):
    return [text[one.start : one.end] for one in asked(gazetteer, text).mentions]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("York", "Yorkshire, New York and york's", ["York", "york"]),
        ("New York", "new\n\tYORK, NewYork", ["new\n\tYORK"]),
        ("周星驰", "由周星驰导演，周星驰主演", ["周星驰", "周星驰"]),
        ("上海滩", "上海 滩", []),
        ("Amélie", "Ame\u0301lie; AMÉLIE; Amelie", ["Ame\u0301lie", "AMÉLIE"]),
        ("A.*[b](c)+?", "x A.*[b](c)+? y A.bc", ["A.*[b](c)+?"]),
        ("M*A*S*H", "MASH, M*A*S*H", ["M*A*S*H"]),
        ("🎬 Club", "the 🎬 Club opens", ["🎬 Club"]),
        ("🎬", "a🎬b", ["🎬"]),
        ("תל אביב", "הוא גר בתל אביב, תל אביב", ["תל אביב"]),
        ("O’Brien", "O'Brien–O`Brien", ["O'Brien", "O`Brien"]),
        ("the", "The end", ["The"]),
        ("x", "", []),
        ("\\d+", "123 \\d+", ["\\d+"]),
    ],
)
def test_names_are_found_as_whole_words(name, text, found):
    assert surfaces(engine(names(("person", name))), text) == found


def test_the_longest_of_overlapping_names_counts_then_the_first():
    known = names(("place", "New York"), ("place", "York City Hall"), ("place", "City"))
    assert surfaces(engine(known), "in New York City Hall") == ["York City Hall"]
    assert surfaces(engine(known), "in New York City") == ["New York", "City"]
    two = names(("place", "aa bb"), ("place", "bb cc"))
    assert surfaces(engine(two), "aa bb cc") == ["aa bb"]


def test_dropped_short_and_overlong_names_are_not_looked_for():
    known = names(("person", "Her"), ("person", "Al"), ("person", "Bert"), ("place", "x" * 10_000))
    gazetteer = engine(known, drop=["HER"], min_characters=3)
    assert surfaces(gazetteer, f"Her and Al and Bert {'x' * 10_000}") == ["Bert"]


def test_a_text_of_one_word_repeated_ends_in_time():
    known = names(("person", "a " * 4999 + "a"), ("person", "a a a"))
    text = "a " * 3000
    found = asked(engine(known), text).mentions
    assert len(found) == 1000


def test_what_the_graph_knows_of_the_subject_is_confirmed():
    known = names(("place", "Rome"), ("place", "Oslo"), ("person", "Anna"))
    gazetteer = engine(
        known, ("film:1", "set_in", "place:rome"), ("film:1", "born_in", "place:oslo")
    )
    text = "Anna left Rome. She loved Rome and Oslo."
    extraction = asked(gazetteer, text)
    [triple] = extraction.triples
    assert (triple.head, triple.relation, triple.confidence) == (None, "set_in", KNOWN)
    assert text[slice(*extraction.mentions[triple.tail].span)] == "Rome"
    assert text[slice(*triple.evidence)] == "Anna left Rome."
    assert asked(gazetteer, text, subject="film:2").triples == ()


def test_relates_gives_new_triples_of_a_type():
    known = names(("place", "Rome"), ("place", "Oslo"))
    gazetteer = engine(known, ("film:1", "set_in", "place:rome"), relates={"place": "set_in"})
    said = {one.tail: one.confidence for one in asked(gazetteer, "Rome, Oslo, Oslo").triples}
    assert said == {0: KNOWN, 1: RELATED}


def test_the_fullest_mention_carries_the_triple():
    known = names(("person", "Scorsese", "p1"), ("person", "Martin Scorsese", "p1"))
    gazetteer = engine(known, ("film:1", "directed_by", "p1"))
    extraction = asked(gazetteer, "Scorsese, that is Martin Scorsese; Scorsese.")
    assert [one.tail for one in extraction.triples] == [1]


def test_an_ambiguous_name_is_what_the_graph_relates_to_the_subject():
    known = names(("person", "Paris"), ("place", "Paris"))
    gazetteer = engine(known, ("film:1", "set_in", "place:paris"))
    [mention] = asked(gazetteer, "Paris").mentions
    assert (mention.entity_type, mention.confidence) == ("place", 1.0)
    both = asked(gazetteer, "Paris", subject="film:2").mentions
    assert [(one.entity_type, one.confidence) for one in both] == [("person", 0.5), ("place", 0.5)]


def test_one_of_several_entities_of_a_name_and_type_is_enough():
    known = names(("person", "Chris Lee", "p1"), ("person", "chris lee", "p2"))
    extraction = asked(engine(known, ("film:1", "directed_by", "p2")), "Chris Lee")
    assert [one.confidence for one in extraction.mentions] == [1.0]
    assert [one.relation for one in extraction.triples] == ["directed_by"]


def test_the_subject_is_no_mention_of_its_text():
    known = names(("film", "Heat", "film:1"), ("film", "Heat", "film:2"), ("film", "Alien"))
    assert surfaces(engine(names(("film", "Alien", "film:1"))), "Alien") == []
    assert surfaces(engine(known), "Heat and Alien") == ["Heat", "Alien"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("by Martin Scorcese.", ["Martin Scorcese"]),
        ("by Martin Scorsese, Martin Scorcese", ["Martin Scorsese", "Martin Scorcese"]),
        ("by martin scorcese", []),
        ("by Martin Short", []),
        ("by Marta", []),
        ("", []),
    ],
)
def test_names_spelled_otherwise_are_found_where_asked_for(text, found):
    known = names(("person", "Martin Scorsese"), ("person", "Mart"))
    assert surfaces(engine(known, fuzzy=0.85, min_characters=4), text) == found


def test_similarity_is_the_confidence_of_a_name_spelled_otherwise():
    known = names(("person", "Martin Scorsese"))
    [mention] = asked(engine(known, fuzzy=0.85), "Martin Scorcese").mentions
    assert mention.confidence == pytest.approx(28 / 30)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"entity_types": ["ghost"]}, "Expected entity_types of the gazetteer among"),
        ({"relates": {"place": "directed_by"}}, "Expected 'relates' of the gazetteer to name"),
    ],
)
def test_settings_that_the_schema_has_not_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        engine(names(("place", "Rome")), **config)


def test_types_can_be_chosen_and_strange_ones_are_left_out():
    known = names(("place", "Rome"), ("person", "Anna"), ("ghost", "Boo"))
    assert surfaces(engine(known), "Rome Anna Boo") == ["Rome", "Anna"]
    assert surfaces(engine(known, entity_types=["person"]), "Rome Anna Boo") == ["Anna"]


def test_the_fingerprint_tells_names_settings_and_knowledge_apart():
    known = names(("place", "Rome"), ("person", "Anna"))
    fingerprints = [
        engine(known),
        engine(known, min_characters=2),
        engine(names(("place", "Rome"))),
        engine(known, ("film:1", "set_in", "place:rome")),
    ]
    assert len({one.fingerprint for one in fingerprints}) == 4
    assert engine(known.reverse()).fingerprint == engine(known).fingerprint
    assert engine(known, unsure_below=0.5).fingerprint == engine(known).fingerprint


LETTERS = st.text(alphabet="abB .-'’\n\u0301周星㏂ﬁ🎬ß", max_size=30)


@settings(max_examples=300)
@given(st.lists(LETTERS, max_size=6), LETTERS)
def test_places_equal_those_of_a_search_for_each_name(raw, text):
    wanted = {normalised(name) for name in raw} - {""}
    place = folded(text)
    spans = ((*span, normalised(name)) for name in raw for span in place.occurrences(name))
    naive = sorted(set(spans))
    found = sorted({(one.start, one.end, one.name) for one in NameIndex(wanted).all_in(place)})
    assert found == naive
    longest = NameIndex(wanted).longest_in(place)
    assert all(one.end <= two.start for one, two in pairwise(longest))
    covered = {at for one in longest for at in range(one.start, one.end)}
    assert all(covered & set(range(start, end)) for start, end, _ in naive)
