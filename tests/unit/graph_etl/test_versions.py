"""The log of versions, going back, pruning, and the difference between two."""

from __future__ import annotations

import json

import polars as pl
import pytest
from night_tables import books, night
from typer.testing import CliRunner

from graph_etl.build_folder import pointer_of
from graph_etl.builds import build_into
from graph_etl.cli import app
from graph_etl.errors import SnapshotError
from graph_etl.snapshot import load_snapshot
from graph_etl.store import open_store
from graph_etl.version_diff import diff
from graph_etl.versions import HISTORY, history, prune, rollback, version_path


def renamed(number: int) -> pl.DataFrame:
    return books().with_columns(
        title=pl.when(pl.col("id") == f"b{number}").then(pl.lit("Renamed")).otherwise("title")
    )


@pytest.fixture
def three(tmp_path):
    """Three nights without a store: the ids, oldest first."""
    ids = [
        night(tmp_path, table).snapshot.snapshot_id for table in (books(), renamed(1), renamed(2))
    ]
    (tmp_path / "store").write_text("none")
    return ids


def test_history_lists_moves_newest_first(tmp_path, three):
    versions = history(tmp_path)
    assert [version.snapshot_id for version in versions] == three[::-1]
    assert [version.previous for version in versions] == [three[1], three[0], None]
    assert [version.current for version in versions] == [True, False, False]
    assert versions[0].counts["items"] == 200


def test_an_unchanged_night_adds_no_line(tmp_path, three):
    assert not night(tmp_path, renamed(2)).changed
    assert len(history(tmp_path)) == 3


def test_a_move_whose_line_was_lost_is_logged_by_the_next_build(tmp_path, three):
    log = pointer_of(tmp_path).parent / HISTORY
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:2]) + lines[2][:30])  # killed in the middle of the line
    night(tmp_path, renamed(2))
    assert [version.snapshot_id for version in history(tmp_path)] == three[::-1]


def test_a_folder_without_a_log_tells_what_stands(tmp_path, three):
    (pointer_of(tmp_path).parent / HISTORY).unlink()
    (only,) = history(tmp_path)
    assert (only.snapshot_id, only.previous, only.current) == (three[2], three[1], True)
    assert prune(tmp_path, 1) == tuple(sorted(three[:2]))


def test_rollback_goes_one_back_and_by_name(tmp_path, three):
    assert rollback(tmp_path).snapshot_id == three[1]
    assert load_snapshot(pointer_of(tmp_path)).snapshot_id == three[1]
    assert rollback(tmp_path, three[0][:14]).action == "rollback"
    assert load_snapshot(pointer_of(tmp_path)).snapshot_id == three[0]
    assert sum(version.current for version in history(tmp_path)) == 1


def test_rollback_mirrors_the_version_in_the_store(tmp_path):
    with open_store("kglite", tmp_path) as store:
        night(tmp_path, books(), store=store)
        night(tmp_path, renamed(1), store=store)
    rollback(tmp_path)
    with open_store("kglite", tmp_path, read_only=True) as store:
        assert store.entity("book:b1").name == "Book 1"


def test_rollback_to_a_damaged_version_changes_nothing(tmp_path, three):
    file = pointer_of(tmp_path).parent / three[0] / "triples.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(SnapshotError, match="truncated or altered"):
        rollback(tmp_path, three[0])
    assert load_snapshot(pointer_of(tmp_path)).snapshot_id == three[2]


def test_an_unknown_version_is_told(tmp_path, three):
    with pytest.raises(SnapshotError, match="got 0 of"):
        rollback(tmp_path, "snapshot-nothing")
    with pytest.raises(SnapshotError, match="got 3 of"):
        version_path(tmp_path, "snapshot-")


def test_one_version_has_no_other_to_go_back_to_or_to_differ_from(tmp_path, three):
    prune(tmp_path, 1)
    with pytest.raises(SnapshotError, match=f"another version beside the current {three[2]}"):
        rollback(tmp_path)
    assert "found none; a build whose input changed makes one" in run("diff", tmp_path, code=2)


def test_a_move_that_the_next_move_finds_unlogged_is_logged_first(tmp_path, three):
    log = pointer_of(tmp_path).parent / HISTORY
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    fourth = night(tmp_path, renamed(4)).snapshot.snapshot_id
    assert [version.snapshot_id for version in history(tmp_path)] == [fourth, *three[::-1]]


