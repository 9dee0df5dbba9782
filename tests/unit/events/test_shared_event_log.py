"""Several writers of a log: they take turns, drop each other's repeats, outlive each other."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kgrec.errors import EventLogError
from kgrec.events import Appended, Event, EventLog, LogTail, read_events
from kgrec.events.segments import HEADER, segment_file, segments_of


def event(number: int, **changes: object) -> Event:
    given = {"event_id": f"e{number}", "user_id": f"u{number % 3}", "item_id": "i", "time": number}
    return Event.model_validate(given | changes)


def ids_in(folder: Path) -> list[str]:
    return [stored.event.event_id for stored in read_events(folder)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_writers_take_turns_and_drop_each_other_s_repeats(folder: Path) -> None:
    with EventLog(folder, shared=True) as one, EventLog(folder, shared=True) as other:
        assert one.append(event(0)) == Appended(0, repeated=False)
        assert other.append(event(0)) == Appended(0, repeated=True)
        assert other.append_all([event(1), event(2)])[1].offset == 2
        assert one.append(event(2)) == Appended(2, repeated=True)
        assert one.append(event(3)) == Appended(3, repeated=False)
    with EventLog(folder) as log:
        assert log.append(event(1)).repeated
        assert log.end == 4
    assert ids_in(folder) == ["e0", "e1", "e2", "e3"]


def test_a_writer_alone_and_sharing_ones_keep_each_other_out(folder: Path) -> None:
    with EventLog(folder), pytest.raises(EventLogError, match="Expected no other writer"):
        EventLog(folder, shared=True)
    alone = pytest.raises(EventLogError, match="Expected no other writer")
    with EventLog(folder, shared=True), EventLog(folder, shared=True), alone:
        EventLog(folder)
    EventLog(folder).close()


def test_segments_that_another_began_are_followed(folder: Path) -> None:
    with (
        EventLog(folder, shared=True, segment_bytes=400) as one,
        EventLog(folder, shared=True, segment_bytes=400) as other,
    ):
        for number in range(0, 60, 2):
            assert one.append(event(number)).offset == number
            assert other.append(event(number + 1)).offset == number + 1
        for number in range(60, 90):
            other.append(event(number))
        assert one.append(event(90)).offset == 90
        assert one.append(event(75)) == Appended(75, repeated=True)
    assert len(segments_of(folder)) > 9
    assert ids_in(folder) == [f"e{number}" for number in range(91)]


@pytest.mark.parametrize("torn", [b"garbage", b"0" * 500 + b"\n"])
def test_what_another_left_half_written_is_cut_off(folder: Path, torn: bytes) -> None:
    with EventLog(folder, shared=True) as one, EventLog(folder, shared=True) as other:
        one.append(event(0))
        other.append(event(1))
        with segments_of(folder)[-1].file.open("ab") as handle:
            handle.write(torn)
        assert one.append(event(2)).offset == 2
        assert other.append(event(3)).offset == 3
    assert ids_in(folder) == ["e0", "e1", "e2", "e3"]


@pytest.mark.parametrize("header", [b"", HEADER[:5]])
def test_a_segment_that_another_left_half_made_is_made_anew(folder: Path, header: bytes) -> None:
    with EventLog(folder, shared=True) as one, EventLog(folder, shared=True) as other:
        one.append(event(0))
        segment_file(folder, 1).write_bytes(header)
        assert other.append(event(1)).offset == 1
        assert one.append(event(2)).offset == 2
    assert ids_in(folder) == ["e0", "e1", "e2"]


def test_a_repeat_of_what_a_dead_writer_did_not_sync_is_synced_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventLog(folder, shared=True) as one, EventLog(folder, shared=True) as other:
        one.append(event(0))
        other.append(event(1))
        synced, real = [], os.fsync
        monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), real(file))[1])
        assert one.append(event(1)).repeated
        assert len(synced) == 1
        assert one.append(event(1)).repeated  # nothing new since
        assert len(synced) == 1


def test_a_damaged_record_of_another_is_told_and_nothing_is_cut_off(folder: Path) -> None:
    with EventLog(folder, shared=True) as one, EventLog(folder, shared=True) as other:
        one.append(event(0))
        for number in (1, 2, 3):
            other.append(event(number))
        file = segments_of(folder)[-1].file
        content = file.read_bytes()
        harmed = content.replace(b'"e2"', b'"x2"')
        file.write_bytes(harmed)
        for _ in range(2):
            with pytest.raises(EventLogError, match="truncated or altered"):
                one.append(event(4))
        assert file.read_bytes() == harmed
        file.write_bytes(content)
        assert one.append(event(4)).offset == 4


def test_a_tail_tells_what_came_since_over_segments(folder: Path) -> None:
    with EventLog(folder, segment_bytes=300) as log:
        tail = LogTail(folder)
        assert tail.read() == []
        told = []
        for number in range(40):
            log.append(event(number))
            if number % 7 == 0:
                told += tail.read()
        told += tail.read(most=2)
        assert len(told) == 38
        told += tail.read()
        assert tail.read() == []
        assert told == list(read_events(folder))
        for start in (0, 1, 17, 39, 40):
            assert LogTail(folder, start).read() == told[start:]
        with pytest.raises(EventLogError, match="Expected events up to offset 41"):
            LogTail(folder, 41).read()


def test_a_tail_waits_at_a_torn_end_and_tells_of_a_damaged_middle(folder: Path) -> None:
    with EventLog(folder, segment_bytes=200) as log:
        log.append(event(0))
        file = segments_of(folder)[-1].file
        whole = file.read_bytes()
        tail = LogTail(folder)
        file.write_bytes(whole[:-3])
        assert tail.read() == []
        file.write_bytes(whole)
        assert len(tail.read()) == 1
        for number in range(1, 9):
            log.append(event(number))
    second = segments_of(folder)[1].file
    content = second.read_bytes()
    second.write_bytes(content[:-4] + b"    ")
    with pytest.raises(EventLogError, match="restore it from a copy"):
        tail.read()


WRITER = """
import random, sys
from pathlib import Path
from kgrec.events import Event, EventLog

