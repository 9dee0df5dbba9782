"""The event log: durable, in order, repeats dropped, torn ends cut, damage told, room regained."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.errors import EventLogError
from kgrec.events import Appended, Event, EventLog, end_of_log, read_events
from kgrec.events.segments import HEADER, segments_of


def event(number: int, **changes: object) -> Event:
    settings = {
        "event_id": f"e{number}",
        "user_id": f"u{number % 7}",
        "item_id": f"i{number % 11}",
        "event": "click",
        "time": 1_700_000_000.5 + number,
        "context": {"device": "phone"},
        "shown": ("i1", "i2"),
        "position": 2,
        "propensity": 0.25,
    }
    return Event.model_validate(settings | changes)


def ids_in(folder: Path, **options: object) -> list[str]:
    return [stored.event.event_id for stored in read_events(folder, **options)]


def newest(folder: Path) -> Path:
    return segments_of(folder)[-1].file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_what_is_appended_is_read_back_in_order(folder: Path) -> None:
    with EventLog(folder) as log:
        assert [log.append(event(number)).offset for number in range(5)] == [0, 1, 2, 3, 4]
        assert log.end == 5
        assert [stored.event for stored in log.read()] == [event(number) for number in range(5)]
    assert [stored.offset for stored in read_events(folder, 2, 4)] == [2, 3]
    assert ids_in(folder, start=5) == []


def test_reading_leaves_out_what_the_caller_says_and_keeps_offsets(folder: Path) -> None:
    with EventLog(folder) as log:
        log.append_all([event(number) for number in range(10)])
    found = list(read_events(folder, keep=lambda one: one.user_id != "u1"))
    assert [stored.offset for stored in found] == [0, 2, 3, 4, 5, 6, 7, 9]


def test_a_repeat_is_dropped_and_told_also_after_a_restart(folder: Path) -> None:
    with EventLog(folder) as log:
        log.append_all([event(0), event(1)])
        assert log.append(event(1, item_id="other")) == Appended(1, repeated=True)
        twice = log.append_all([event(2), event(2)])
        assert twice == [Appended(2, repeated=False), Appended(2, repeated=True)]
    with EventLog(folder) as log:
        assert log.append(event(0)) == Appended(0, repeated=True)
        assert log.append(event(3)) == Appended(3, repeated=False)
    assert ids_in(folder) == ["e0", "e1", "e2", "e3"]


@pytest.mark.parametrize("lost", ["absent", "garbage", "ahead"])
def test_the_index_of_ids_is_made_anew_from_the_log(folder: Path, lost: str) -> None:
    with EventLog(folder) as log:
        log.append_all([event(number) for number in range(4)])
    index = folder / "ids.sqlite"
    if lost == "absent":
        index.unlink()
    elif lost == "garbage":
        index.write_bytes(b"no database at all" * 500)
    else:  # the log was restored from an older copy
        lines = newest(folder).read_bytes().splitlines(keepends=True)
        newest(folder).write_bytes(b"".join(lines[:4]))
    with EventLog(folder) as log:
        again = [log.append(event(number)) for number in range(3)]
        assert again == [Appended(number, repeated=True) for number in range(3)]
        assert log.append(event(3)).repeated is (lost != "ahead")
    assert ids_in(folder) == ["e0", "e1", "e2", "e3"]


def test_many_threads_lose_nothing_and_share_syncs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (syncs.append(1), real(descriptor))[1])
    with EventLog(folder) as log:
        log.append(event(0))
        syncs.clear()
        start = threading.Barrier(8)

        def work(thread: int) -> None:
            start.wait()
            for number in range(50):
                log.append(event(1 + thread * 50 + number))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ids_in(folder), key=lambda name: int(name[1:])) == [f"e{n}" for n in range(401)]
    assert len(syncs) < 400


def test_segments_rotate_by_size_and_reading_joins_them(folder: Path) -> None:
    with EventLog(folder, segment_bytes=1000) as log:
        for number in range(30):
            log.append(event(number))
    assert len(segments_of(folder)) >= 4
    assert ids_in(folder, start=3, until=29) == [f"e{number}" for number in range(3, 29)]
    with EventLog(folder, segment_bytes=1000) as log:
        assert log.append(event(3)).repeated
        assert log.append(event(30)).offset == 30


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 400), garbage=st.binary(max_size=40))
def test_a_torn_end_is_cut_off_and_nothing_before_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    with EventLog(folder) as log:
        log.append(event(0))
        whole = newest(folder).stat().st_size
        log.append_all([event(1), event(2)])  # one sync: of these nothing is acknowledged
    content = newest(folder).read_bytes()
    kept = max(whole, len(content) - cut)
    newest(folder).write_bytes(content[:kept] + garbage)
    there = end_of_log(folder)
    assert there >= 1
    with EventLog(folder) as log:
        assert log.end == there
        log.append(event(9))
    assert ids_in(folder) == [f"e{number}" for number in range(there)] + ["e9"]


def test_a_hole_in_the_last_batch_is_torn_but_one_before_it_is_damage(folder: Path) -> None:
    with EventLog(folder) as log:
        log.append(event(0))
        log.append_all([event(1), event(2), event(3)])
    content = newest(folder).read_bytes()
    lines = content.splitlines(keepends=True)
    holed = content.replace(lines[2], b"\0" * len(lines[2]))  # event 1: a block never written
    newest(folder).write_bytes(holed)
    assert end_of_log(folder) == 1
    newest(folder).write_bytes(content.replace(b'"e0"', b'"x0"'))
    with pytest.raises(EventLogError, match=r"Expected record 0 at byte 18 of .*altered"):
        end_of_log(folder)
    with pytest.raises(EventLogError, match="restore it from a copy"):
        EventLog(folder)


def _flip(folder: Path) -> None:
    file = segments_of(folder)[1].file
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)


def _cut_short(folder: Path) -> None:
    file = segments_of(folder)[1].file
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_flip, "truncated or altered"),
        (_cut_short, "is cut short"),
        (lambda folder: segments_of(folder)[1].file.unlink(), "is gone or cut short|is cut short"),
        (lambda folder: segments_of(folder)[0].file.unlink(), "is gone or cut short"),
        (lambda folder: segments_of(folder)[1].file.write_bytes(b""), "truncated or altered"),
    ],
)
def test_a_damaged_middle_segment_is_told(folder: Path, harm: object, message: str) -> None:
    with EventLog(folder, segment_bytes=600) as log:
        for number in range(12):
            log.append(event(number))
    harm(folder)
    with pytest.raises(EventLogError, match=message):
        ids_in(folder)


@pytest.mark.parametrize("header", [b"", HEADER[:5]])
def test_a_segment_killed_while_it_was_made_is_made_anew(folder: Path, header: bytes) -> None:
    with EventLog(folder) as log:
        log.append_all([event(0), event(1)])
    (folder / f"{2:020d}.events").write_bytes(header)
    assert end_of_log(folder) == 2
    with EventLog(folder) as log:
        assert log.append(event(2)).offset == 2
    assert ids_in(folder) == ["e0", "e1", "e2"]


def test_one_writer_at_a_time_and_readers_beside_it(folder: Path) -> None:
    with EventLog(folder) as log:
        log.append(event(0))
        with pytest.raises(EventLogError, match=rf"found one \(process {os.getpid()}\)"):
            EventLog(folder)
        assert ids_in(folder) == ["e0"]
    EventLog(folder).close()


def test_a_closed_log_takes_nothing(folder: Path) -> None:
    log = EventLog(folder)
    log.close()
    log.close()
    with pytest.raises(EventLogError, match="got a closed one"):
        log.append(event(0))


def test_reading_past_the_end_is_an_error(folder: Path) -> None:
    with EventLog(folder) as log:
        log.append(event(0))
    with pytest.raises(EventLogError, match="has it been cut short or replaced"):
        read_events(folder, 0, 2)
    with pytest.raises(EventLogError, match="Expected the folder of an event log"):
        read_events(folder / "nowhere")


WRITER = """
import sys
from pathlib import Path
from kgrec.events import Event, EventLog