def test_a_rollback_whose_line_was_lost_is_told_as_one(tmp_path, three):
    log = pointer_of(tmp_path).parent / HISTORY
    before = log.read_text()
    rollback(tmp_path, three[0])
    log.write_text(before)
    newest = history(tmp_path)[0]
    assert (newest.action, newest.snapshot_id, newest.current) == ("rollback", three[0], True)
    assert newest.previous == three[2]


def test_prune_keeps_the_current_and_the_last(tmp_path, three):
    rollback(tmp_path, three[0])
    assert prune(tmp_path, 2) == (three[1],)
    assert [version.kept for version in history(tmp_path)] == [True, True, False, True]
    assert load_snapshot(pointer_of(tmp_path)).snapshot_id == three[0]


def test_a_build_keeps_so_many_versions(tmp_path):
    for number in range(5):
        night(tmp_path, renamed(number), keep=3)
    folders = list(pointer_of(tmp_path).parent.glob("snapshot-*"))
    assert len(folders) == 3


def test_diff_counts_and_shows_by_type(tmp_path):
    old = night(tmp_path, books()).snapshot
    new = night(
        tmp_path,
        renamed(3).filter(pl.col("id") != "b9").vstack(
            pl.DataFrame({"id": ["c1"], "title": ["New"], "maker": ["Maker 1"], "topic": ["Art"]})
        ),
    ).snapshot  # fmt: skip
    found = diff(old, new)
    entities = {part.name: part for part in found.entities}
    assert (entities["book"].added, entities["book"].removed, entities["book"].changed) == (1, 1, 1)
    assert entities["book"].unchanged == 198
    assert entities["book"].samples["changed"] == ("Book 3 => Renamed (book:b3)",)
    assert entities["topic"].added == 1
    assert entities["maker"].unchanged == 40
    triples = {part.name: part for part in found.triples}
    made = triples["book made_by maker"]
    assert (made.added, made.removed) == (1, 1)
    assert made.samples == {"added": ("New -> Maker 1",), "removed": ("Book 9 -> Maker 9",)}
    assert found.tables["items"] == (200, 200)


def test_a_triple_keeps_the_run_that_first_said_it(tmp_path):
    first = night(tmp_path, books()).snapshot
    more = pl.DataFrame({"id": ["c1"], "title": ["New"], "maker": ["Maker 1"], "topic": ["Art"]})
    second = night(tmp_path, books().vstack(more)).snapshot
    runs = first.manifest["run_ids"]
    counts = dict(second.triples["run_id"].value_counts().iter_rows())
    assert {run: counts[run] for run in runs} == {runs[0]: 400}
    assert sorted(counts.values()) == [2, 400]
    (tmp_path / "s").mkdir()
    with open_store("kglite", tmp_path / "s") as store:
        night(tmp_path / "s", books(), store=store)
        assert night(tmp_path / "s", books().vstack(more), store=store).store.writes == 4


def test_nothing_differs_from_itself(tmp_path):
    snapshot = night(tmp_path, books()).snapshot
    found = diff(snapshot, snapshot)
    assert all(
        (part.added, part.removed, part.changed) == (0, 0, 0)
        for part in (*found.entities, *found.triples)
    )


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_commands_show_go_back_and_prune(tmp_path, three):
    shown = run("history", tmp_path)
    assert shown.splitlines()[0].startswith("* ")
    assert three[0] in shown
    assert "changed: Book 2 => Renamed (book:b2)" in run("diff", tmp_path)
    assert "entities  book: 2 changed, 198 unchanged" in run("diff", tmp_path)
    assert "triples   unchanged: book is_about topic, book made_by maker" in run("diff", tmp_path)
    assert "rows      items: 200, as many as before" in run("diff", tmp_path)
    record = json.loads(run("diff", tmp_path, three[0], three[1], "--json"))
    assert (record["old"], record["new"]) == (three[0], three[1])
    assert three[1] in run("rollback", tmp_path)
    assert json.loads(run("history", tmp_path, "--json"))["versions"][0]["action"] == "rollback"
    assert run("prune", tmp_path, "--keep", "1").count("deleted") == 2


def test_the_command_build_takes_a_gate_with_a_reason_only(tmp_path, shop_folder):
    assert "--reason" in run("build", shop_folder, "--out", tmp_path / "o", "--accept-gate",
                             "count_drop", code=2)  # fmt: skip


@pytest.fixture
def shop_folder(tmp_path):
    import shop_tables

    folder = shop_tables.write(tmp_path / "shop")
    (folder / "dataset.yaml").write_text(json.dumps(shop_tables.content()))
    build_into(folder, out=tmp_path / "o", store_name="none")
    return folder
