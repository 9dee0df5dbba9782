import polars as pl
import pytest
import shop_tables

from graph_etl.audit import BuildAudit, TableAudit
from graph_etl.dataset_config import InteractionsConfig
from graph_etl.errors import ConfigError, DataError
from graph_etl.interactions import read_interactions
from graph_etl.tables import TableReader


def read(tmp_path, log, sources=None, **fields):
    """Read one log (a dict of columns or a frame), or tables of ``sources``."""
    if isinstance(log, dict):
        log = pl.DataFrame(log, strict=False)
    frames = {"log": log, **(sources or {})}
    audit = TableAudit()
    config = InteractionsConfig.model_validate({"table": "log", **fields})
    rows = read_interactions(config, TableReader(tmp_path, frames), audit)
    audit.rows_kept = rows.height
    book = BuildAudit()
    book.tables["interactions"] = audit
    book.check()
    return rows, audit


BASE = {"user_id": ["u", "v", "w"], "item_id": ["a", "b", "c"]}


@pytest.mark.parametrize("bad", ["NaN", "", "inf", "yesterday", None])
def test_a_bad_timestamp_is_refused_by_row_and_column(tmp_path, bad):
    log = {**BASE, "at": ["1", bad, "3"]}
    with pytest.raises(DataError, match=r"Expected a time in column 'at' of log, got .* in row 2 "
                                        r".*1 such rows\).*bad_timestamps: drop"):  # fmt: skip
        read(tmp_path, log, timestamp="at")
    rows, audit = read(tmp_path, log, timestamp="at", bad_timestamps="drop")
    assert rows["timestamp"].to_list() == [1, 3]
    assert audit.dropped == {"bad timestamp": 1}


def test_a_nan_timestamp_of_a_number_column_is_refused_in_a_build(tmp_path):
    from graph_etl.pipeline import build

    shop = shop_tables.write(tmp_path, orders="customer,isbn,stars,at\nu1,b1,5,7\nu1,b2,5,NaN\n")
    with pytest.raises(DataError, match=r"column 'at' of orders\.csv, got 'NaN' in row 2"):
        build(shop_tables.config(), out=tmp_path / "out", data=shop)
    frame = pl.DataFrame({**BASE, "at": [1.0, float("nan"), 3.0]})
    with pytest.raises(DataError, match=r"column 'at' of log, got nan in row 2"):
        read(tmp_path, frame, timestamp="at")


@pytest.mark.parametrize(
    ("unit", "cells", "seconds"),
    [
        ("seconds", ["881250949", "881250949.75", " 5 "], [881250949, 881250949, 5]),
        ("milliseconds", ["1700000000999", "0", "1000"], [1700000000, 0, 1]),
        (
            "iso",
            ["1970-01-02", "1970-01-01T00:01:00Z", "1970-01-01 01:00:30+01:00"],
            [86400, 60, 30],
        ),
        ("iso", ["1970-01-01T00:00:01.500", "1970-01-01 00:00:02", "1970-01-01T00:01"], [1, 2, 60]),
    ],
)
def test_units_of_time(tmp_path, unit, cells, seconds):
    rows, _ = read(tmp_path, {**BASE, "at": cells}, timestamp={"column": "at", "unit": unit})
    assert rows["timestamp"].to_list() == seconds


def test_dates_of_another_form_and_of_typed_columns(tmp_path):
    rows, _ = read(
        tmp_path,
        {**BASE, "at": ["02.01.1970", "03.01.1970", "04.01.1970"]},
        timestamp={"column": "at", "unit": "iso", "format": "%d.%m.%Y"},
    )
    assert rows["timestamp"].to_list() == [86400, 172800, 259200]
    typed = pl.DataFrame(BASE).with_columns(at=pl.date(1970, 1, 2))
    assert read(tmp_path, typed, timestamp="at")[0]["timestamp"].to_list() == [86400] * 3


def test_milliseconds_that_are_called_seconds_are_noticed(tmp_path):
    log = {**BASE, "at": ["1700000000000"] * 3}
    with pytest.raises(ConfigError, match="got 1700000000000; say 'unit: milliseconds'"):
        read(tmp_path, log, timestamp="at")
    mixed = {**BASE, "at": ["1700000000", "1700000000000", "1700000001"]}
    with pytest.raises(
        DataError, match=r"Expected a time in column 'at' .*'1700000000000' in row 2.*'format'"
    ):
        read(tmp_path, mixed, timestamp="at")


