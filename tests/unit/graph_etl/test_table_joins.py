import polars as pl
import pytest
import shop_tables

from graph_etl.dataset_config import DatasetConfig
from graph_etl.errors import DataError
from graph_etl.pipeline import build
from graph_etl.snapshot import load_snapshot
from graph_etl.table_config import TableConfig
from graph_etl.tables import TableReader

BOOKS = pl.DataFrame({"isbn": ["b1", "b2", "b3"], "price": [3.0, 4.0, 5.0]})
TEXTS = pl.DataFrame(
    {"book": [" b2 ", "b1", "b9", None], "blurb": ["Matchmaking.", "Sand.", "?", "-"]}
)


def read(tmp_path, asked=None, texts=TEXTS, **join):
    join = {"table": "texts", "key": "isbn", "other_key": "book", **join}
    table = TableConfig.model_validate(
        {
            "path": "books",
            "join": [join],
            "derive": {"first": {"column": "blurb", "extract": r"^(\w+)"}},
        }
    )
    return TableReader(tmp_path, {"books": BOOKS, "texts": texts}).read(table, asked)


def test_columns_of_the_second_table_stand_beside_those_of_the_first(tmp_path):
    found = read(tmp_path)
    assert found.frame.rows() == [
        ("b1", 3.0, "Sand.", "Sand"),
        ("b2", 4.0, "Matchmaking.", "Matchmaking"),
        ("b3", 5.0, None, None),
    ]
    assert found.notes == {"rows without a partner in texts": 1}


def test_columns_are_chosen_and_missing_ones_named(tmp_path):
    more = TEXTS.with_columns(price=pl.lit("dear"))
    assert read(tmp_path, ["price", "first"], more, columns=["blurb"]).frame["price"][0] == 3.0
    with pytest.raises(DataError, match=r"Expected columns of texts that books has not"):
        read(tmp_path, texts=more)
    with pytest.raises(DataError, match="Expected a column 'isbm' in books to join"):
        read(tmp_path, key="isbm")
    with pytest.raises(DataError, match="Expected a column 'title' in books"):
        read(tmp_path, ["title"])


def test_a_key_that_stands_twice_is_refused(tmp_path):
    twice = pl.concat([TEXTS, TEXTS.tail(3)])
    with pytest.raises(DataError, match=r"each 'book' once in texts, got 'b1' again \(4 such rows"):
        read(tmp_path, texts=twice)


def test_tables_that_share_no_key_are_refused(tmp_path):
    with pytest.raises(DataError, match="whose 'price' stands under 'book' in texts, got none; '3"):
        read(tmp_path, key="price")


def test_either_table_changes_the_checksum(tmp_path):
    digests = {read(tmp_path).digest, read(tmp_path, texts=TEXTS.reverse()).digest}
    assert len(digests) == 2


def test_a_catalogue_in_two_files_is_built_with_its_texts(tmp_path):
    shop = shop_tables.write(tmp_path)
    (shop / "subtitles.csv").write_text("book,subtitle\nb1,The first\nb3,The last\n")
    content = shop_tables.content()
    content["items"]["table"] = {
        "path": "books.csv",
        "join": [{"table": "subtitles.csv", "key": "isbn", "other_key": "book"}],
    }
    content["items"]["text"] = ["title", "{subtitle}"]
    result = build(DatasetConfig.model_validate(content), out=tmp_path / "out", data=shop)
    snapshot = load_snapshot(result.pointer)
    assert snapshot.items["text"].to_list() == [
        "Dune. The first",
        "Emma",
        "Persuasion. The last",
        "",
    ]
    noted = snapshot.manifest["audit"]["tables"]["items"]["noted"]
    assert noted["rows without a partner in subtitles.csv"] == 2
    inputs = snapshot.manifest["inputs"]
    assert {"books.csv", "subtitles.csv"} <= set(inputs)
