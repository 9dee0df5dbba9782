"""Vectors of items from a table of their own: read, checked, counted, carried by the snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import shop_tables

from graph_etl.dataset_config import DatasetConfig
from graph_etl.dataset_yaml import dataset_config_from
from graph_etl.errors import DataError, SnapshotError
from graph_etl.pipeline import BuildResult, build
from graph_etl.snapshot import VECTOR, load_snapshot
from kgrec.data.dataset import dataset_from_snapshot

VECTORS = pl.DataFrame(
    {"isbn": ["b3", "b1", "b9"], "picture": np.array([[0.5, -1.0], [2.0, 0.25], [1.0, 1.0]])}
)


def config(**section: Any) -> DatasetConfig:
    fields = shop_tables.content()
    fields["items"]["vectors"] = {
        "table": "pictures", "id": "isbn", "vector": "picture", **section
    }  # fmt: skip
    return dataset_config_from(fields, "the test")


def built(folder: Path, pictures: pl.DataFrame = VECTORS, **section: Any) -> BuildResult:
    shop = shop_tables.write(folder)
    asked = config(**section)
    return build(asked, out=folder / "out", data=shop, sources={"pictures": pictures})


def vectors_of(result: BuildResult) -> dict[str, list[float] | None]:
    items = result.snapshot.items
    return dict(zip(items["item_id"], items[VECTOR].to_list(), strict=True))


def test_vectors_stand_beside_their_items_and_the_rest_is_counted(tmp_path: Path) -> None:
    result = built(tmp_path)
    assert vectors_of(result) == {"b1": [2.0, 0.25], "b2": None, "b3": [0.5, -1.0], "b4": None}
    counts = result.snapshot.manifest["audit"]["tables"]["items.vectors"]
    assert (counts["rows_in"], counts["rows_kept"]) == (3, 2)
    assert counts["dropped"] == {"unknown item": 1}
    assert counts["noted"] == {"items without a vector": 2}


def test_the_dataset_has_zeros_where_an_item_has_none(tmp_path: Path) -> None:
    items = dataset_from_snapshot(built(tmp_path).snapshot).items
    assert items.vectors is not None
    assert items.vectors.dtype == np.float32
    np.testing.assert_array_equal(items.vectors, [[2.0, 0.25], [0, 0], [0.5, -1.0], [0, 0]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", 'isbn,picture\nb1,2 0.25\nb3,"[0.5, -1]"\nb2,\n'),
        ("p.jsonl", '{"isbn": "b1", "picture": [2, 0.25]}\n{"isbn": "b3", "picture": [0.5, -1]}\n'),
        ("p.item", "isbn:token\tpicture:float_seq\nb1\t2 0.25\nb3\t0.5 -1\n"),
    ],
)
def test_files_of_every_kind_give_the_same_snapshot(tmp_path: Path, name: str, text: str) -> None:
    expected = built(tmp_path / "frame").snapshot.snapshot_id
    shop = shop_tables.write(tmp_path / "file")
    (shop / name).write_text(text)
    found = build(config(table=name), out=tmp_path / "out", data=shop)
    assert found.snapshot.snapshot_id == expected


def test_a_snapshot_without_vectors_is_what_it_was(tmp_path: Path) -> None:
    plain = build(shop_tables.config(), out=tmp_path / "a", data=shop_tables.write(tmp_path))
    absent = build(
        config(table={"path": "none.csv", "optional": True}), out=tmp_path / "b", data=tmp_path
    )
    assert absent.snapshot.snapshot_id == plain.snapshot.snapshot_id
    assert VECTOR not in plain.snapshot.items.columns
    assert dataset_from_snapshot(plain.snapshot).items.vectors is None
    # neither do vectors touch anything but the table of items
    with_them = built(tmp_path / "with").snapshot
    for name in ("entities", "triples", "users", "interactions", "relation_types"):
        assert with_them.manifest["files"][name] == plain.snapshot.manifest["files"][name]
    assert with_them.snapshot_id != plain.snapshot.snapshot_id


def test_a_run_of_table_statements_is_named_as_before_there_were_vectors(tmp_path: Path) -> None:
    """The id holds every setting of the section but this one; it stands in each triple."""
    from graph_etl.attributes import run_id_of

    items = shop_tables.config().items
    told = json.loads(items.model_dump_json())
    assert told.pop("vectors") is None
    assert run_id_of(["x"], items) == run_id_of(["x"], config().items)


def test_an_altered_vector_is_refused(tmp_path: Path) -> None:
    snapshot = built(tmp_path).snapshot
    file = snapshot.path / "items.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(SnapshotError, match=r"items\.parquet"):
        load_snapshot(snapshot.path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"isbn": ["b1", "b1"], "picture": [[1.0], [2.0]]}, r"got 'b1' in rows 1, 2 "),
        (
            {"isbn": ["b1", "b2"], "picture": [[1.0, 2.0], [1.0]]},
            "vectors of one length .* got 2 numbers in row 1 and 1 in row 2",
        ),
        ({"isbn": ["b1", "b2"], "picture": [[1.0], [float("nan")]]}, "finite numbers .* in row 2"),
        ({"isbn": ["b1"], "picture": ["one two"]}, "finite numbers .* in row 1"),
        ({"isbn": ["b1"], "picture": [1.0]}, "a list of numbers, .* got Float64"),
        ({"isbn": ["x"], "picture": [[1.0]]}, "got none of 1 rows .*'unknown item': 1"),
        ({"isbn": ["b1"], "picture": [[0.0, 0.0]]}, "got none .*'a vector of zeros': 1"),
        ({"isbn": [""], "picture": [[1.0]]}, "got none .*'empty id': 1"),
        ({"isbn": ["b1"], "image": [[1.0]]}, "a column 'picture' in pictures, got isbn, image"),
    ],
)
def test_vectors_that_cannot_be_are_refused(
    tmp_path: Path, rows: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        built(tmp_path, pl.DataFrame(rows))
