"""Nights that take in an event log: once each, whatever happens, and nothing lost in silence."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from night_shop import CONFIG, command, night, shop

from graph_etl.snapshot import load_snapshot
from kgrec.events import Event, EventLog
from kgrec.events.segments import segments_of

pytestmark = pytest.mark.slow


def write_events(folder: Path, first: int, count: int) -> None:
    """Append ratings of users who are there or new, on books that are there or, rarely, not."""
    with EventLog(folder / "log") as log:
        log.append_all(
            [
                Event(
                    event_id=f"e{number}",
                    user_id=f"u{number % 130}",
                    item_id=f"b{(number * 7) % 61}",
                    event="impression" if number % 10 == 9 else "rating",
                    value=None if number % 10 == 9 else float(number % 5 + 1),
                    time=1_700_900_000 + number,
                )
                for number in range(first, first + count)
            ]
        )


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shop(tmp_path_factory.mktemp("nights") / "shop", CONFIG | {"event_log": "log"})
    write_events(folder, 0, 40)
    assert night(folder)["outcome"] == "published"
    return folder


@pytest.fixture
def after_first(first_night: Path, tmp_path: Path) -> Iterator[Path]:
    """The same shop at the same path again."""
    kept = tmp_path / "kept"
    shutil.copytree(first_night, kept)
    yield first_night
    shutil.rmtree(first_night)
    shutil.copytree(kept, first_night)


def rows_of_log(folder: Path) -> int:
    """Interactions of the published snapshot that no table holds, by their time."""
    snapshot = load_snapshot(folder / "out" / "graph" / "snapshots" / "current")
    return int((snapshot.interactions["timestamp"] >= 1_700_900_000).sum())


def test_events_are_taken_in_once_and_accounted_for(after_first: Path) -> None:
    again = night(after_first)
    assert again["outcome"] == "unchanged"
    assert again["steps"]["events"] == {
        "until": 40,
        "read": 40,
        "kept": 35,
        "dropped": {"kind left out": 4, "unknown item": 1},
    }
    assert rows_of_log(after_first) == 35
    write_events(after_first, 30, 100)  # ten of them sent again
    second = night(after_first)
    assert second["outcome"] == "published"
    events = second["steps"]["events"]
    assert events["read"] == 130
    assert events["dropped"] == {"kind left out": 13, "unknown item": 2}
    assert events["kept"] == 115 == rows_of_log(after_first)
    told = Path(str(second["summary"])).with_suffix(".md").read_text()
    assert "- event log: 130 events, 115 taken, 13 kind left out, 2 unknown item" in told


@pytest.mark.parametrize(
    "moment",
    ["taking in the event log", "graph: reading inter", "graph: writing", "graph: published",
     "window 1 of 3", "measuring against"],
)  # fmt: skip
def test_a_killed_night_takes_in_the_same_events(after_first: Path, moment: str) -> None:
    write_events(after_first, 40, 60)
    shutil.copytree(after_first, kept := after_first.with_name("uninterrupted"))
    with subprocess.Popen(command(after_first), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if moment in line:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    write_events(after_first, 100, 30)  # served on in the meantime: for the night after
    killed = night(after_first)
    shutil.rmtree(after_first)
    kept.rename(after_first)
    uninterrupted = night(after_first)
    assert killed["steps"]["events"] == uninterrupted["steps"]["events"]
    assert killed["snapshot_id"] == uninterrupted["snapshot_id"]
    assert killed["artifact_id"] == uninterrupted["artifact_id"]


def test_a_log_that_was_cut_short_stops_the_night_and_all_stands(after_first: Path) -> None:
    before = (after_first / "out" / "current").read_bytes()
    file = segments_of(after_first / "log")[-1].file
    whole = file.read_bytes()
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:-5]))
    told = night(after_first, code=2)["error"]
    assert "to hold the 40 events that were taken in before, got 35" in told
    assert (after_first / "out" / "current").read_bytes() == before
    file.write_bytes(whole)
    assert night(after_first)["outcome"] == "unchanged"


def test_a_log_that_is_not_there_is_told(after_first: Path) -> None:
    shutil.rmtree(after_first / "log")
    assert "Expected the folder of an event log" in night(after_first, code=2)["error"]
    journal = json.loads((after_first / "out" / "nights" / "journal.json").read_text())
    assert journal["finished"] is True  # of the night before: this one never began
