"""Quotes are found where the text says them, in its own characters, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_etl.extraction.grounding import folded


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        ("Set in New  York, of course", "new york", "New  York"),
        ("He says “Hello”—and goes", '"hello"-and', "“Hello”—and"),
        ("Cafe\u0301 Noir", "café noir", "Cafe\u0301 Noir"),
        ("周星驰导演的电影", "周星驰", "周星驰"),
        ("Ｆｕｌｌ width", "full", "Ｆｕｌｌ"),
        ("Straße nach Köln", "strasse", "Straße"),
        ("the end\n\tof it", "end of it", "end\n\tof it"),
    ],
)
def test_quote_is_found_in_the_characters_of_the_text(text, quote, found):
    span = folded(text).find(quote)
    assert span is not None
    assert text[slice(*span)] == found


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("Yorkshire", "York"),
        ("New York", "New Jersey"),
        ("anything", ""),
        ("anything", "   "),
        ("", "x"),
        ("a1b", "1"),
    ],
)
def test_what_the_text_does_not_say_is_not_found(text, quote):
    assert folded(text).find(quote) is None


def test_occurrences_keep_to_the_given_range():
    text = "Rome, then Rome"
    assert list(folded(text).occurrences("rome")) == [(0, 4), (11, 15)]
    assert list(folded(text).occurrences("rome", (5, 15))) == [(11, 15)]


@given(st.text(max_size=60))
def test_every_character_stands_for_a_range_of_the_text(text):
    found = folded(text)
    assert len(found.text) == len(found.starts) == len(found.ends)
    assert all(0 <= a < b <= len(text) for a, b in zip(found.starts, found.ends, strict=True))
    assert list(found.starts) == sorted(found.starts)


@given(st.text(max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_a_found_quote_folds_to_the_same_as_the_quote(text, start, end):
    quote = text[start:end]
    for span in folded(text).occurrences(quote):
        assert folded(text[slice(*span)]).text.strip() == folded(quote).text.strip()
