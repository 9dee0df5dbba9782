import polars as pl
import pytest
import shop_tables

from graph_etl.audit import BuildAudit, TableAudit
from graph_etl.catalogue import read_catalogue, read_users
from graph_etl.dataset_config import ItemsConfig, UsersConfig
from graph_etl.errors import DataError
from graph_etl.pipeline import build
from graph_etl.tables import TableReader


def catalogue(frame, **fields):
    audit = TableAudit()
    config = ItemsConfig.model_validate({"table": "t", "id": "id", **fields})
    found = read_catalogue(config, TableReader("", {"t": pl.DataFrame(frame)}), ["n/a"], audit)
    assert audit.rows_in == audit.rows_kept + sum(audit.dropped.values())
    return found, audit


def users(frame, **fields):
    audit = TableAudit()
    config = UsersConfig.model_validate({"table": "t", "id": "id", **fields})
    return read_users(config, TableReader("", {"t": pl.DataFrame(frame)}), ["n/a"], audit), audit


def test_a_duplicate_item_id_is_refused_by_file_column_and_rows(tmp_path):
    books = "isbn,title,author,subjects,pages,blurb\nb1,A,,,,\nb2,B,,,,\n b1 ,C,,,,\n"
    shop = shop_tables.write(tmp_path, books=books)
    with pytest.raises(
        DataError,
        match=r"Expected each 'isbn' of books\.csv once, got 'b1' in rows 1, 3 .*1 ids repeat.*"
        "keep one row",
    ):
        build(shop_tables.config(), out=tmp_path / "out", data=shop)


def test_a_duplicate_user_id_is_refused():
    with pytest.raises(DataError, match="Expected each 'id' of t once, got '7' in rows 1, 2"):
        users({"id": [7, 7, 8]})


def test_rows_that_are_copies_count_once_where_the_config_says_so():
    frame = {
        "id": ["a", "b", "a", "a"],
        "title": ["x", "y", "x", "x"],
        "tags": [["p"], [], ["p"], ["p"]],
    }
    attributes = [{"column": "tags", "relation": "has_tag", "entity_type": "tag"}]
    with pytest.raises(DataError, match=r"in rows 1, 3, 4 .*'copies: drop'"):
        catalogue(frame, attributes=attributes)
    found, audit = catalogue(frame, attributes=attributes, copies="drop")
    assert found.items["item_id"].to_list() == ["a", "b"]
    assert found.rows.rows() == [(0, "a"), (1, "b")]
    assert audit.dropped == {"exact duplicate": 2}


def test_copies_beside_a_row_that_differs_are_refused():
    with pytest.raises(DataError, match="Expected each 'id' of t once, got 'a' in rows 1, 2, 3"):
        catalogue({"id": ["a", "a", "a"], "title": ["x", "x", "y"]}, copies="drop")


def test_rows_without_an_id_are_dropped_with_a_count():
    found, audit = catalogue({"id": ["a", "", None, " "], "title": ["x", "y", "z", "w"]})
    assert found.items["item_id"].to_list() == ["a"]
    assert audit.dropped == {"empty id": 3}
    assert found.rows.rows() == [(0, "a")]


@pytest.mark.parametrize("column", [[1, 2], [1.0, 2.0], ["1", "2 "]])
def test_ids_of_any_kind_are_text(column):
    assert catalogue({"id": column, "title": ["x", "y"]})[0].items["item_id"].to_list() == [
        "1",
        "2",
    ]


def test_a_catalogue_without_titles_is_named_by_its_ids():
    found, audit = catalogue({"id": ["a", "b"], "color": ["red", "blue"]})
    assert found.items["title"].to_list() == ["a", "b"]
    assert found.items["text"].to_list() == ["", ""]
    assert audit.repaired == {"no column of titles, the id stands for it": 2}


def test_a_title_that_is_named_has_to_be_there():
    with pytest.raises(DataError, match="Expected a column 'name' in t, got id"):
        catalogue({"id": ["a"]}, title="name")


