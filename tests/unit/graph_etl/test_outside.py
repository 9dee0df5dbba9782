"""Unlisted items: of the catalogue by a column, and things outside it that users met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import shop_tables

from graph_etl.dataset_config import DatasetConfig
from graph_etl.dataset_yaml import dataset_config_from
from graph_etl.errors import ConfigError, DataError
from graph_etl.pipeline import BuildResult, build

# b1 and b2 stand in the catalogue; x1 is met by two, x2 by one
BORROWED = """customer,thing,called,at
u1,x1,Solaris,120
u9,x1,Solaris,130
u1,b1,Dune,140
u2,b2,Emma,150
u2,x2,,160
"""


def config(section: dict[str, Any] | None = None, **items: Any) -> DatasetConfig:
    fields = shop_tables.content()
    fields["items"].update(items)
    if section is not None:
        table = {"table": "borrowed.csv", "user": "customer", "item": "thing", "timestamp": "at"}
        fields["outside"] = [table | section]
    return dataset_config_from(fields, "the test")


def built(folder: Path, section: dict[str, Any] | None = None, **tables: str) -> BuildResult:
    shop = shop_tables.write(folder, borrowed=tables.pop("borrowed", BORROWED), **tables)
    return build(config(section), out=folder / "out", data=shop)


def pairs(result: BuildResult) -> set[tuple[str, str]]:
    snapshot = result.snapshot
    users, items = snapshot.users["user_id"], snapshot.items["item_id"]
    rows = snapshot.interactions.select("user_idx", "item_idx").rows()
    return {(users[user], items[item]) for user, item in rows}


def test_things_outside_the_catalogue_become_unlisted_items(tmp_path: Path) -> None:
    result = built(tmp_path, {"title": "called", "min_users": 1})
    items = result.snapshot.items
    assert items.filter(~items["listed"]).select("item_id", "title", "text").rows() == [
        ("x1", "Solaris", "Solaris"),
        ("x2", "x2", ""),
    ]
    assert items.filter("listed")["item_id"].to_list() == ["b1", "b2", "b3", "b4"]
    assert {("u1", "x1"), ("u9", "x1"), ("u2", "x2")} <= pairs(result)
    entities = result.snapshot.entities
    assert entities.filter(entities["name"] == "Solaris")["entity_type"].to_list() == ["book"]


def test_what_they_say_of_the_catalogue_never_comes_in(tmp_path: Path) -> None:
    plain, rich = built(tmp_path / "plain"), built(tmp_path / "rich", {"min_users": 1})
    catalogue = set(plain.snapshot.items["item_id"])
    assert {pair for pair in pairs(rich) if pair[1] in catalogue} == pairs(plain)
    assert ("u2", "b2") not in pairs(rich)
    assert rich.audit["tables"]["outside.1"] == {
        "rows_in": 5, "rows_kept": 3, "dropped": {"in the catalogue": 2}, "repaired": {},
        "noted": {},
    }  # fmt: skip


def test_what_one_user_alone_met_is_left_out(tmp_path: Path) -> None:
    result = built(tmp_path, {})
    assert result.snapshot.items["item_id"].to_list() == ["b1", "b2", "b3", "b4", "x1"]
    dropped = result.audit["tables"]["outside.1"]["dropped"]
    assert dropped == {"in the catalogue": 2, "met by fewer than 2 users": 1}


def test_forgotten_users_leave_nothing_outside(tmp_path: Path) -> None:
    shop = shop_tables.write(tmp_path, borrowed=BORROWED)
    section = config({"min_users": 1})
    result = build(section, out=tmp_path / "out", data=shop, leave_out=lambda users: {"u1"})
    assert "u1" not in result.snapshot.users["user_id"].to_list()
    assert result.audit["tables"]["outside.1"]["dropped"]["forgotten user"] == 2


def test_a_snapshot_without_unlisted_items_is_as_it_was(tmp_path: Path) -> None:
    assert "listed" not in built(tmp_path).snapshot.items.columns


def test_a_section_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"section 1 of 'outside', got none of 5 rows"):
        built(tmp_path, {"min_users": 3})


def test_rows_without_a_time_beside_timed_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a time in every row of section 1 of 'outside'.* 2 rows"):
        built(tmp_path, {"timestamp": None})


def test_parts_stand_in_both_or_in_neither() -> None:
    with pytest.raises(ConfigError, match=r"'splits' both in interactions and in outside"):
        config({"table": None, "splits": {"train": "borrowed.csv"}})


def test_a_column_says_which_items_are_sold_no_longer(tmp_path: Path) -> None:
    lines = shop_tables.BOOKS.splitlines()
    sold = ["sold", "yes", "No", "", "1"]
    books = "\n".join(f"{line},{cell}" for line, cell in zip(lines, sold, strict=True))
    shop = shop_tables.write(tmp_path, books=books)
    result = build(config(listed="sold"), out=tmp_path / "out", data=shop)
    assert result.snapshot.items["listed"].to_list() == [True, False, True, True]
    assert ("u1", "b2") in pairs(result)
    assert result.audit["tables"]["items"]["noted"]["unlisted items"] == 1


def test_a_cell_that_is_neither_yes_nor_no_is_named(tmp_path: Path) -> None:
    books = shop_tables.BOOKS.replace("isbn,", "sold,isbn,").replace("\nb", "\nperhaps,b")
    shop = shop_tables.write(tmp_path, books=books)
    with pytest.raises(DataError, match=r"yes or no.*'sold' of books.csv, got 'perhaps' in row 1"):
        build(config(listed="sold"), out=tmp_path / "out", data=shop)
