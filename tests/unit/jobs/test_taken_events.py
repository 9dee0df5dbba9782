"""The night's share of the event log: once each by offset, from files that never change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kgrec.errors import DataError
from kgrec.events import Event, EventLog, purge_events
from kgrec.events.segments import segments_of
from kgrec.jobs import night_events
from kgrec.jobs.night_events import purge_taken, take_in


def append(log: Path, numbers: range, **changes: object) -> None:
    with EventLog(log) as opened:
        opened.append_all(
            [
                Event.model_validate(
                    {
                        "event_id": f"e{number}",
                        "user_id": f"u{number}",
                        "item_id": "i",
                        "event": "impression" if number % 5 == 4 else "click",
                        "value": number,
                        "time": 100.75 + number,
                        "context": {"device": "phone"},
                    }
                    | changes
                )
                for number in numbers
            ]
        )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    append(tmp_path / "log", range(10))
    return tmp_path / "log"


def audit_of(kept: int, **dropped: int) -> dict[str, object]:
    return {"tables": {"events": {"rows_kept": kept, "dropped": dropped}}}


def test_events_become_interactions_in_the_order_of_the_log(log: Path, tmp_path: Path) -> None:
    taken = take_in(log, tmp_path / "in", 7, ("impression",))
    rows = taken.interactions()
    assert rows["user_id"].to_list() == ["u0", "u1", "u2", "u3", "u5", "u6"]
    assert rows.row(1, named=True) == {
        "user_id": "u1",
        "item_id": "i",
        "event": "click",
        "value": 1.0,
        "timestamp": 101,
        "context": [{"name": "device", "value": "phone"}],
    }
    assert taken.counts(audit_of(4, **{"unknown item": 2})) == {
        "read": 7,
        "kept": 4,
        "dropped": {"kind left out": 1, "unknown item": 2},
    }
    with pytest.raises(DataError, match="Expected 7 events = kept"):
        taken.counts(audit_of(4))


def test_what_the_first_events_become_does_not_depend_on_the_nights(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = take_in(log, tmp_path / "once", 10).interactions()
    for until in (3, 3, 4, 10):
        step_by_step = take_in(log, tmp_path / "steps", until)
    assert len(step_by_step.files) == 3
    assert_frame_equal(step_by_step.interactions(), at_once)
    monkeypatch.setattr(night_events, "_EVENTS_PER_FILE", 4)
    in_parts = take_in(log, tmp_path / "parts", 10)
    assert len(in_parts.files) == 3
    assert_frame_equal(in_parts.interactions(), at_once)
    assert_frame_equal(take_in(log, tmp_path / "parts", 6).interactions(), at_once.head(6))


def test_files_that_stand_are_not_written_again(log: Path, tmp_path: Path) -> None:
    (first,) = take_in(log, tmp_path / "in", 5).files
    before = (first.read_bytes(), first.stat().st_mtime_ns)
    take_in(log, tmp_path / "in", 10)
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before


@pytest.mark.parametrize("moment", ["writing", "renaming", "after the rename"])
def test_an_intake_that_dies_is_made_again_to_the_same(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    whole = take_in(log, tmp_path / "whole", 10).interactions()
    take_in(log, tmp_path / "in", 4)

    def dies(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "writing":
            patch.setattr(pl.DataFrame, "write_parquet", dies)
        elif moment == "renaming":
            patch.setattr(Path, "replace", dies)
        else:
            patch.setattr(night_events, "sync_folder", dies)
        with pytest.raises(KeyboardInterrupt):
            take_in(log, tmp_path / "in", 8)
    assert_frame_equal(take_in(log, tmp_path / "in", 8).interactions(), whole.head(8))
    assert_frame_equal(take_in(log, tmp_path / "in", 10).interactions(), whole)


def test_a_log_that_was_cut_short_is_an_error(log: Path, tmp_path: Path) -> None:
    take_in(log, tmp_path / "in", 10)
    file = segments_of(log)[-1].file
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-2]))
    with pytest.raises(DataError, match="hold the 10 events that were taken in before, got 8"):
        take_in(log, tmp_path / "in", 8)


def test_an_old_copy_of_the_log_that_went_on_is_an_error(log: Path, tmp_path: Path) -> None:
    take_in(log, tmp_path / "in", 10)
    file = segments_of(log)[-1].file
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-2]))
    append(log, range(20, 30))
    with pytest.raises(DataError, match=r"'e9' at offset 9 of .* got 'e21': this is another log"):
        take_in(log, tmp_path / "in", 18)


def test_a_file_that_is_gone_is_told(log: Path, tmp_path: Path) -> None:
    take_in(log, tmp_path / "in", 4)
    first = take_in(log, tmp_path / "in", 10).files[0]
    first.unlink()
    with pytest.raises(DataError, match="Expected a file of events from offset 0"):
        take_in(log, tmp_path / "in", 10)


def test_an_empty_log_gives_no_interactions(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    taken = take_in(tmp_path / "log", tmp_path / "in", 0, ("impression",))
    assert taken.interactions().height == 0
    assert taken.counts(audit_of(0)) == {"read": 0, "kept": 0, "dropped": {}}


def of(*users: str) -> Callable[[str], bool]:
    return lambda user: user in users


def test_forgotten_users_leave_an_empty_row(log: Path, tmp_path: Path) -> None:
    taken = take_in(log, tmp_path / "in", 10, ("impression",), of("u0", "u4", "u9"))
    assert taken.interactions()["user_id"].to_list() == ["u1", "u2", "u3", "u5", "u6", "u7", "u8"]
    audit = audit_of(5, **{"forgotten user": 1, "unknown item": 1})
    assert taken.counts(audit) == {
        "read": 10,
        "kept": 5,
        "dropped": {"forgotten user": 4, "unknown item": 1},
    }
    append(log, range(10, 12))
    assert take_in(log, tmp_path / "in", 12).until == 12  # the last event taken in is u8's


def test_purged_rows_are_empty_and_the_rest_as_it_was(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night_events, "_EVENTS_PER_FILE", 4)
    before = take_in(log, tmp_path / "in", 10).interactions()
    assert purge_taken(tmp_path / "in", of("u0", "u9", "nobody")) == 2
    assert purge_taken(tmp_path / "in", of("u0", "u9")) == 0
    after = take_in(log, tmp_path / "in", 10)
    assert_frame_equal(after.interactions(), before.slice(1, 8))
    assert after.counts(audit_of(8))["dropped"] == {"forgotten user": 2}


def test_a_log_that_was_purged_before_the_files_is_the_same_log(log: Path, tmp_path: Path) -> None:
    take_in(log, tmp_path / "in", 10)
    purge_events(log, lambda event: event.user_id in ("u3", "u9"))
    append(log, range(10, 12))
    taken = take_in(log, tmp_path / "in", 12)
    assert taken.interactions()["user_id"].to_list()[-3:] == ["u9", "u10", "u11"]
    purge_taken(tmp_path / "in", of("u3", "u9"))
    fresh = take_in(log, tmp_path / "fresh", 12)
    assert_frame_equal(taken.interactions(), fresh.interactions())
    assert fresh.counts(audit_of(10))["dropped"] == {"forgotten user": 2}


def test_a_lost_row_is_not_taken_for_a_forgotten_one(log: Path, tmp_path: Path) -> None:
    taken = take_in(log, tmp_path / "in", 10)
    [file] = taken.files
    pl.read_parquet(file).head(9).write_parquet(file)
    with pytest.raises(DataError, match="Expected 10 events = kept"):
        taken.counts(audit_of(9))