def test_a_year_zero_is_no_year_and_a_price_is_a_number():
    frame = {
        "id": ["a", "b", "c", "d"],
        "y": ["1999", "0", "", "2000.0"],
        "price": ["$1,299.00", "25 €", "$5 - $9", "7"],
    }
    found, audit = catalogue(frame, year="y", numeric=["price"])
    assert found.items["year"].to_list() == [1999, None, None, 2000]
    assert found.items["numeric.price"].to_list() == [1299.0, 25.0, None, 7.0]
    assert audit.repaired["no finite number in 'price', left unknown"] == 1


def test_an_empty_title_is_repaired_to_the_id():
    found, audit = catalogue({"id": ["a", "b", "c"], "title": ["  Two  words ", None, "N/A"]})
    assert found.items["title"].to_list() == ["Two words", "b", "c"]
    assert audit.repaired == {"empty title, the id stands for it": 2}


def test_the_title_is_the_first_column_that_exists():
    found, _ = catalogue({"id": ["a"], "name": ["x"]}, title=["title", "name", "id"])
    assert found.items["title"].to_list() == ["x"]
    with pytest.raises(
        DataError, match=r"column 'titel' in t, got id, title \(did you mean 'title"
    ):
        catalogue({"id": ["a"], "title": ["x"]}, title="titel")


def test_text_leaves_out_pieces_with_nothing_in_them():
    frame = {
        "id": ["a", "b", "c"],
        "title": ["Heat!", "Alien", "Solaris"],
        "plot": ["A thief", " ", "n/a"],
        "cast": [["Al", "Bob"], [], ["Donatas", "n/a"]],
        "year": [1995, None, 1972],
    }
    found, _ = catalogue(frame, text=["title", "plot", "With {cast} ({year})"])
    assert found.items["text"].to_list() == [
        "Heat! A thief. With Al, Bob (1995)",
        "Alien",
        "Solaris. With Donatas (1972)",
    ]
    assert catalogue(frame)[0].items["text"].to_list() == frame["title"]
    assert catalogue(frame, text=["plot"])[1].noted == {"items without text": 2}
    with pytest.raises(DataError, match="column 'casts' in t"):
        catalogue(frame, text=["{casts}"])


def test_numbers_are_finite_or_unknown():
    found, audit = catalogue(
        {"id": list("abcde"), "title": list("abcde"), "price": ["1.5", "", "inf", "free", "nan"]},
        numeric=["price"],
    )
    assert found.items["numeric.price"].to_list() == [1.5, None, None, None, None]
    assert audit.repaired == {"no finite number in 'price', left unknown": 3}


def test_years_are_whole_numbers():
    found, _ = catalogue({"id": ["a", "b"], "title": ["x", "y"], "y": ["1995", "?"]}, year="y")
    assert found.items["year"].to_list() == [1995, None]


def test_users_with_profiles_attributes_and_numbers():
    frame = {"id": [1, 2], "age": [30, None], "jobs": [["smith", "poet"], []]}
    found, _ = users(frame, profile="{age} years, {jobs}", attributes=["jobs"], numeric=["age"])
    assert found.rows() == [
        ("1", "30 years, smith, poet", "smith, poet", 30.0),
        ("2", "", "", None),
    ]


def test_users_without_a_profile_template_are_described_by_their_attributes():
    frame = {"id": ["u"], "age": ["30"], "job": ["poet"]}
    assert users(frame, attributes=["job"])[0]["profile_text"].to_list() == ["poet"]
    assert users(frame)[0]["profile_text"].to_list() == [""]


def test_counts_that_do_not_add_up_are_an_error():
    audit = BuildAudit()
    audit.table("items").rows_in = 5
    audit.table("items").drop("empty id", 2)
    with pytest.raises(DataError, match=r"for 'items', got 5 != 0 \+ 2"):
        audit.check()
    audit.table("items").rows_kept = 3
    audit.check()
    assert audit.as_dict()["tables"]["items"]["dropped"] == {"empty id": 2}
