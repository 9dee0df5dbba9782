"""Interactions of a log beside the tables: same rules, own counts, nothing lost in silence."""

from __future__ import annotations

import polars as pl
import pytest
import shop_tables

from graph_etl.errors import ConfigError, DataError
from graph_etl.extra_interactions import COLUMNS
from graph_etl.pipeline import build


def log(*rows, **columns):
    """Rows of user, item, event, value, time and context pairs as a frame."""
    found = [
        (user, item, event, value, time, [{"name": n, "value": v} for n, v in context.items()])
        for user, item, event, value, time, context in rows
    ]
    return pl.DataFrame(found, schema=COLUMNS, orient="row").with_columns(**columns)


def built(tmp_path, extra, **interactions):
    shop = shop_tables.write(tmp_path)
    config = shop_tables.config(**interactions)
    return build(config, out=tmp_path / "out", data=shop, extra_interactions=extra)


def told(result):
    rows = result.snapshot.interactions
    users, items = result.snapshot.users, result.snapshot.items
    joined = rows.join(users, on="user_idx").join(items, on="item_idx")
    return set(joined.select("user_id", "item_id", "event", "value", "timestamp").rows())


def test_events_come_beside_the_tables_by_the_same_rules(tmp_path):
    plain = built(tmp_path / "plain", None)
    extra = log(
        ("u1", "b3", "rating", 4.0, 500, {}),
        ("new", "b2", "rating", 2.0, 510, {}),
        ("u1", "b2", "click", None, 520, {}),
    )
    result = built(tmp_path / "logged", extra)
    assert told(result) - told(plain) == {
        ("u1", "b3", "rating", 4.0, 500),
        ("new", "b2", "rating", 2.0, 510),
        ("u1", "b2", "click", None, 520),
    }
    assert told(plain) < told(result)
    new = result.snapshot.interactions.tail(3)
    assert new["positive"].to_list() == [True, False, False]
    counts = result.audit["tables"]["events"]
    assert (counts["rows_in"], counts["rows_kept"], counts["dropped"]) == (3, 3, {})
    tables = plain.audit["tables"]["interactions"]
    assert result.audit["tables"]["interactions"]["rows_kept"] == tables["rows_kept"]
    assert "events" not in plain.audit["tables"]


@pytest.mark.parametrize("rule", ["drop", "refuse"])
def test_an_unknown_item_of_the_log_is_dropped_and_counted(tmp_path, rule):
    orders = "customer,isbn,stars,at\nu1,b1,5,100\nu1,b2,2,200\n"
    shop = shop_tables.write(tmp_path, orders=orders)
    config = shop_tables.config(**{"unknown_items": rule})
    extra = log(("u1", "gone", "rating", 5.0, 1, {}), ("u1", "b3", "rating", 5.0, 2, {}))
    result = build(config, out=tmp_path / "out", data=shop, extra_interactions=extra)
    counts = result.audit["tables"]["events"]
    assert (counts["rows_kept"], counts["dropped"]) == (1, {"unknown item": 1})


def test_an_unknown_item_of_the_log_is_added_where_the_data_set_says_so(tmp_path):
    extra = log(("u1", "b99", "rating", 5.0, 1, {}))
    result = built(tmp_path, extra, unknown_items="add")
    assert "b99" in result.snapshot.items["item_id"].to_list()
    assert result.audit["tables"]["events"]["rows_kept"] == 1


def test_an_event_that_stands_in_the_tables_word_for_word_counts_once(tmp_path):
    plain = built(tmp_path / "plain", None)
    same = ("u1", "b1", "rating", 5.0, 100, {})
    extra = log(same, same, ("u1", "b1", "rating", 5.0, 101, {}))
    result = built(tmp_path / "logged", extra)
    assert told(result) - told(plain) == {("u1", "b1", "rating", 5.0, 101)}
    assert result.audit["tables"]["events"]["dropped"] == {"exact duplicate": 2}


def test_empty_ids_are_dropped_and_counted(tmp_path):
    extra = log((" ", "b1", "click", None, 1, {}), ("u1", "", "click", None, 1, {}))
    counts = built(tmp_path, extra).audit["tables"]["events"]
    assert counts["dropped"] == {"empty user id": 1, "empty item id": 1}


def test_circumstances_that_the_data_set_names_are_kept(tmp_path):
    orders = "customer,isbn,stars,at,device\nu1,b1,5,100,phone\n"
    shop = shop_tables.write(tmp_path, orders=orders)
    config = shop_tables.config(**{"context": ["device"]})
    extra = log(
        ("u1", "b2", "click", None, 1, {"page": "x", "device": "desk"}),
        ("u1", "b3", "click", None, 1, {}),
    )
    result = build(config, out=tmp_path / "out", data=shop, extra_interactions=extra)
    assert result.snapshot.interactions["context.device"].to_list() == ["phone", "desk", None]


def test_no_events_change_nothing(tmp_path):
    plain = built(tmp_path / "plain", None)
    empty = built(tmp_path / "empty", log())
    assert empty.snapshot.snapshot_id == plain.snapshot.snapshot_id
    assert empty.audit["tables"]["events"]["rows_in"] == 0


def test_a_frame_of_another_form_is_refused(tmp_path):
    with pytest.raises(DataError, match="Expected a column 'value' of type Float64 in the extra"):
        built(tmp_path, log(value=pl.lit("five")))


def test_events_have_no_place_among_published_splits(tmp_path):
    shop = shop_tables.write(tmp_path)
    split = {"table": None, "splits": {"train": "orders.csv"}}
    config = shop_tables.config(**split)
    with pytest.raises(ConfigError, match=r"without 'interactions\.splits'"):
        build(config, out=tmp_path / "out", data=shop, extra_interactions=log())
