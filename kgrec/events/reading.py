"""Reading an event log from an offset on, by any number of processes while one writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kgrec.errors import EventLogError
from kgrec.events.event import Event
from kgrec.events.segments import check_joined, segments_of


@dataclass(frozen=True)
class StoredEvent:
    """An event and its place in the log, 0 for the first."""

    offset: int
    event: Event


def end_of_log(folder: Path) -> int:
    """Return the offset after the last event; every event before it is on disk and stays.

    What a writer has written and not yet synced is synced first, so that no power cut can give an
    offset that was counted here to another event.

    Raises:
        EventLogError: There is no log, or its newest segment is damaged.
    """
    segments = segments_of(folder)
    if not segments:
        return 0
    newest = segments[-1]
    descriptor = os.open(newest.file, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    end = newest.first
    for record in newest.records(size):
        end = record.offset + 1
    return end


def read_events(
    folder: Path,
    start: int = 0,
    until: int | None = None,
    keep: Callable[[Event], bool] | None = None,
) -> Iterator[StoredEvent]:
    """Yield events in the order of their offsets, one in memory at a time; purged ones are not.

    Args:
        folder: The log.
        start: Offset of the first event wanted.
        until: Offset after the last one wanted; None for the end of the log as it is now.
        keep: Says of each event whether it is given out, so that users who are forgotten are
            not; offsets do not change by it.

    Raises:
        EventLogError: The log ends before ``until``, begins after ``start``, or is damaged
            between; what came before was given out.
    """
    end = end_of_log(folder)
    until = end if until is None else until
    if not 0 <= start <= until <= end:
        raise EventLogError(
            f"Expected offsets in 0..{end} of the event log {folder}, got {start} to {until}; has "
            "it been cut short or replaced?"
        )
    return _between(folder, start, until, keep)


def _between(
    folder: Path, start: int, until: int, keep: Callable[[Event], bool] | None
) -> Iterator[StoredEvent]:
    segments = segments_of(folder)
    ends = [segment.first for segment in segments[1:]]
    reached: int | None = None
    for segment, end in zip(segments, [*ends, until], strict=True):
        if end <= start or segment.first >= until:
            continue
        if reached is not None:
            check_joined(segment, reached)
        reached = segment.first
        for record in segment.records():
            if record.offset >= until:
                return
            reached = record.offset + 1
            if record.offset < start or record.is_purged:
                continue
            event = decoded(record.payload, record.offset, segment.file)
            if keep is None or keep(event):
                yield StoredEvent(record.offset, event)
        if reached < min(end, until):
            raise EventLogError(
                f"Expected events up to offset {min(end, until)} in {segment.file}, got up to "
                f"{reached}: the file is cut short; restore it from a copy"
            )


def decoded(payload: bytes, offset: int, file: Path) -> Event:
    """Return the event of a record.

    Raises:
        EventLogError: It is none.
    """
    try:
        return Event.decoded(payload)
    except ValidationError as error:
        raise EventLogError(
            f"Expected an event at offset {offset} of {file}, got: {error}; read it with the "
            "version of kgrec that wrote it"
        ) from error
