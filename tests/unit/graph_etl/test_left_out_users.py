"""Users who are left out of a build: as if no table and no log had ever held them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import shop_tables

from graph_etl.extra_interactions import COLUMNS
from graph_etl.pipeline import BuildResult, build


def built(
    folder: Path, leave_out: set[str], extra: pl.DataFrame | None = None, **texts: str
) -> BuildResult:
    shop = shop_tables.write(folder)
    for name, text in texts.items():
        (shop / f"{name}.csv").write_text(text)
    return build(
        shop_tables.config(),
        out=folder / "out",
        data=shop,
        extra_interactions=extra,
        leave_out=lambda users: leave_out & set(users),
    )


def log(*users: str) -> pl.DataFrame:
    rows = [(user, "b2", "rating", 5.0, 500 + n, []) for n, user in enumerate(users)]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def without(text: str, user: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(f"{user},"))


@pytest.mark.parametrize("user", ["u1", "u3"])  # u3 stands in no table of users
def test_the_snapshot_is_that_of_tables_without_them(tmp_path: Path, user: str) -> None:
    found = built(tmp_path / "all", {user}, log(user, "new"))
    expected = built(
        tmp_path / "less",
        set(),
        log("gone", "new").filter(pl.col("user_id") != "gone"),
        orders=without(shop_tables.ORDERS, user),
        readers=without(shop_tables.READERS, user),
    )
    assert found.snapshot.snapshot_id == expected.snapshot.snapshot_id
    assert user not in found.snapshot.users["user_id"].to_list()


def test_left_out_rows_are_counted(tmp_path: Path) -> None:
    tables = built(tmp_path, {"u1", "nobody"}, log("u1", "new", "u1")).audit["tables"]
    assert tables["users"]["dropped"]["forgotten user"] == 1
    assert tables["interactions"]["dropped"]["forgotten user"] == 3
    assert tables["events"]["dropped"] == {"forgotten user": 2}
    plain = built(tmp_path / "plain", set()).audit["tables"]
    assert not any("forgotten user" in counts["dropped"] for counts in plain.values())
