import polars as pl
import pytest

from graph_etl.audit import TableAudit
from graph_etl.dataset_config import InteractionsConfig
from graph_etl.errors import DataError
from graph_etl.interactions import read_interactions
from graph_etl.tables import TableReader

DAY = 86_400


def rows_of(sequence, *, cut=None, places=None, user="u"):
    """Rows of a file of sequences: a target with what came before, the last first."""
    places = range(len(sequence) - 1, 0, -1) if places is None else places
    before = [sequence[:place][-cut:] if cut else sequence[:place] for place in places]
    return pl.DataFrame(
        {
            "user": [user] * len(before),
            "before": [" ".join(one) for one in before],
            "item": [sequence[place] for place in places],
        },
        schema={"user": pl.String, "before": pl.String, "item": pl.String},
    ).with_columns(pl.col("before").str.split(" "))


def read(tmp_path, frames, **config):
    audit = TableAudit()
    fields = {"user": "user", "item": "item", "earlier": "before", **config}
    table = InteractionsConfig.model_validate(fields)
    rows = read_interactions(table, TableReader(tmp_path, frames), audit)
    audit.rows_kept = rows.height
    assert audit.rows_in == rows.height + sum(audit.dropped.values())
    return rows, audit


@pytest.mark.parametrize("cut", [None, 50, 4, 3])
@pytest.mark.parametrize("backwards", [True, False])
def test_a_sequence_comes_back_whole_each_event_once(tmp_path, cut, backwards):
    sequence = [f"i{place % 9}" for place in range(12)]  # some items come again
    frame = rows_of(sequence, cut=cut)
    other = rows_of(["x", "i1", "y"], user="v")
    frame = pl.concat([frame if backwards else frame.reverse(), other])
    rows, audit = read(tmp_path, {"log": frame}, table="log")
    mine = rows.filter(user_id="u")
    assert mine["item_id"].to_list() == sequence
    assert mine["timestamp"].to_list() == [place * DAY for place in range(12)]
    assert rows.filter(user_id="v")["item_id"].to_list() == ["x", "i1", "y"]
    assert list(audit.dropped) == ["told again by another history"]


def test_parts_of_a_split_keep_their_targets_and_histories_are_train(tmp_path):
    sequence = ["a", "b", "c", "d", "e"]
    frames = {
        "train": rows_of(sequence[:3]),
        "valid": rows_of(sequence, places=[3]),
        "test": rows_of(sequence, places=[4]),
    }
    rows, _ = read(tmp_path, frames, splits={"train": "train", "valid": "valid", "test": "test"})
    found = rows.select("item_id", "context.split").rows()
    parts = ["train", "train", "train", "valid", "test"]
    assert found == list(zip(sequence, parts, strict=True))


def test_a_history_that_nothing_leads_to_stays_at_its_length(tmp_path):
    rows, _ = read(tmp_path, {"log": rows_of(list("abcdefgh"), cut=3, places=[7])}, table="log")
    assert rows["item_id"].to_list() == list("efgh")
    assert rows["timestamp"].to_list() == [0, DAY, 2 * DAY, 3 * DAY]


def test_histories_that_disagree_are_refused(tmp_path):
    frame = pl.concat([rows_of(list("abc")), rows_of(list("axcd"), places=[3])])
    with pytest.raises(DataError, match="got two items for place 2 of user 'u'"):
        read(tmp_path, {"log": frame}, table="log")


def test_empty_histories_and_empty_ids_in_them(tmp_path):
    frame = pl.DataFrame(
        {"user": ["u", "v"], "before": [None, ["a", " ", "b"]], "item": ["a", "c"]}
    )
    rows, audit = read(tmp_path, {"log": frame}, table="log")
    assert rows.select("user_id", "item_id").rows() == [
        ("u", "a"), ("v", "a"), ("v", "b"), ("v", "c"),
    ]  # fmt: skip
    assert audit.dropped == {"empty item id": 1}


def test_a_time_beside_a_history_is_refused():
    with pytest.raises(ValueError, match="no timestamp beside 'earlier'"):
        InteractionsConfig.model_validate({"table": "log", "earlier": "before", "timestamp": "at"})