log = EventLog(Path(sys.argv[1]), segment_bytes=4000)
for number in range(100000):
    given = Event(event_id=f"e{number}", user_id="u", item_id="i", time=0)
    print(log.append(given).offset, flush=True)
"""


def test_killed_at_any_moment_no_acknowledged_event_is_lost(folder: Path) -> None:
    for turn in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(40 + 70 * turn)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
        found = ids_in(folder)
        assert len(found) > max(acknowledged)
        assert found == [f"e{number}" for number in range(len(found))]
        with EventLog(folder) as log:
            assert log.end == len(found)


@contextmanager
def room_for(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: writing further fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_fails_the_append_and_room_mends_it(folder: Path) -> None:
    with EventLog(folder) as log:
        log.append(event(0))
        size = newest(folder).stat().st_size
        with room_for(size + 30):
            for _ in range(2):
                with pytest.raises(EventLogError, match="make room on the disk and send it again"):
                    log.append(event(1))
            assert newest(folder).stat().st_size == size
            assert ids_in(folder) == ["e0"]
        assert log.append(event(1)) == Appended(1, repeated=False)
        assert log.append(event(1)) == Appended(1, repeated=True)
    assert ids_in(folder) == ["e0", "e1"]


def test_a_disk_that_fills_within_a_batch_keeps_what_was_whole(folder: Path) -> None:
    with EventLog(folder) as log:
        log.append(event(0))
        size = newest(folder).stat().st_size
        line = size - len(HEADER)
        with room_for(size + 2 * line + 10), pytest.raises(EventLogError, match="make room"):
            log.append_all([event(number) for number in range(1, 6)])
        assert ids_in(folder) == ["e0", "e1", "e2"]
        again = log.append_all([event(number) for number in range(1, 6)])
        assert [one.repeated for one in again] == [True, True, False, False, False]
    assert ids_in(folder) == [f"e{number}" for number in range(6)]


def test_no_room_for_the_next_segment_fails_the_append_and_mends(folder: Path) -> None:
    with EventLog(folder, segment_bytes=100) as log:
        log.append(event(0))
        with room_for(4), pytest.raises(EventLogError, match="make room"):
            log.append(event(1))
        assert ids_in(folder) == ["e0"]
        assert log.append(event(1)).offset == 1
    assert ids_in(folder) == ["e0", "e1"]


def test_a_sync_that_fails_fails_the_append_and_the_next_looks_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with EventLog(folder) as log:
        log.append(event(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            with pytest.raises(EventLogError, match="Input/output error"):
                log.append(event(1))
        assert log.append(event(1)).offset == 1
        assert log.append(event(2)).offset == 2
    assert ids_in(folder) == ["e0", "e1", "e2"]


def test_records_are_lines_that_a_person_can_read(folder: Path) -> None:
    with EventLog(folder) as log:
        log.append(event(0))
    line = newest(folder).read_text().splitlines()[1]
    checksum, offset, first, payload = line.split(" ", 3)
    assert (len(checksum), offset, first) == (8, "0", "0")
    assert json.loads(payload)["event_id"] == "e0"
