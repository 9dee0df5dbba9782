"""Texts to triples within a build: what is added, with which evidence, what is asked again."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from llm_fixtures import ScriptedServer, completion

from graph_etl import build, dataset_config_from
from graph_etl.errors import ConfigError, DataError
from graph_etl.extraction.build_step import LEDGER
from graph_etl.extraction.gold import GoldDocument, GoldRelation, save_spans
from graph_etl.extraction.records import Document, Mention
from graph_etl.extraction.statements import EVIDENCE
from graph_etl.statistics import statistics_of

SCHEMA = {
    "entity_types": [{"name": name} for name in ("book", "person", "place")],
    "relation_types": [
        {"head": "book", "relation": "written_by", "tail": "person", "phrase": "was written by"},
        {"head": "book", "relation": "set_in", "tail": "place", "phrase": "is set in"},
    ],
}
ITEMS = pl.DataFrame(
    {
        "id": ["1", "2", "3"],
        "title": ["Dust", "Rain", "Snow"],
        "author": ["Ann Lee", "Bo Chan", "Ann Lee"],
        "place": ["Rome", None, None],
        "blurb": ["Ann Lee walks Rome.", "A thief in Rome, by Bo Chan.", ""],
    }
)
REVIEWS = pl.DataFrame(
    {
        "book": ["2", "2", "9", "3"],
        "words": ["Rome at night.", "Such a Rome!", "Rome", ""],
    }
)
LOG = pl.DataFrame({"user": ["u", "v"], "book": ["1", "2"]})


def config(**extraction):
    section = {
        "schema": SCHEMA,
        "engines": [{"engine": "gazetteer", "relates": {"place": "set_in"}}],
    }
    return dataset_config_from(
        {
            "name": "shop",
            "items": {
                "table": "items",
                "id": "id",
                "title": "title",
                "text": ["blurb"],
                "entity_type": "book",
                "attributes": [
                    {"column": "author", "relation": "written_by", "entity_type": "person"},
                    {"column": "place", "relation": "set_in", "entity_type": "place"},
                ],
            },
            "interactions": {"table": "log", "user": "user", "item": "book"},
            "extraction": {**section, **extraction},
        },
        "test",
    )


def built(folder, **extraction):
    sources = {"items": ITEMS, "log": LOG, "reviews": REVIEWS}
    return build(config(**extraction), out=folder, sources=sources)


def extracted(snapshot):
    ids = snapshot.entities["entity_id"]
    rows = snapshot.triples.filter(pl.col("engine") != "table")
    return [
        (ids[row["head_idx"]], ids[row["tail_idx"]], row["evidence.text"], row["doc_id"])
        for row in rows.iter_rows(named=True)
    ]


def test_a_text_adds_a_triple_with_its_evidence(tmp_path):
    result = built(tmp_path)
    assert extracted(result.snapshot) == [
        ("book:2", "place:rome", "A thief in Rome, by Bo Chan.", "2")
    ]
    row = result.snapshot.triples.filter(pl.col("engine") == "gazetteer").row(0, named=True)
    text = ITEMS["blurb"][1]
    assert text[row["evidence.start"] : row["evidence.end"]] == row["evidence.text"]
    assert (row["source"], row["confidence"] <= 1.0) == ("text", True)
    tables = result.snapshot.triples.filter(pl.col("engine") == "table")
    assert tables.select(*EVIDENCE).null_count().row(0) == (tables.height,) * len(EVIDENCE)


def test_the_accounting_stands_in_the_audit(tmp_path):
    tables = built(tmp_path).audit["tables"]
    assert tables["texts"] == {
        "rows_in": 3, "rows_kept": 2, "dropped": {"empty": 1}, "repaired": {}, "noted": {},
    }  # fmt: skip
    engine = tables["extraction.gazetteer"]
    assert (engine["rows_in"], engine["rows_kept"]) == (2, 2)
    assert engine["noted"]["extracted"] == 2
    assert (tmp_path / LEDGER).is_file()


def test_a_second_build_changes_nothing(tmp_path):
    first = built(tmp_path)
    second = built(tmp_path)
    assert not second.changed
    assert second.snapshot.snapshot_id == first.snapshot.snapshot_id


def test_an_item_may_have_several_texts_in_a_table_of_their_own(tmp_path):
    result = built(tmp_path, table="reviews", item="book", text=["words"])
    assert extracted(result.snapshot) == [("book:2", "place:rome", "Rome at night.", "2")]
    texts = result.audit["tables"]["texts"]
    assert (texts["rows_in"], texts["rows_kept"]) == (4, 2)
    assert texts["dropped"] == {"of no item": 1, "empty": 1}


def test_a_section_that_is_off_extracts_nothing(tmp_path):
    result = built(tmp_path, enabled=False)
    assert extracted(result.snapshot) == []
    assert "evidence.text" not in result.snapshot.triples.columns
    assert not (tmp_path / LEDGER).exists()


def test_what_is_extracted_is_an_attribute_to_filter_by(tmp_path):
    items = built(tmp_path).snapshot.items
    assert items["attribute.set_in"].to_list() == [["Rome"], ["Rome"], []]


def test_statistics_tell_what_texts_add(tmp_path):
    [figures] = statistics_of(built(tmp_path).snapshot).extracted
    assert (figures.relation, figures.triples) == ("set_in", 1)
    said = figures.samples[0]
    assert (said.head, said.tail, said.evidence) == ("Rain", "Rome", ITEMS["blurb"][1])
    assert statistics_of(built(tmp_path / "off", enabled=False).snapshot).extracted == ()


def test_labelled_texts_tell_how_well_they_were_read(tmp_path):
    text = ITEMS["blurb"][1]
    place = Mention(text.index("Rome"), text.index("Rome") + 4, "place")
    person = Mention(text.index("Bo Chan"), len(text) - 1, "person")
    read = GoldDocument(
        Document("a", text, "book:2", "book"),
        (place, person),
        (GoldRelation(None, "set_in", 0), GoldRelation(None, "written_by", 1)),
    )
    other = replace(read, document=Document("b", text + text, "book:9", "book"))
    save_spans([read, other], tmp_path / "gold.jsonl")
    gold = built(tmp_path / "out", gold=str(tmp_path / "gold.jsonl")).audit["extraction"]["gold"]
    assert (gold["texts"], gold["absent"]) == (1, 1)
    assert gold["together"]["triples"]["strict"]["all"]["f1"] == 1.0
    assert gold["engines"]["gazetteer"]["entities"]["right"] == 2
    assert "extraction" not in built(tmp_path / "none").audit


def test_what_a_table_says_stays_the_tables(tmp_path):
    result = built(tmp_path)
    graph = result.snapshot
    of_dust = graph.triples.filter(pl.col("doc_id") == "1")  # its text says Rome and Ann Lee too
    assert set(of_dust["engine"]) == {"table"}
    assert statistics_of(graph).extracted_entities == ()  # Rome is known from the first book


def test_entities_that_only_texts_name_are_counted(tmp_path):
    items = ITEMS.with_columns(blurb=pl.Series(["Lost in OSLO.", "", ""]))
    said = {
        "entities": [{"name": "OSLO", "type": "place"}],
        "triples": [{"head": "@", "relation": "book set_in place", "tail": "OSLO",
                     "evidence": "OSLO"}],
    }  # fmt: skip
    server = ScriptedServer(lambda asked, number: completion(json.dumps(said)))
    engines = [{"engine": "llm", "model": "m", "base_url": server.url}]
    try:
        sources = {"items": items, "log": LOG}
        result = build(config(engines=engines), out=tmp_path, sources=sources)
    finally:
        server.close()
    [found] = statistics_of(result.snapshot).extracted_entities
    assert (found.entity_type, found.count, found.samples) == ("place", 1, ("OSLO",))


def test_a_missing_column_of_text_is_named(tmp_path):
    with pytest.raises(DataError, match="Expected a column 'plot' in items"):
        built(tmp_path, text=["plot"])


def test_a_table_without_its_text_is_refused():
    with pytest.raises(ConfigError, match="expected 'text' beside 'table'"):
        config(table="reviews")


def test_a_missing_model_is_told(tmp_path):
    engines = [{"engine": "bert", "model": str(tmp_path / "nowhere")}]
    with pytest.raises(Exception, match="nowhere"):
        built(tmp_path / "out", engines=engines)
    assert not (tmp_path / "out" / "snapshots" / "current").exists()
