"""Answers on disk: good ones are served, bad ones never, and damage is told."""

import sqlite3

import pytest
from scripted_extraction import Scripted, film, places

from graph_etl.errors import ExtractionError
from graph_etl.extraction.ledger import Ledger, extraction_from, extraction_text, key_of
from graph_etl.extraction.records import Answer, Extraction, Failure, Rejection

FILM = film(1, "Set in ROME")
BAD = Failure("invalid_json", "no object")


def bad(answered=True):
    return Answer(FILM.doc_id, "{", failure=Failure("invalid_json", "no object", answered))


def good(raw="raw"):
    return Answer(FILM.doc_id, raw, extraction=places(FILM))


def test_a_good_answer_is_served_after_reopening(tmp_path):
    engine = Scripted()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(engine, FILM, 1, good())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.known([key_of(engine, FILM)]) == {key_of(engine, FILM): places(FILM)}


def test_a_bad_answer_is_kept_and_never_served(tmp_path):
    engine, key = Scripted(), key_of(Scripted(), FILM)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(engine, FILM, 1, bad())
        assert ledger.known([key]) == {}
        assert ledger.attempts([key]) == {key: 1}
        ledger.record(engine, FILM, 2, good())
        ledger.record(engine, FILM, 3, bad())
        assert ledger.known([key]) == {key: places(FILM)}
    rows = sqlite3.connect(tmp_path / "ledger.sqlite").execute(
        "SELECT attempt, verdict, raw FROM answers ORDER BY attempt"
    )
    assert rows.fetchall() == [(1, "invalid", "{"), (2, "valid", "raw"), (3, "invalid", "{")]


def test_an_answer_that_never_came_is_not_kept(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(Scripted(), FILM, 1, bad(answered=False))
        assert ledger.attempts([key_of(Scripted(), FILM)]) == {}


@pytest.mark.parametrize(
    "other",
    [
        film(1, "Set in OSLO"),
        film(2, "Set in ROME"),
    ],
)
def test_the_key_tells_texts_and_subjects_apart(other):
    assert key_of(Scripted(), FILM) != key_of(Scripted(), other)


def test_the_key_tells_engines_apart():
    assert key_of(Scripted(fingerprint="a"), FILM) != key_of(Scripted(fingerprint="b"), FILM)


def test_dead_letters_are_listed_and_retried(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.bury(Scripted(), FILM, 3, bad())
        [letter] = ledger.dead_letters()
        assert (letter.doc_id, letter.kind, letter.attempts) == ("film-1", "invalid_json", 3)
        assert ledger.dead([letter.key]) == {letter.key}
        assert ledger.retry(["film-9"]) == 0
        assert ledger.retry(["film-1"]) == 1
        assert ledger.dead_letters() == ()
        with pytest.raises(ValueError, match="Expected a failed answer to bury"):
            ledger.bury(Scripted(), FILM, 3, good())


def test_hostile_texts_are_kept(tmp_path):
    strange = film(3, "ROME \ud800 \0 '); DROP TABLE answers; --")
    answer = Answer(strange.doc_id, "\ud800\0'", extraction=Extraction(strange.doc_id))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(Scripted(), strange, 1, answer)
        assert ledger.known([key_of(Scripted(), strange)])


def test_more_keys_than_a_statement_takes(tmp_path):
    films = [film(i, f"Set in PLACE{i}") for i in range(1203)]
    engine = Scripted()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for one in films:
            ledger.record(engine, one, 1, Answer(one.doc_id, "", extraction=places(one)))
        assert len(ledger.known([key_of(engine, one) for one in films])) == 1203


def test_a_file_that_is_none_is_refused(tmp_path):
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(b"this is no database, " * 100)
    with pytest.raises(ExtractionError, match=r"Expected a ledger of answers at .*; move"):
        Ledger(file)


def test_a_newer_ledger_is_refused(tmp_path):
    file = tmp_path / "ledger.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(ExtractionError, match="got 99; update kgrec"):
        Ledger(file)


def test_extractions_survive_as_text():
    extraction = places(film(1, "Set in ROME and OSLO"))
    whole = Extraction(
        extraction.doc_id, extraction.mentions, extraction.triples, (Rejection("bad_span", "é"),)
    )
    assert extraction_from(extraction_text(whole)) == whole
