"""What counts of an answer, and with which reason the rest does not."""

import pytest
from scripted_extraction import film, mention, schema

from graph_etl.extraction.records import ExtractedTriple, Extraction, Mention, Rejection
from graph_etl.extraction.validation import ExtractionLimits, rejection, validated

TEXT = "Anna was born in Rome. Bert met Anna in Oslo."
FILM = film(1, TEXT)
WHOLE = (0, len(TEXT))
ANNA = mention(FILM, "Anna", "person")
BERT = mention(FILM, "Bert", "person")
ROME = mention(FILM, "Rome", "place")


def checked(*triples, mentions=(ANNA, BERT, ROME), **limits):
    answer = Extraction(FILM.doc_id, tuple(mentions), tuple(triples))
    return validated(FILM, answer, schema(), ExtractionLimits(**limits))


def reasons(extraction):
    return [one.reason for one in extraction.rejected]


def test_whitelisted_triples_of_subject_and_mentions_count():
    kept = checked(
        ExtractedTriple(None, "set_in", 2, WHOLE), ExtractedTriple(0, "born_in", 2, WHOLE)
    )
    assert len(kept.triples) == 2
    assert not kept.rejected


@pytest.mark.parametrize(
    ("triple", "reason"),
    [
        (ExtractedTriple(None, "born_in", 2, WHOLE), "unknown_pattern"),
        (ExtractedTriple(2, "set_in", None, WHOLE), "unknown_pattern"),
        (ExtractedTriple(0, "owns", 2, WHOLE), "unknown_pattern"),
        (ExtractedTriple(0, "knows", 0, WHOLE), "self_loop"),
        (ExtractedTriple(0, "knows", 9, WHOLE), "no_evidence"),
        (ExtractedTriple(None, "set_in", None, WHOLE), "no_evidence"),
        (ExtractedTriple(0, "born_in", 2, (5, 5)), "no_evidence"),
        (ExtractedTriple(0, "born_in", 2, (0, 999)), "no_evidence"),
        (ExtractedTriple(0, "born_in", 2, WHOLE, 0.4), "low_confidence"),
    ],
)
def test_triple_that_does_not_count_is_kept_with_its_reason(triple, reason):
    kept = checked(triple)
    assert kept.triples == ()
    assert reasons(kept) == [reason]


def test_two_mentions_of_one_name_are_a_self_loop():
    again = Mention(TEXT.rindex("Anna"), TEXT.rindex("Anna") + 4, "person")
    kept = checked(ExtractedTriple(0, "knows", 1, WHOLE), mentions=(ANNA, again))
    assert reasons(kept) == ["self_loop"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Mention(40, 99, "place"), "bad_span"),
        (Mention(-3, 4, "place"), "bad_span"),
        (Mention(4, 4, "place"), "bad_span"),
        (Mention(4, 5, "place"), "bad_span"),
        (Mention(0, 4, "ghost"), "unknown_type"),
        (Mention(0, 4, "place", 0.2), "low_confidence"),
        (Mention(0, 30, "place"), "long_name"),
    ],
)
def test_bad_mention_takes_its_triples_with_it(bad, reason):
    kept = checked(
        ExtractedTriple(None, "set_in", 0, WHOLE), mentions=(bad, ROME), max_name_characters=20
    )
    assert kept.mentions == (ROME,)
    assert kept.triples == ()
    assert reasons(kept) == [reason]


def test_one_name_of_two_types_is_no_self_loop():
    place = Mention(ANNA.start, ANNA.end, "place")
    kept = checked(ExtractedTriple(0, "born_in", 1, WHOLE), mentions=(ANNA, place))
    assert len(kept.triples) == 1


def test_equal_triples_count_once_and_the_surest_stays():
    kept = checked(
        ExtractedTriple(0, "born_in", 2, WHOLE, 0.7), ExtractedTriple(0, "born_in", 2, WHOLE, 0.9)
    )
    assert [one.confidence for one in kept.triples] == [0.9]


def test_mentions_are_ordered_and_triples_follow_them():
    kept = checked(ExtractedTriple(0, "born_in", 1, WHOLE), mentions=(ANNA, ROME, BERT)[::1])
    assert list(kept.mentions) == sorted(kept.mentions, key=lambda one: one.start)
    triple = kept.triples[0]
    assert kept.mentions[triple.head] == ANNA
    assert kept.mentions[triple.tail] == ROME


def test_numbers_are_capped_and_the_surest_stay():
    sure = Mention(ROME.start, ROME.end, "place", 1.0)
    less = Mention(TEXT.index("Oslo"), TEXT.index("Oslo") + 4, "place", 0.6)
    triples = [ExtractedTriple(None, "set_in", i, WHOLE, c) for i, c in ((0, 0.6), (1, 1.0))]
    kept = checked(*triples, mentions=(less, sure), max_triples=1)
    assert [kept.mentions[one.tail] for one in kept.triples] == [sure]
    assert reasons(kept) == ["too_many"]
    kept = checked(*triples, mentions=(less, sure), max_mentions=1)
    assert kept.mentions == (sure,)
    assert len(kept.triples) == 1
    assert reasons(kept) == ["too_many", "too_many"]


def test_rejections_of_the_engine_stay_and_long_ones_are_cut():
    said = rejection("no_evidence", "x" * 1000)
    assert len(said.said) == 200
    kept = validated(FILM, Extraction(FILM.doc_id, rejected=(said,)), schema(), ExtractionLimits())
    assert kept.rejected == (said,)
    with pytest.raises(ValueError, match="Expected a reason among"):
        rejection("because", "x")
    assert Rejection("no_evidence", "x" * 200) == said
