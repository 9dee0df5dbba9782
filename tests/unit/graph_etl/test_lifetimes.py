"""When entities and triples were first and last seen: through nights, kills, rollbacks, pruning."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from night_tables import books, night
from typer.testing import CliRunner

from graph_etl import versions
from graph_etl.build_folder import pointer_of
from graph_etl.cli import app
from graph_etl.errors import DataError, SnapshotError
from graph_etl.lifetime_log import FOLDER, graph_keys
from graph_etl.lifetimes import gone_of, lifetimes_of, summary_of
from graph_etl.queries import Graph
from graph_etl.versions import history, prune, rollback


def without(*numbers: int) -> pl.DataFrame:
    return books(12).filter(~pl.col("id").is_in([f"b{number}" for number in numbers]))


def built(out, *tables):
    """Ids of the versions, oldest first."""
    (out / "store").write_text("none")
    return [night(out, table, gated=False).snapshot.snapshot_id for table in tables]


def of(out, entity):
    return lifetimes_of(out, entity)[0]


def gone_ids(out):
    return [one.head_id for one in gone_of(out) if one.relation is None]


def log_files(out):
    return sorted((pointer_of(out).parent / FOLDER).glob("*.parquet"))


def test_what_stands_from_the_first_version_on_is_not_older(tmp_path):
    ids = built(tmp_path, books(12))
    one = of(tmp_path, "Book 3")
    assert (one.head_id, one.first_seen, one.last_seen) == ("book:b3", ids[0], ids[0])
    assert not one.gone
    assert not one.or_earlier
    assert gone_of(tmp_path) == ()


def test_what_came_and_went_is_told_with_its_triples(tmp_path):
    ids = built(tmp_path, without(3), without(), without(5), without(3, 5))
    book, made, topic = lifetimes_of(tmp_path, "book:b3")
    assert (book.first_seen, book.last_seen, book.gone) == (ids[1], ids[2], True)
    assert (made.relation, made.tail_id, made.gone) == ("is_about", "topic:topic 3", True)
    assert topic.told == "Book 3 -> made_by -> Maker 3"
    five = of(tmp_path, "book 5")
    assert (five.first_seen, five.last_seen) == (ids[0], ids[1])
    assert five.gone_at == history(tmp_path)[1].at
    assert gone_ids(tmp_path)[:2] == ["book:b3", "maker:maker 3"]


def test_what_came_back_stands_and_was_first_seen_long_ago(tmp_path):
    ids = built(tmp_path, without(), without(3), without(4))
    one = of(tmp_path, "book:b3")
    assert (one.first_seen, one.last_seen, one.gone) == (ids[0], ids[2], False)


def test_an_unchanged_night_and_a_repeated_one_write_nothing(tmp_path):
    built(tmp_path, without(), without(3))
    before = [(file.name, file.stat().st_mtime_ns) for file in log_files(tmp_path)]
    built(tmp_path, without(3))
    assert [(file.name, file.stat().st_mtime_ns) for file in log_files(tmp_path)] == before


def test_a_night_writes_its_difference_alone(tmp_path):
    built(tmp_path, books(200), books(200).filter(pl.col("id") != "b7"))
    (file,) = log_files(tmp_path)
    rows = pl.read_parquet(file)
    assert rows.select("came", "head_id", "relation").rows() == [
        (False, "book:b7", None),
        (False, "book:b7", "made_by"),
        (False, "book:b7", "is_about"),
    ]


def test_pruned_versions_are_still_told(tmp_path):
    ids = built(tmp_path, without(), without(3), without(3, 4), without(4))
    before = gone_of(tmp_path), lifetimes_of(tmp_path, "book:b3"), summary_of(tmp_path)
    prune(tmp_path, 1)
    assert (gone_of(tmp_path), lifetimes_of(tmp_path, "book:b3"), summary_of(tmp_path)) == before
    assert before[2].since == ids[0]
    assert before[2].versions == 4


def test_a_rollback_brings_back_and_takes_away(tmp_path):
    ids = built(tmp_path, without(3), without(4))
    rollback(tmp_path)
    assert of(tmp_path, "book:b4").last_seen == ids[0]
    three = of(tmp_path, "book:b3")
    assert (three.first_seen, three.last_seen, three.gone) == (ids[1], ids[1], True)


class Killed(BaseException):
    """The process dies here."""


def killed_at(monkeypatch, name):
    def die(*_args, **_options):
        raise Killed

    monkeypatch.setattr(versions, name, die)


@pytest.mark.parametrize("step", ["_append", "log_changes"])
@pytest.mark.parametrize("then", ["same", "next", "rollback", "prune"])
def test_a_kill_after_the_pointer_moved_loses_nothing(tmp_path, monkeypatch, step, then):
    def steps(out):
        if then == "same":
            built(out, without(3, 5))
        elif then == "next":
            built(out, without(3, 5, 6), without(3, 6))
        elif then == "rollback":
            rollback(out)
        else:
            prune(out, 1)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for out in (whole, cut):
        out.mkdir()
        built(out, without(), without(3))
    built(whole, without(3, 5))
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with pytest.raises(Killed):
            built(cut, without(3, 5))
    assert facts(cut) == facts(whole)  # readers see the move that was not logged
    steps(whole)
    steps(cut)
    assert facts(cut) == facts(whole)
    assert [file.name for file in log_files(cut)] == [file.name for file in log_files(whole)]
    prune(cut, 1)
    prune(whole, 1)
    assert facts(cut) == facts(whole)


def facts(out):
    """Everything the log tells, without times of the clock."""
    moves = [(one.action, one.snapshot_id, one.previous, one.current) for one in history(out)]
    told = [
        (one.told, one.first_seen, one.last_seen, one.gone, one.or_earlier)
        for book in range(12)
        for one in lifetimes_of(out, f"book:b{book}")
    ]
    return moves, told, [one.told for one in gone_of(out)], summary_of(out).versions


def test_a_lost_file_is_derived_from_the_snapshots_that_are_there(tmp_path):
    built(tmp_path, without(), without(3), without(4))
    before = facts(tmp_path)
    names = [file.name for file in log_files(tmp_path)]
    shutil.rmtree(log_files(tmp_path)[0].parent)
    assert facts(tmp_path) == before
    prune(tmp_path, 7)
    assert [file.name for file in log_files(tmp_path)] == names


def test_what_no_file_and_no_snapshot_tells_starts_the_log_anew(tmp_path):
    ids = built(tmp_path, without(), without(3), without(4), without(4, 5))
    shutil.rmtree(log_files(tmp_path)[0].parent)
    shutil.rmtree(pointer_of(tmp_path).parent / ids[1])
    summary = summary_of(tmp_path)
    assert (summary.since, summary.versions) == (ids[2], 2)
    assert of(tmp_path, "book:b5").first_seen == ids[2]
    assert of(tmp_path, "book:b3").or_earlier


def test_a_flipped_byte_in_the_log_is_refused_with_its_name(tmp_path):
    built(tmp_path, without(), without(3))
    (file,) = log_files(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(SnapshotError, match=rf"{file.name} to have sha256 .* delete it"):
        gone_of(tmp_path)


def test_a_damaged_older_version_does_not_stop_a_night(tmp_path, caplog):
    ids = built(tmp_path, without(), without(3))
    shutil.rmtree(log_files(tmp_path)[0].parent)
    (pointer_of(tmp_path).parent / ids[0] / "triples.parquet").write_bytes(b"")
    ids += built(tmp_path, without(3, 4))
    assert f"lifetimes of {ids[1]} start anew" in caplog.text
    assert summary_of(tmp_path).since == ids[1]
    assert of(tmp_path, "book:b4").last_seen == ids[1]


def test_an_unknown_or_ambiguous_name_is_told(tmp_path):
    twice = without(4).with_columns(
        title=pl.when(pl.col("id").is_in(["b1", "b2"])).then(pl.lit("Same")).otherwise("title")
    )
    built(tmp_path, without(), twice)
    with pytest.raises(DataError, match=r"got 'same': several had it .* book:b1, book:b2$"):
        lifetimes_of(tmp_path, "same")
    with pytest.raises(DataError, match=r"got 'ook 4': none had it .* ids book:b4$"):
        lifetimes_of(tmp_path, "ook 4")
    with pytest.raises(DataError, match=r"got 'zzz': none had it .* look at --gone$"):
        lifetimes_of(tmp_path, "zzz")


def kept(out):
    return [one for one in history(out) if one.kept]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_log_agrees_with_a_diary_of_every_version(tmp_path_factory, data):
    """The oracle keeps all keys of all versions and is asked in the plainest way."""
    out = tmp_path_factory.mktemp("diary")
    nights = data.draw(st.lists(st.sets(st.integers(0, 5), max_size=5), min_size=1, max_size=5))
    diary = []
    for missing in nights:
        built(out, without(*missing))
        if data.draw(st.booleans()) and len({one.snapshot_id for one in kept(out)}) > 1:
            rollback(out)
        root = pointer_of(out).parent
        moves = [one.snapshot_id for one in reversed(history(out))]
        diary += [
            (snapshot_id, set(graph_keys(root / snapshot_id).drop("name").rows()))
            for snapshot_id in moves[len(diary) :]
        ]
        if data.draw(st.booleans()):
            prune(out, data.draw(st.integers(1, 3)))
    every = set().union(*(keys for _, keys in diary))
    gone = {(one.head_id, one.relation, one.tail_id) for one in gone_of(out)}
    assert gone == {(key[0], key[2], key[3]) for key in every - diary[-1][1]}
    for book in range(6):
        found = lifetimes_of(out, f"book:b{book}") if f"book:b{book}" in heads(every) else ()
        assert len(found) == sum(key[0] == f"book:b{book}" for key in every)
        for one in found:
            having = [
                snapshot_id
                for snapshot_id, keys in diary
                if (one.head_id, one.relation, one.tail_id) in {(k[0], k[2], k[3]) for k in keys}
            ]
            assert (one.first_seen, one.last_seen) == (having[0], having[-1])
            assert not one.or_earlier


def heads(keys):
    return {key[0] for key in keys}


def test_the_facade_tells_lifetimes(tmp_path):
    built(tmp_path, without(), without(3))
    with Graph.open(tmp_path) as graph:
        assert graph.lifetimes("Book 3") == lifetimes_of(tmp_path, "book:b3")
        assert graph.lifetimes(graph.entity("Book 4"))[0].told == "Book 4 (book:b4)"


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["lifetimes", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_sums_up_lists_and_tells(tmp_path):
    ids = built(tmp_path, without(), without(3))
    assert f"2 versions known, from {ids[0]} of" in run(tmp_path)
    assert "entities  29 stand (0 of them came later), 2 are gone" in run(tmp_path)
    lines = run(tmp_path, "--gone").splitlines()
    assert lines[1].endswith("Book 3 (book:b3)")
    assert len(lines) == 5
    assert len(run(tmp_path, "--gone", "--limit", 1).splitlines()) == 3
    assert "stands" in run(tmp_path, "--entity", "Book 4")
    record = json.loads(run(tmp_path, "--entity", "book:b3", "--json"))
    assert record["lifetimes"][0]["gone"] is True
    assert "got both" in run(tmp_path, "--gone", "--entity", "x", code=2)
