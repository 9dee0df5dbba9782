"""Every gate holds on a quiet night, fails on the night it is made for, and can be accepted."""

from __future__ import annotations

import night_tables
import polars as pl
import pytest
from night_tables import books, config, night

from graph_etl.errors import ConfigError, GateError
from graph_etl.snapshot import load_snapshot
from graph_etl.store import open_store
from graph_etl.versions import history

QUIET = books().with_columns(
    title=pl.when(pl.col("id") == "b7").then(pl.lit("Book VII")).otherwise("title")
)
NIGHTS = {
    "count_drop": books(100),
    "delete_share": books().filter(pl.col("id").str.slice(1).cast(int) % 12 > 0),
    "orphan_rise": books().with_columns(
        maker=pl.when(pl.col("topic") == "Topic 3").then(None).otherwise("maker"),
        topic=pl.when(pl.col("topic") == "Topic 3").then(None).otherwise("topic"),
    ),
    "degree_drift": books().with_columns(maker=pl.concat_str(pl.col("maker"), pl.col("topic"))),
}


def test_a_quiet_night_passes(tmp_path):
    night(tmp_path, books())
    assert night(tmp_path, QUIET).changed


@pytest.mark.parametrize("gate", NIGHTS)
def test_a_bad_night_is_refused_and_the_old_version_stays(tmp_path, gate):
    first = night(tmp_path, books())
    with pytest.raises(GateError, match=rf"{gate}: .*\d.*at most"):
        night(tmp_path, NIGHTS[gate])
    assert load_snapshot(first.pointer).snapshot_id == first.snapshot.snapshot_id
    assert len(history(tmp_path)) == 1


@pytest.mark.parametrize("gate", NIGHTS)
def test_a_bad_night_can_be_accepted_and_is_logged(tmp_path, gate):
    night(tmp_path, books())
    wide = {name: 1.0 for name in NIGHTS if name != gate} | {"degree_drift": 99.0}
    if gate == "degree_drift":
        wide.pop("degree_drift")
    second = night(tmp_path, NIGHTS[gate], config(**wide), accepted={gate: "a known sale"})
    assert second.changed
    assert {finding.gate for finding in second.accepted} == {gate}
    newest = history(tmp_path)[0]
    assert newest.accepted == {gate: "a known sale"}
    assert {finding["gate"] for finding in newest.findings} == {gate}


def test_accepting_one_gate_does_not_accept_another(tmp_path):
    night(tmp_path, books())
    with pytest.raises(GateError, match="delete_share"):
        night(tmp_path, books(100), accepted={"count_drop": "a known sale"})


def test_an_unknown_gate_is_told(tmp_path):
    with pytest.raises(GateError, match=r"count_drop.*got \['coutn_drop'\]"):
        night(tmp_path, books(), accepted={"coutn_drop": "x"})


def test_a_refused_night_leaves_the_store_alone(tmp_path):
    with open_store("kglite", tmp_path) as store:
        night(tmp_path, books(), store=store)
        before = store.counts()
        with pytest.raises(GateError):
            night(tmp_path, books(100), store=store)
        assert store.counts() == before


def test_without_gates_anything_is_published(tmp_path):
    night(tmp_path, books())
    assert night(tmp_path, books(20), gated=False).changed


def test_limits_are_the_largest_that_pass(tmp_path):
    wide = {"count_drop": 1, "orphan_rise": 1, "degree_drift": 9}
    night(tmp_path, books())
    fewer = books().filter(pl.col("id") != "b3")  # 1 of 247 entities, 2 of 400 triples
    assert night(tmp_path, fewer, config(**wide, delete_share=0.005)).changed
    assert night(tmp_path, books()).changed
    with pytest.raises(GateError, match="2 of 400 triples would go"):
        night(tmp_path, fewer, config(**wide, delete_share=0.0049))


GOLD = {
    "name": "makers of book 5",
    "cypher": "MATCH (b:book {name: $name})-[:made_by]->(m:maker) RETURN m.name",
    "parameters": {"name": "Book 5"},
    "rows": [["Maker 5"]],
}


def test_gold_queries_judge_the_first_build_too(tmp_path):
    assert night(tmp_path, books(), config(gold=[GOLD])).changed
    wrong = GOLD | {"rows": [["Maker 6"]]}
    with pytest.raises(GateError, match=r"makers of book 5.*Maker 5.*Maker 6"):
        night(tmp_path / "other", books(), config(gold=[wrong]))
    assert not (tmp_path / "other" / "snapshots" / "current").exists()


def test_gold_queries_may_ask_for_a_number_of_rows(tmp_path):
    many = {"name": "books", "cypher": "MATCH (b:book) RETURN b.name", "min_rows": 200}
    assert night(tmp_path, books(), config(gold=[many])).changed
    with pytest.raises(GateError, match="gave 200 rows, expected at least 201"):
        night(tmp_path, books(), config(gold=[many | {"min_rows": 201}]))


def test_a_gold_query_without_an_answer_is_refused():
    with pytest.raises((ConfigError, ValueError), match="either min_rows or rows"):
        night_tables.config(gold=[{"name": "x", "cypher": "RETURN 1"}])


def test_small_graphs_are_not_judged_by_shares(tmp_path):
    night(tmp_path, books(3))
    assert night(tmp_path, books(2), config(min_count=1000)).changed
