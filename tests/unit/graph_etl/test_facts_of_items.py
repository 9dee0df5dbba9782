import polars as pl
import pytest

from graph_etl.dataset_yaml import dataset_config_from
from graph_etl.errors import DataError
from graph_etl.pipeline import build

FILMS = pl.DataFrame(
    {
        "id": ["1", "2", "3"],
        "title": ["Sting, The", "Heat", "Unheard Of"],
        "year": [1973, 1995, 1999],
        "kinds": ["Comedy|Crime", "Crime", "Drama"],
    }
)
FACTS = pl.DataFrame(
    {
        "key": ["q1", "q2", "q3"],
        "Title": ["The Sting", "Heat", "Solaris"],
        "Year": ["1973", "1995", "1972"],
        "Director": ["George Roy Hill", "Michael Mann", "Andrei Tarkovsky"],
        "Genre": ["Comedy, Crime", "Crime, Drama", "Drama"],
        "Votes": [9, 9, 9],
        "film": ["1", "2", "77"],
    }
)
DIRECTED = {
    "column": "Director",
    "relation": "directed_by",
    "entity_type": "person",
    "phrase": "was directed by",
}
GENRE = {"column": "Genre", "relation": "has_genre", "entity_type": "genre", "separator": ", "}


def run(tmp_path, facts=FACTS, **fields):
    content = {
        "name": "x",
        "items": {
            "table": "films",
            "id": "id",
            "title": "title",
            "year": "year",
            "entity_type": "film",
            "attributes": [{"column": "kinds", "relation": "has_genre", "entity_type": "genre",
                            "separator": "|"}],
        },
        "interactions": {"table": "log", "user": "u", "item": "i"},
        "facts": [{"table": "facts", "id": "key", "attributes": [DIRECTED, GENRE], **fields}],
    }  # fmt: skip
    log = pl.DataFrame({"u": ["a"], "i": ["1"]})
    result = build(
        dataset_config_from(content, "the test"),
        out=tmp_path,
        sources={"films": FILMS, "facts": facts, "log": log},
    )
    snapshot = result.snapshot
    name = snapshot.entities["name"].to_list()
    relation = snapshot.relation_types["relation"].to_list()
    triples = [
        (name[t["head_idx"]], relation[t["relation_idx"]], name[t["tail_idx"]], t["source"],
         t["doc_id"])
        for t in snapshot.triples.iter_rows(named=True)
    ]  # fmt: skip
    return triples, result


DIRECTED_BY = [
    ("Sting, The", "directed_by", "George Roy Hill", "facts:Director", "q1"),
    ("Heat", "directed_by", "Michael Mann", "facts:Director", "q2"),
]


def test_facts_are_linked_by_title_and_year(tmp_path):
    triples, result = run(tmp_path, title="Title", year="Year")
    assert [row for row in triples if row[1] == "directed_by"] == DIRECTED_BY
    assert ("Heat", "has_genre", "Drama", "facts:Genre", "q2") in triples
    assert ("Heat", "has_genre", "Crime", "films:kinds", "2") in triples
    report = result.audit["links"]["facts"]
    assert (report["linked"], report["unlinked"], report["ambiguous"]) == (2, 1, 0)
    assert result.audit["tables"]["facts.facts"] == {
        "rows_in": 3,
        "rows_kept": 2,
        "dropped": {"of no item": 1},
        "repaired": {},
        "noted": {},
    }
    assert result.audit["tables"]["triples"]["dropped"] == {"duplicate triple": 3}
    assert result.snapshot.items["attribute.directed_by"].to_list() == [
        ["George Roy Hill"],
        ["Michael Mann"],
        [],
    ]


def test_relations_that_both_sides_have_are_evidence(tmp_path):
    triples, _result = run(tmp_path, title="Title", year="Year", link={"evidence": ["has_genre"]})
    assert [row for row in triples if row[1] == "directed_by"] == DIRECTED_BY
    with pytest.raises(DataError, match=r"evidence of facts .*got 'genre'; the relations are "
                                        "directed_by, has_genre"):  # fmt: skip
        run(tmp_path, title="Title", year="Year", link={"evidence": ["genre"]})


def test_facts_with_item_ids_are_joined(tmp_path):
    triples, result = run(tmp_path, item="film")
    assert [row for row in triples if row[1] == "directed_by"] == DIRECTED_BY
    assert result.audit["links"] == {}


def test_verdicts_change_the_links_and_the_run_id(tmp_path):
    verdicts = tmp_path / "verdicts.csv"
    verdicts.write_text("item_id,fact_id,verdict,made_by\n2,q2,wrong,me\n")
    first = run(tmp_path / "a", title="Title", year="Year")[1].snapshot
    triples, result = run(
        tmp_path / "b", title="Title", year="Year", link={"reviewed": str(verdicts)}
    )
    assert [row for row in triples if row[1] == "directed_by"] == DIRECTED_BY[:1]
    assert first.manifest["run_ids"] != result.snapshot.manifest["run_ids"]


def test_a_key_that_is_no_key_is_refused(tmp_path):
    facts = FACTS.with_columns(key=pl.Series(["q1", "q1", "q3"]))
    with pytest.raises(DataError, match="Expected 'key' of facts to be filled and to stand once, "
                                        "got 'q1' among 2"):  # fmt: skip
        run(tmp_path, facts, title="Title", year="Year")


def test_columns_that_nobody_asked_for_are_not_read(tmp_path):
    FACTS.write_parquet(tmp_path / "facts.parquet")
    result = run(tmp_path, FACTS.drop("Votes"), title="Title", year="Year")[1]
    assert "9" not in result.snapshot.entities["name"].to_list()
