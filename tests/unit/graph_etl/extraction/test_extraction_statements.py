"""Extractions become statements with entities, provenance and evidence."""

from scripted_extraction import Scripted, film, mention

from graph_etl.attributes import STATEMENT
from graph_etl.extraction.records import ExtractedTriple, Extraction, Mention
from graph_etl.extraction.run import Extracted
from graph_etl.extraction.statements import (
    EVIDENCE,
    extracted_statements,
    run_id_of,
)

TEXT = "Martin Scorsese was born in  New\nYork; Scorsese stayed."
FILM = film(7, TEXT)
PERSON = mention(FILM, "Martin Scorsese", "person")
PLACE = mention(FILM, "New York", "place")
AGAIN = Mention(TEXT.rindex("Scorsese"), TEXT.rindex("Scorsese") + 8, "person")


def found(*triples):
    extraction = Extraction(FILM.doc_id, (PERSON, PLACE, AGAIN), triples)
    return extracted_statements([Extracted(FILM, ((Scripted(), extraction),))], "plot")


def test_a_triple_of_the_subject_carries_its_provenance():
    statements = found(ExtractedTriple(None, "set_in", 1, (0, 37), 0.75)).statements
    assert statements.columns == [*STATEMENT, *EVIDENCE]
    row = statements.row(0, named=True)
    assert (row["head_id"], row["tail_id"]) == ("film:7", "place:new york")
    assert (row["source"], row["doc_id"], row["engine"]) == ("plot", "film-7", "scripted")
    assert row["confidence"] == 0.75
    assert row["run_id"] == run_id_of(Scripted())
    assert row["evidence.text"] == TEXT[0:37]
    assert row["evidence.content_hash"] == FILM.content_hash
    assert row["evidence.model"] == "model-one"


def test_a_part_of_a_name_is_the_entity_of_the_whole_name():
    made = found(ExtractedTriple(2, "born_in", 1, (0, 37)))
    row = made.statements.row(0, named=True)
    assert row["head_id"] == "person:martin scorsese"
    assert set(made.names.rows()) == {
        ("person:martin scorsese", "person", "Martin Scorsese"),
        ("place:new york", "place", "New York"),
    }


def test_nothing_found_gives_empty_frames_of_the_same_form():
    made = extracted_statements([Extracted(FILM, ())], "plot")
    assert made.statements.columns == [*STATEMENT, *EVIDENCE]
    assert made.statements.height == made.names.height == 0


def test_the_run_is_the_engine_and_nothing_else():
    assert run_id_of(Scripted()) == run_id_of(Scripted())
    assert run_id_of(Scripted()) != run_id_of(Scripted(fingerprint="two"))