@pytest.mark.parametrize("bad", ["NaN", "five", ""])
def test_bad_values_are_dropped_kept_or_refused_as_the_config_says(tmp_path, bad):
    log = {**BASE, "stars": ["5", bad, "3"]}
    rule = {"value": "stars", "positive": {"min_value": 4}}
    rows, audit = read(tmp_path, log, **rule)
    assert rows["positive"].to_list() == [True, False]
    assert audit.dropped == {"bad value": 1}
    rows, audit = read(tmp_path, log, **rule, bad_values="keep")
    assert rows["value"].to_list() == [5.0, None, 3.0]
    assert rows["positive"].to_list() == [True, False, False]
    assert audit.repaired == {"bad value, left empty": 1}
    with pytest.raises(DataError, match=r"Expected a number in column 'stars' of log, got .*row 2"):
        read(tmp_path, log, **rule, bad_values="refuse")


def test_an_empty_value_is_no_fault_where_nothing_needs_it(tmp_path):
    log = {**BASE, "stars": ["5", "", "3"]}
    rows, audit = read(tmp_path, log, value="stars")
    assert rows["value"].to_list() == [5.0, None, 3.0]
    assert audit.dropped == {}
    assert rows["positive"].all()


def test_positive_events_with_a_least_value(tmp_path):
    log = {
        "user_id": list("uuuu"),
        "item_id": list("abcd"),
        "what": ["rating", "rating", "purchase", "view"],
        "stars": ["5", "2", "", ""],
    }
    rows, _ = read(
        tmp_path,
        log,
        value="stars",
        event={"column": "what"},
        positive={"min_value": 4, "events": ["rating", "purchase"]},
    )
    assert rows["event"].to_list() == log["what"]
    assert rows["positive"].to_list() == [True, False, True, False]


def test_context_stays_and_makes_rows_different(tmp_path):
    log = {"user_id": ["u", "u", "u"], "item_id": ["a"] * 3, "device": ["tv", "tv", "phone"]}
    rows, audit = read(tmp_path, log, context=["device"])
    assert rows["context.device"].to_list() == ["tv", "phone"]
    assert audit.dropped == {"exact duplicate": 1}


def test_lists_of_items_are_one_interaction_each(tmp_path):
    (tmp_path / "x.inter").write_text(
        "user_id:token\titem_id_list:token_seq\titem_id:token\nu\ta b\tc\nv\t\td\n"
    )
    rows, audit = read(tmp_path, {}, table="x.inter", item=["item_id_list", "item_id"])
    assert rows.select("user_id", "item_id").rows() == [
        ("u", "a"),
        ("u", "b"),
        ("u", "c"),
        ("v", "d"),
    ]
    assert audit.rows_in == 4 + audit.dropped.get("empty item id", 0)
    frame = pl.DataFrame({"user_id": [1, 2], "item_id": [[5, 6], []]})
    rows, _ = read(tmp_path, frame)
    assert rows.select("user_id", "item_id").rows() == [("1", "5"), ("1", "6")]


def test_published_splits_are_kept_as_context(tmp_path):
    frames = {
        "a": pl.DataFrame({"user_id": ["u", "u"], "item_id": ["1", "2"]}),
        "b": pl.DataFrame({"user_id": ["u", "v"], "item_id": ["2", "3"]}),
    }
    audit = TableAudit()
    config = InteractionsConfig.model_validate({"splits": {"train": "a", "test": "b"}})
    rows = read_interactions(config, TableReader(tmp_path, frames), audit)
    assert rows["context.split"].to_list() == ["train", "train", "test", "test"]
    assert audit.noted == {"pairs in more than one split": 1}


def test_several_tables_are_read_one_after_another(tmp_path):
    frames = {
        "x": pl.DataFrame({"user_id": [1], "item_id": [5.0]}),
        "y": pl.DataFrame({"user_id": ["2"], "item_id": ["6"]}),
    }
    rows, audit = read(tmp_path, {}, frames, table=["x", "y"])
    assert rows.select("user_id", "item_id").rows() == [("1", "5"), ("2", "6")]
    assert audit.rows_in == 2


def test_optional_columns_may_be_absent(tmp_path):
    fields = {"value": "rating", "timestamp": "timestamp"}
    rows, _ = read(tmp_path, BASE, **fields, optional_columns=True)
    assert rows["timestamp"].null_count() == 3
    with pytest.raises(DataError, match="Expected a column 'rating' in log"):
        read(tmp_path, BASE, **fields)
