import hashlib
import json

import polars as pl
import pytest
import shop_tables

from graph_etl.errors import SnapshotError
from graph_etl.pipeline import build
from graph_etl.snapshot import TABLES, load_snapshot, publish_snapshot, write_snapshot

FILES = [*(f"{name}.parquet" for name in TABLES), "manifest.json", "manifest.json.sha256"]


@pytest.fixture
def built(tmp_path):
    shop = shop_tables.write(tmp_path / "shop")
    return build(shop_tables.config(), out=tmp_path / "out", data=shop)


def tables(snapshot):
    return {name: getattr(snapshot, name) for name in TABLES}


def test_what_is_written_is_read_back(built, tmp_path):
    again = write_snapshot(tables(built.snapshot), tmp_path / "copy", {"dataset": {"name": "x"}})
    assert again.snapshot_id == built.snapshot.snapshot_id
    for name in TABLES:
        assert getattr(again, name).equals(getattr(built.snapshot, name))
    publish_snapshot(again, tmp_path / "copy" / "current")
    assert load_snapshot(tmp_path / "copy" / "current").manifest["dataset"] == {"name": "x"}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_a_flipped_byte_is_refused_and_the_file_named(built, file, where):
    path = built.snapshot.path / file
    content = bytearray(path.read_bytes())
    position = where if where in (0, -1) else len(content) // 2
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=file.removesuffix(".sha256")):
        load_snapshot(built.snapshot.path)


@pytest.mark.parametrize("file", FILES)
def test_a_truncated_file_is_refused(built, file):
    path = built.snapshot.path / file
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SnapshotError, match=r"truncated or altered; rebuild it"):
        load_snapshot(built.pointer)


@pytest.mark.parametrize("file", FILES)
def test_an_absent_file_is_refused(built, file):
    (built.snapshot.path / file).unlink()
    with pytest.raises(SnapshotError, match=f"Expected the file .*{file}, found none"):
        load_snapshot(built.snapshot.path)


def test_another_schema_version_is_refused(built):
    path = built.snapshot.path / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"schema_version": 99}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (built.snapshot.path / "manifest.json.sha256").write_text(digest)
    with pytest.raises(SnapshotError, match="schema version 1, got 99"):
        load_snapshot(built.snapshot.path)


def test_a_wrong_pointer_is_refused(built, tmp_path):
    built.pointer.write_text("snapshot-gone")
    with pytest.raises(SnapshotError, match="Expected '<folder> <sha256>' in the pointer file"):
        load_snapshot(built.pointer)
    built.pointer.write_text("snapshot-gone 00")
    with pytest.raises(SnapshotError, match=r"snapshot-gone/manifest\.json, found none"):
        load_snapshot(built.pointer)
    with pytest.raises(SnapshotError, match=r"pointer file at .*nowhere, found none"):
        load_snapshot(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("triples", "head_idx", 999),
        ("triples", "tail_idx", -1),
        ("triples", "relation_idx", 7),
        ("items", "entity_idx", 11),
        ("interactions", "user_idx", 4),
        ("interactions", "item_idx", None),
    ],
)
def test_dangling_indexes_are_never_written(built, tmp_path, table, column, value):
    frames = tables(built.snapshot)
    frame = frames[table]
    bad = pl.Series(column, [value, *frame[column][1:]], dtype=frame.schema[column])
    frames[table] = frame.with_columns(bad)
    with pytest.raises(SnapshotError, match=f"column '{column}' of table '{table}'.*to lie in"):
        write_snapshot(frames, tmp_path / "other", {})
    assert not list((tmp_path / "other").glob("*"))


def test_indexes_that_are_not_dense_types_and_absent_tables_are_refused(built, tmp_path):
    frames = tables(built.snapshot)
    shifted = frames["items"].with_columns(pl.col("item_idx") + 1)
    with pytest.raises(SnapshotError, match=r"'item_idx' of table 'items'.*0\.\.n-1 in order"):
        write_snapshot({**frames, "items": shifted}, tmp_path / "other", {})
    typed = frames["users"].with_columns(pl.col("user_id").cast(pl.Categorical))
    with pytest.raises(SnapshotError, match="'user_id' of type String in table 'users'"):
        write_snapshot({**frames, "users": typed}, tmp_path / "other", {})
    del frames["entities"]
    with pytest.raises(SnapshotError, match="Expected a table 'entities'"):
        write_snapshot(frames, tmp_path / "other", {})
