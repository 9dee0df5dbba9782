"""The texts that ship are whole, marked exactly, and what their READMEs say of them is so."""

import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from graph_etl.errors import ConfigError, DataError
from graph_etl.extraction.agreement import cohens_kappa, marking_agreement
from graph_etl.extraction.corpora import (
    CORPORA,
    PARTS,
    corpus_path,
    corpus_schema,
    load_corpus,
)
from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.records import Document, ExtractedTriple, Extraction, Mention
from graph_etl.extraction.things import full_names
from graph_etl.extraction.validation import ExtractionLimits, validated

SIZES = {"films": (200, 100), "chinese": (120, 60)}
ALL_PARTS = [(name, part) for name in CORPORA for part in PARTS]


def surfaces(gold):
    return [gold.document.text[one.start : one.end] for one in gold.mentions]


def test_two_corpora_ship():
    assert set(SIZES) == set(CORPORA)


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_has_its_texts_once_and_keeps_gold_out_of_training(name):
    train, gold = load_corpus(name, "train"), load_corpus(name, "gold")
    assert (len(train), len(gold)) == SIZES[name]
    both = [*train, *gold]
    assert len({one.document.doc_id for one in both}) == len(both)
    assert len({one.document.text for one in both}) == len(both)
    for marking in ("gold-first", "gold-second"):
        texts = [one.document.text for one in load_corpus(name, marking)]
        assert texts == [one.document.text for one in gold]


def test_synopses_are_300_texts_of_50_to_80_words():
    synopses = pl.read_ndjson(corpus_path("films", "synopses.jsonl"))
    assert synopses.columns == ["doc_id", "item_id", "title", "year", "text"]
    assert synopses.height == synopses["text"].n_unique() == synopses["item_id"].n_unique() == 300
    assert all(50 <= len(text.split()) <= 80 for text in synopses["text"])
    marked = [*load_corpus("films", "train"), *load_corpus("films", "gold")]
    assert {one.document.doc_id: one.document.text for one in marked} == dict(
        synopses.select("doc_id", "text").iter_rows()
    )


@pytest.mark.parametrize(("name", "part"), ALL_PARTS)
def test_everything_marked_fits_the_schema_and_stands_at_word_ends(name, part):
    schema, limits = corpus_schema(name), ExtractionLimits()
    for gold in load_corpus(name, part):
        text = gold.document.text
        whole = (0, len(text))
        triples = (
            ExtractedTriple(one.head, one.relation, one.tail, whole) for one in gold.relations
        )
        said = Extraction(gold.document.doc_id, gold.mentions, tuple(triples))
        unnamed = replace(gold.document, subject_name="")  # a film may be named as its book is
        kept = validated(unnamed, said, schema, limits)
        assert not kept.rejected
        assert len(kept.mentions) == len(gold.mentions)
        assert len(kept.triples) == len(gold.relations)
        for surface, mention in zip(surfaces(gold), gold.mentions, strict=True):
            assert surface == surface.strip()
            before, after = text[max(mention.start - 1, 0) : mention.start], text[mention.end :][:1]
            if name == "films":  # Chinese words have no visible ends
                assert not before.isalnum(), (gold.document.doc_id, surface)
                assert not after.isalnum(), (gold.document.doc_id, surface)


@pytest.mark.parametrize(("name", "part"), ALL_PARTS)
def test_every_occurrence_of_a_marked_name_is_marked(name, part):
    for gold in load_corpus(name, part):
        text = list(gold.document.text)
        for one in gold.mentions:
            text[one.start : one.end] = "\0" * (one.end - one.start)
        rest = "".join(text)
        for surface in set(surfaces(gold)):
            edge = r"\b" if surface[0].isascii() else ""
            if len(surface) > 1:  # 《家》 is a word of its own in other words
                assert not re.search(edge + re.escape(surface) + edge, rest), surface


