"""Purging: a user's events are gone from every byte of the log, all else stands where it stood."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kgrec.errors import EventLogError
from kgrec.events import Event, EventLog, LogTail, end_of_log, purge_events, read_events
from kgrec.events.segments import segments_of

GONE = "someone@example.org"


def event(number: int, user: str | None = None) -> Event:
    return Event(
        event_id=f"event-{number}",
        user_id=user or (GONE if number % 3 == 0 else f"user-{number % 7}"),
        item_id=f"item-{number}",
        time=number,
        context={"page": "x" * (number % 40)},
    )


def is_gone(one: Event) -> bool:
    return one.user_id == GONE


def write(folder: Path, count: int, segment_bytes: int = 2000) -> None:
    with EventLog(folder, segment_bytes=segment_bytes) as log:
        for start in range(0, count, 5):
            log.append_all([event(number) for number in range(start, min(start + 5, count))])


def left(folder: Path) -> list[tuple[int, str]]:
    return [(one.offset, one.event.event_id) for one in read_events(folder)]


def others(count: int) -> list[tuple[int, str]]:
    return [(number, f"event-{number}") for number in range(count) if number % 3]


def content(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_events_are_gone_and_offsets_stay(tmp_path: Path) -> None:
    write(tmp_path, 60)
    sizes = [one.file.stat().st_size for one in segments_of(tmp_path)]
    assert len(sizes) > 3
    found = purge_events(tmp_path, is_gone)
    assert (found.events, found.segments) == (20, len(sizes))
    assert left(tmp_path) == others(60)
    assert GONE.encode() not in content(tmp_path)
    assert [one.file.stat().st_size for one in segments_of(tmp_path)] == sizes
    assert end_of_log(tmp_path) == 60
    again = purge_events(tmp_path, is_gone)
    assert (again.events, again.segments) == (0, 0)


def test_only_files_that_hold_the_user_are_written(tmp_path: Path) -> None:
    with EventLog(tmp_path, segment_bytes=500) as log:
        for number in range(30):
            log.append(event(number, GONE if number == 4 else "another"))
    before = {one.file: one.file.stat().st_ino for one in segments_of(tmp_path)}
    assert purge_events(tmp_path, is_gone).segments == 1
    changed = [file for file, inode in before.items() if file.stat().st_ino != inode]
    assert len(changed) == 1 < len(before)


def test_a_writer_goes_on_after_it_and_drops_repeats(tmp_path: Path) -> None:
    write(tmp_path, 30)
    tail = LogTail(tmp_path)
    assert len(tail.read(15)) == 15
    purge_events(tmp_path, is_gone)
    with EventLog(tmp_path) as log:
        assert log.end == 30
        repeated, new = log.append_all([event(7), event(30, "another")])
        assert (repeated.offset, repeated.repeated) == (7, True)
        assert (new.offset, new.repeated) == (30, False)
        # the id of a purged event is known no more
        assert not log.append(event(3, "another")).repeated
    rest = [stored.offset for stored in tail.read()]
    assert rest == [*(number for number in range(15, 30) if number % 3), 30, 31]


def test_an_open_log_is_refused_and_stays(tmp_path: Path) -> None:
    write(tmp_path, 10)
    before = content(tmp_path)
    for shared in (False, True):
        with (
            EventLog(tmp_path, shared=shared),
            pytest.raises(EventLogError, match=r"stop the whole service .* same command again"),
        ):
            purge_events(tmp_path, is_gone)
    assert [stored.event.user_id for stored in read_events(tmp_path)].count(GONE) == 4
    assert before.count(GONE.encode()) == content(tmp_path).count(GONE.encode())


def test_a_torn_end_is_not_carried_along(tmp_path: Path) -> None:
    write(tmp_path, 10)
    newest = segments_of(tmp_path)[-1].file
    with newest.open("ab") as handle:
        handle.write(b'00000000 10 10 {"event_id":"torn","user_id":"' + GONE.encode())
    purge_events(tmp_path, is_gone)
    assert GONE.encode() not in content(tmp_path)
    assert left(tmp_path) == others(10)


PURGER = """
import sys
from pathlib import Path
from kgrec.events import purge_events
print("begun", flush=True)
purge_events(Path(sys.argv[1]), lambda one: one.user_id == sys.argv[2])
"""


def inodes(folder: Path) -> set[int]:
    return {one.file.stat().st_ino for one in segments_of(folder)}


def test_killed_at_any_moment_others_stand_and_the_same_call_ends_it(tmp_path: Path) -> None:
    write(tmp_path, 3000, segment_bytes=10_000)
    draws, in_the_middle = random.Random(0), 0
    for _ in range(5):
        before, wanted = inodes(tmp_path), draws.randint(0, 2)
        command = [sys.executable, "-c", PURGER, str(tmp_path), GONE]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while process.poll() is None and len(inodes(tmp_path) - before) < wanted:
                time.sleep(0.0005)
            time.sleep(draws.uniform(0, 0.01))
            process.send_signal(signal.SIGKILL)
        found = left(tmp_path)
        assert [one for one in found if int(one[1].removeprefix("event-")) % 3] == others(3000)
        in_the_middle += len(others(3000)) < len(found) < 3000
    assert in_the_middle
    purge_events(tmp_path, is_gone)
    assert left(tmp_path) == others(3000)
    assert GONE.encode() not in content(tmp_path)
    assert not list(tmp_path.glob(".*.purged"))