log = EventLog(Path(sys.argv[1]), segment_bytes=20000, shared=True)
chosen = random.Random(int(sys.argv[2]))
while True:
    names = [f"e{chosen.randrange(4000)}" for _ in range(chosen.randrange(1, 4))]
    events = [Event(event_id=name, user_id="u", item_id="i", time=0) for name in names]
    for name, place in zip(names, log.append_all(events)):
        print(name, place.offset, int(place.repeated), flush=True)
"""


def test_killed_at_any_moment_writers_lose_nothing_and_the_others_go_on(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    told: list[tuple[str, int, bool]] = []
    lines_of: dict[int, int] = {}

    def listen(writer: subprocess.Popen[str], seed: int) -> None:
        assert writer.stdout is not None
        for line in writer.stdout:
            if line.endswith("\n"):
                name, offset, repeated = line.split()
                told.append((name, int(offset), repeated == "1"))
                lines_of[seed] = lines_of.get(seed, 0) + 1

    def started(seed: int) -> tuple[subprocess.Popen[str], threading.Thread]:
        command = [sys.executable, "-c", WRITER, str(folder), str(seed)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        request.addfinalizer(writer.kill)
        thread = threading.Thread(target=listen, args=(writer, seed))
        thread.start()
        return writer, thread

    chosen = random.Random(0)
    stays, stays_listening = started(100)
    for seed in range(5):
        writer, listening = started(seed)
        while lines_of.get(seed, 0) < 20 + chosen.randrange(100) and writer.poll() is None:
            listening.join(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        listening.join()
        assert writer.stdout is not None
        writer.stdout.close()
        before = lines_of.get(100, 0)  # it may be the last to begin
        while lines_of.get(100, 0) < before + 20:
            assert stays.poll() is None
            stays_listening.join(0.01)
    stays.kill()
    stays.wait()
    stays_listening.join()
    assert stays.stdout is not None
    stays.stdout.close()
    found = ids_in(folder)
    assert len(found) == len(set(found))
    assert all(found[offset] == name for name, offset, _ in told)
    taken = [offset for _, offset, repeated in told if not repeated]
    assert len(taken) == len(set(taken))
    assert any(repeated for _, _, repeated in told)
    assert len(lines_of) == 6
