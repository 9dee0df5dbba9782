"""Taking events out of a log for good: the places stay, what stood there is gone.

A purged record keeps its offset, its batch and its length, so that whatever was noted of the log
(offsets taken in, places read up to) still holds. Each segment is written anew beside the old one
and renamed over it: killed at any moment, a segment is the old or the new one, and the same call
goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graph_etl.snapshot import sync_folder
from kgrec.errors import EventLogError
from kgrec.events.event import Event
from kgrec.events.event_log import lock_writers
from kgrec.events.reading import decoded
from kgrec.events.seen_ids import SeenIds
from kgrec.events.segments import HEADER, PURGED, Record, Segment, record_line, segments_of

_ADVICE = (
    "a log that is written to cannot be purged: stop the whole service ('systemctl stop "
    "kgrec-serve', or SIGTERM to 'kgrec serve' itself, not to a worker of it), call the same "
    "command again, then start it again. Meanwhile forgotten users are in no answer and no new "
    "artifact"
)


@dataclass(frozen=True)
class PurgedLog:
    """What was taken out of a log.

    Attributes:
        events: Events that are gone.
        segments: Files that were written anew.
    """

    events: int
    segments: int


def purge_events(folder: Path, unwanted: Callable[[Event], bool]) -> PurgedLog:
    """Take events out of a log, and their ids out of the index of ids seen.

    The index is made anew by whoever opens the log next.

    Args:
        folder: The log.
        unwanted: Says of each event whether it goes.

    Raises:
        EventLogError: Another process has the log open for writing, the log is damaged, or the
            disk refuses; what was purged until then stays purged.
    """
    segments = segments_of(folder)
    lock = lock_writers(folder, shared=False, advice=_ADVICE)
    try:
        for left in folder.glob(".*.purged"):
            left.unlink()  # of a process that was killed
        counts = {one: _count(one, unwanted) for one in segments}
        if any(counts.values()):
            _clear_ids(folder)  # before: killed after it, the index is merely made anew
        for one, count in counts.items():
            if count:
                _rewrite(one, unwanted)
    except OSError as error:
        raise EventLogError(
            f"Expected to write the event log {folder} anew (got {error}); make room on the disk "
            "and purge again"
        ) from error
    finally:
        os.close(lock)
    return PurgedLog(sum(counts.values()), sum(bool(count) for count in counts.values()))


def _count(segment: Segment, unwanted: Callable[[Event], bool]) -> int:
    return sum(_goes(record, segment, unwanted) for record in segment.records())


def _goes(record: Record, segment: Segment, unwanted: Callable[[Event], bool]) -> bool:
    if record.is_purged:
        return False
    return unwanted(decoded(record.payload, record.offset, segment.file))


def _rewrite(segment: Segment, unwanted: Callable[[Event], bool]) -> None:
    staging = segment.file.with_name(f".{segment.file.name}.purged")
    with staging.open("wb") as handle:
        handle.write(HEADER)
        for record in segment.records():
            payload = record.payload
            if _goes(record, segment, unwanted):
                payload = PURGED.ljust(len(payload))
            handle.write(record_line(record.offset, record.first, payload))
        handle.flush()
        os.fsync(handle.fileno())
    staging.replace(segment.file)
    sync_folder(segment.file.parent)


def _clear_ids(folder: Path) -> None:
    seen = SeenIds(folder / "ids.sqlite")
    seen.clear()
    seen.close()
