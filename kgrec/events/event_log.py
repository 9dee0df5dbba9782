"""The writer of an event log: appends are durable, share syncs, and drop repeats.

One process writes, or several that all opened it as shared and take turns; reading needs no writer
and is for reading.py and tail.py.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from graph_etl.snapshot import sync_folder
from kgrec.errors import EventLogError
from kgrec.events.event import Event
from kgrec.events.reading import StoredEvent, read_events
from kgrec.events.seen_ids import SeenIds
from kgrec.events.segments import HEADER, create_segment, record_line, segment_file, segments_of
from kgrec.events.tail import LogTail

DEFAULT_SEGMENT_BYTES = 64 * 2**20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Appended:
    """Where an event stands in the log.

    Attributes:
        offset: Its place, 0 for the first; a repeat's is that of the event it repeats.
        repeated: Whether the log held an event with this id before, so that this one was dropped.
    """

    offset: int
    repeated: bool


@dataclass
class _Waiting:
    """An event on its way to the disk."""

    event_id: str
    payload: bytes
    result: Appended | None = None
    error: str = ""

    @property
    def done(self) -> bool:
        return self.result is not None or bool(self.error)


class EventLog:
    """An append-only log in a folder, open for writing.

    Threads that append at the same time share one sync: the first writes for all who wait. An
    append that returns is on disk; one that raises is not in the log, unless the disk failed
    while it synced: then sending the event again tells which.

    Args:
        folder: The log; made where it is not there.
        segment_bytes: Size at which the next file is begun.
        shared: Let other processes that say the same write to it, too: each takes the turn for
            one batch, and first takes in what the others wrote.

    Raises:
        EventLogError: Another process writes to it alone, or this one would while others write,
            or its newest file is damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        shared: bool = False,
    ) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._shared = shared
        self._turn = threading.Condition()
        self._queue: list[_Waiting] = []
        self._writing = False
        self._closed = False
        self._must_recover = False
        self._descriptor = -1
        self._end = self._size = 0
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        with ExitStack() as undo:
            self._lock = lock_writers(folder, shared)
            undo.callback(os.close, self._lock)
            self._turn_lock = os.open(folder / "turn.lock", os.O_RDWR | os.O_CREAT, 0o644)
            undo.callback(os.close, self._turn_lock)
            with self._turn_of_processes():
                self._seen = SeenIds(folder / "ids.sqlite")
                undo.callback(self._seen.close)
                self._recover()
            undo.pop_all()

    @property
    def end(self) -> int:
        """The offset after the last event; of a shared log, after the last that is known here."""
        return self._end

    def append(self, event: Event) -> Appended:
        """Append one event and return when it is on disk.

        Raises:
            EventLogError: It could not be written; the log holds no part of it and can be used
                again when there is room.
        """
        return self.append_all([event])[0]

    def append_all(self, events: Sequence[Event]) -> list[Appended]:
        """Append events with one sync and return when all are on disk.

        Raises:
            EventLogError: Some could not be written; sending all again is safe.
        """
        waiting = [_Waiting(event.event_id, event.encoded()) for event in events]
        with self._turn:
            self._check_open()
            self._queue += waiting
            while self._writing and not all(one.done for one in waiting):
                self._turn.wait()
            batch = [] if all(one.done for one in waiting) else self._queue
            if batch:
                self._check_open()  # closed while this one waited
                self._queue, self._writing = [], True
        if batch:
            self._lead(batch)
        for one in waiting:
            if one.result is None:
                raise EventLogError(one.error)
        return [one.result for one in waiting if one.result is not None]

    def read(
        self,
        start: int = 0,
        until: int | None = None,
        keep: Callable[[Event], bool] | None = None,
    ) -> Iterator[StoredEvent]:
        """Yield events in order; see ``reading.read_events``."""
        return read_events(self.folder, start, until, keep)

    def close(self) -> None:
        """Wait for appends under way, and let the next writer in."""
        with self._turn:
            while self._writing:
                self._turn.wait()
            if self._closed:
                return
            self._closed = True
            with self._turn_of_processes():
                self._flush_ids()
                self._seen.close()
            for descriptor in (self._descriptor, self._turn_lock, self._lock):
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise EventLogError(f"Expected an open event log at {self.folder}, got a closed one")

    def _lead(self, batch: list[_Waiting]) -> None:
        """Write for all who wait, then let another lead."""
        try:
            with self._turn_of_processes():
                self._commit(batch)
        except (OSError, EventLogError) as error:
            self._must_recover = True
            _fail(batch, self._told(error))
        finally:
            _fail(batch, f"Expected to write to the event log {self.folder}, was interrupted")
            with self._turn:
                self._writing = False
                self._turn.notify_all()

    def _commit(self, batch: list[_Waiting]) -> None:
        if self._must_recover:
            self._recover()
        elif self._shared:
            self._catch_up()
        if self._size >= self._segment_bytes:
            self._open_segment(create_segment(self.folder, self._end))
        first, lines = self._end, list[bytes]()
        places: dict[str, int] = {}
        results = []
        for one in batch:
            place = places.get(one.event_id)
            place = self._seen.offset_of(one.event_id) if place is None else place
            results.append(Appended(first + len(lines), False))
            if place is None:
                places[one.event_id] = first + len(lines)
                lines.append(record_line(first + len(lines), first, one.payload))
            else:
                results[-1] = Appended(place, True)
        fault = self._write(lines)
        self._seen.add((key, offset) for key, offset in places.items() if offset < self._end)
        for one, result in zip(batch, results, strict=True):
            if result.offset < self._end:
                one.result = result
            else:
                one.error = fault
        self._flush_ids(only_if_due=True)

    def _write(self, lines: Sequence[bytes]) -> str:
        """Write and sync lines; return what went wrong after those that ``_end`` counts then."""
        if not lines:
            return ""
        content = b"".join(lines)
        written, fault = 0, ""
        try:
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError as error:
            fault = self._told(error)
        kept, whole = 0, 0
        for line in lines:
            if whole + len(line) > written:
                break
            kept, whole = kept + 1, whole + len(line)
        if fault:
            # a reader may have counted the whole ones: they stay, and are acknowledged
            os.ftruncate(self._descriptor, self._size + whole)
        os.fsync(self._descriptor)
        self._end, self._size = self._end + kept, self._size + whole
        return fault

    def _recover(self) -> None:
        """Find the end of the log, cut off what was never acknowledged, and level the index."""
        segments = segments_of(self.folder)
        file = segments[-1].file if segments else create_segment(self.folder, 0)
        if file.stat().st_size < len(HEADER):  # killed while it was made
            file = create_segment(self.folder, int(file.stem))
        self._end, self._size = int(file.stem), len(HEADER)
        for record in segments_of(self.folder)[-1].records():
            self._end, self._size = record.offset + 1, record.end
        self._open_segment(file, self._size)
        torn = file.stat().st_size - self._size
        if torn:
            _log.warning("%s: %d bytes of a write that was cut short are taken away", file, torn)
            os.ftruncate(self._descriptor, self._size)
        os.fsync(self._descriptor)
        self._must_recover = False
        if self._seen.reached > self._end:
            self._seen.clear()
        for stored in read_events(self.folder, self._seen.reached):
            self._seen.add([(stored.event.event_id, stored.offset)])
            self._flush_ids(only_if_due=True)

    def _catch_up(self) -> None:
        """Take in what other processes wrote since; cut off what one of them left half written."""
        following = segment_file(self.folder, self._end)
        rolled = following != self._file and following.is_file()
        if os.fstat(self._descriptor).st_size == self._size and not rolled:
            return
        tail = LogTail(self.folder)
        tail.move_to(self._end, self._file, self._size)
        for stored in tail.read():
            self._seen.add([(stored.event.event_id, stored.offset)])
        assert tail.file is not None
        self._open_segment(tail.file, tail.byte)
        self._end = tail.offset
        if os.fstat(self._descriptor).st_size != self._size:
            self._recover()
        # whoever wrote it may have been killed before it was synced, and a repeat of it be told of
        os.fsync(self._descriptor)

    @contextmanager
    def _turn_of_processes(self) -> Iterator[None]:
        """Keep other processes from writing meanwhile; the system ends the turn of a dead one."""
        fcntl.flock(self._turn_lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn_lock, fcntl.LOCK_UN)

    def _open_segment(self, file: Path, size: int = len(HEADER)) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
        self._file, self._size = file, size

    def _flush_ids(self, *, only_if_due: bool = False) -> None:
        if only_if_due and not self._seen.is_due:
            return
        try:
            self._seen.flush()
        except EventLogError as error:
            _log.warning("the ids stay in memory until there is room: %s", error)

    def _told(self, error: Exception) -> str:
        if isinstance(error, EventLogError):
            return str(error)
        return (
            f"Expected to write to the event log {self.folder} (got {error}); the event was not "
            "taken: make room on the disk and send it again"
        )


def _fail(batch: Sequence[_Waiting], message: str) -> None:
    for one in batch:
        if not one.done:
            one.error = message


def lock_writers(
    folder: Path, shared: bool, *, advice: str = "stop it first, or send events to it"
) -> int:
    """Return a descriptor that holds the writers' lock; the system frees it with the process.

    Args:
        folder: The log.
        shared: Whether others may hold it, too, that say the same.
        advice: What to do where another process holds it.

    Raises:
        EventLogError: Another process holds it.
    """
    file = folder / "writer.lock"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 40).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise EventLogError(
            f"Expected no other writer of the event log {file.parent}, found one (process "
            f"{holder}); {advice}. Reading needs no lock"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