@pytest.mark.parametrize(("name", "part"), ALL_PARTS)
def test_a_relation_stands_once_at_the_first_mention_of_the_fullest_name(name, part):
    for gold in load_corpus(name, part):
        full = full_names(gold.document, gold.mentions)
        own = surfaces(gold)
        seen = set()
        for one in gold.relations:
            ends = [end for end in (one.head, one.tail) if end is not None]
            for end in ends:
                kind = gold.mentions[end].entity_type
                same = [
                    place
                    for place, mention in enumerate(gold.mentions)
                    if mention.entity_type == kind and own[place] == own[end]
                ]
                assert own[end] == full[end]
                assert end == same[0]
            key = (one.relation, *(own[end] for end in ends))
            assert key not in seen
            seen.add(key)


def test_a_leading_the_belongs_to_the_name_of_a_work():
    for part in PARTS:
        for gold in load_corpus("films", part):
            for one in gold.mentions:
                before = gold.document.text[max(one.start - 4, 0) : one.start]
                assert one.entity_type != "work" or before != "The "


@pytest.mark.parametrize("name", CORPORA)
def test_the_recorded_agreement_is_that_of_the_files(name):
    recorded = json.loads(corpus_path(name, "agreement.json").read_text(encoding="utf-8"))
    gold, first, second = (
        load_corpus(name, part) for part in ("gold", "gold-first", "gold-second")
    )
    assert recorded == {
        "first_second": marking_agreement(first, second).as_record(),
        "first_gold": marking_agreement(first, gold).as_record(),
        "second_gold": marking_agreement(second, gold).as_record(),
    }
    readme = corpus_path(name, "README.md").read_text(encoding="utf-8")
    both = recorded["first_second"]
    for value in (both["mention_f1"], both["relation_f1"], both["type_kappa"]):
        assert f"{value:.3f}" in readme


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_says_what_it_is_and_under_which_terms(name):
    assert "CC0-1.0" in corpus_path(name, "LICENSE").read_text(encoding="utf-8")
    assert "language model" in corpus_path(name, "README.md").read_text(encoding="utf-8")


def test_a_corpus_or_part_that_does_not_exist_is_refused():
    for name, part in (("books", "gold"), ("films", "test"), ("..", "gold")):
        with pytest.raises(ConfigError, match="Expected a corpus among"):
            load_corpus(name, part)


def marking(*mentions, text="Anna met Bert in Rome"):
    return GoldDocument(Document("d", text), tuple(Mention(*one) for one in mentions))


def test_agreement_counts_spans_types_and_chance():
    first = marking((0, 4, "person"), (9, 13, "person"), (17, 21, "place"))
    second = marking((0, 4, "person"), (9, 13, "place"), (0, 13, "person"))
    found = marking_agreement([first], [second])
    assert found.mention_f1 == pytest.approx(2 / 6)
    assert found.matched_spans == 2
    assert found.type_kappa == 0.0  # observed 1/2, expected 1/2
    assert found.confused_types == {"person / place": 1}
    back = marking_agreement([second], [first])
    assert back.mention_f1 == found.mention_f1
    assert marking_agreement([first], [first]).type_kappa == 1.0


def test_kappa_of_a_known_table():
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([]) == 1.0


def test_markings_of_other_texts_are_refused():
    with pytest.raises(DataError, match="with two texts"):
        marking_agreement([marking()], [marking(text="else")])
    with pytest.raises(DataError, match="in one alone"):
        marking_agreement([marking()], [])
    with pytest.raises(DataError, match="got 0, 1"):
        marking_agreement([], [marking()])


@pytest.mark.parametrize(
    ("kind", "relation", "told"),
    [
        ("place", "set_in", "{} % of the places"),
        ("period", "set_during", "{} % of the periods"),
        ("person", "stars", "only {} % of the persons"),
    ],
)
def test_the_page_tells_how_often_a_name_of_a_type_stands_in_one_relation(kind, relation, told):
    names = related = 0
    for one in load_corpus("films", "train"):
        text = one.document.text
        spelled = [text[mention.start : mention.end] for mention in one.mentions]
        of_kind = {
            name
            for name, mention in zip(spelled, one.mentions, strict=True)
            if mention.entity_type == kind
        }
        tails = {spelled[r.tail] for r in one.relations if r.relation == relation}
        names += len(of_kind)
        related += len(of_kind & tails)
    page = Path(__file__).parents[4] / "docs" / "explanation" / "extraction.md"
    shown = " ".join(page.read_text().split())
    assert told.format(round(100 * related / names)) in shown
