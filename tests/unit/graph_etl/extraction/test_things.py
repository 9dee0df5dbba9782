"""Mentions of one thing: parts of names, and each relation of the subject once for a thing."""

from graph_etl.extraction.records import Document, ExtractedTriple, Extraction, Mention
from graph_etl.extraction.things import each_thing_once, full_names

TEXT = "Buzz meets Woody. Woody likes Buzz Lightyear; WOODY says so in Texas."
FILM = Document("1", TEXT, "film:1", "film", "Toy Story")
BUZZ, WOODY, AGAIN, WHOLE, LOUD, TEXAS = range(6)
MENTIONS = (
    Mention(0, 4, "character"),
    Mention(11, 16, "character"),
    Mention(18, 23, "character"),
    Mention(30, 44, "character"),
    Mention(46, 51, "character"),
    Mention(63, 68, "place"),
)


def said(tail, confidence, *, head=None, relation="has_character"):
    return ExtractedTriple(head, relation, tail, (0, len(TEXT)), confidence)


def once(*triples):
    return each_thing_once(FILM, Extraction("1", MENTIONS, triples)).triples


def test_a_part_of_two_names_stays_as_it_is():
    text = "Joel Coen and Ethan Coen; Coen. Joel"
    document = Document("d", text)
    spans = [(0, 9), (14, 24), (26, 30), (32, 36)]
    mentions = [Mention(*span, "person") for span in spans]
    names = full_names(document, mentions)
    assert names == ["Joel Coen", "Ethan Coen", "Coen", "Joel Coen"]
    assert full_names(document, [mentions[0], Mention(26, 30, "place")])[1] == "Coen"


def test_the_first_mention_of_a_name_carries_the_relation_as_surely_as_the_surest():
    assert once(said(LOUD, 0.9), said(AGAIN, 0.6), said(WOODY, 0.7)) == (said(WOODY, 0.9),)


def test_the_longest_mention_of_a_thing_carries_the_relation():
    assert once(said(BUZZ, 0.9), said(WHOLE, 0.8)) == (said(WHOLE, 0.9),)


def test_other_relations_types_and_things_stay():
    triples = (
        said(BUZZ, 0.9),
        said(BUZZ, 0.8, relation="is_named_for"),
        said(WOODY, 0.7),
        said(TEXAS, 0.6, relation="set_in"),
    )
    assert once(*triples) == triples


def test_relations_between_mentions_stay_each_where_it_is_said():
    triples = (
        said(TEXAS, 0.9, head=WOODY, relation="lives_in"),
        said(TEXAS, 0.8, head=AGAIN, relation="lives_in"),
        ExtractedTriple(WOODY, "is_in", None, (0, 5), 0.7),
        ExtractedTriple(AGAIN, "is_in", None, (0, 5), 0.7),
    )
    assert once(*triples) == triples
