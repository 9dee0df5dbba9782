"""Phrases put into sentences, whatever their verb."""

from __future__ import annotations

import doctest

import pytest

from kgrec.serving import wording


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("was directed by", "were directed by"),
        ("has genre", "have genre"),
        ("is", "are"),
        ("stars", "star"),
        ("belongs to", "belong to"),
        ("carries", "carry"),
        ("matches", "match"),
        ("fixes", "fix"),
        ("discusses", "discuss"),
        ("directed by", "directed by"),
        ("in language", "in language"),
        ("versus", "versus"),
    ],
)
def test_plural(phrase: str, expected: str) -> None:
    assert wording.plural(phrase) == expected


def test_both_share() -> None:
    assert wording.both_share(["stars"], ["Ann", "Bob", "Cy"]) == "star Ann, Bob and Cy"
    several = wording.both_share(["was directed by", "was written by"], ["Ann"])
    assert several == "were directed by and written by Ann"
    unlike = wording.both_share(["stars", "was written by"], ["Ann"])
    assert unlike == "were written by and star Ann"


def test_touch_both() -> None:
    assert wording.touch_both(["acts in"], ["Ann"]) == "Ann acts in both"
    assert wording.touch_both(["acts in"], ["Ann", "Bob"]) == "Ann and Bob act in both"


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(wording).failed == 0
