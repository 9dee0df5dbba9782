"""Reading an event log on and on: what came since the last look, at the cost of what came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kgrec.errors import EventLogError
from kgrec.events.reading import StoredEvent, decoded
from kgrec.events.segments import HEADER, Segment, segment_file, segments_of


class LogTail:
    """A place in a log that moves on as it is read. One thread at a time.

    Unlike ``read_events`` it syncs nothing: what it tells may be gone after a power cut.

    Args:
        folder: The log.
        start: Offset of the first event wanted.

    Attributes:
        offset: Offset of the next event.
        file: The segment it will stand in, None before the first look.
        byte: Where in that file.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        self.folder = folder
        self.offset = start
        self.file: Path | None = None
        self.byte = 0

    def move_to(self, offset: int, file: Path, byte: int) -> None:
        """Go on at a place where a record ends."""
        self.offset, self.file, self.byte = offset, file, byte

    def read(self, most: int | None = None) -> list[StoredEvent]:
        """Return the next events, at most so many; none where nothing came.

        Raises:
            EventLogError: The log is damaged, or does not reach up to ``start``.
        """
        found: list[StoredEvent] = []
        for stored in self._following():
            found.append(stored)
            if len(found) == most:
                break
        return found

    def _following(self) -> Iterator[StoredEvent]:
        if self.file is None and not self._find():
            return
        while True:
            assert self.file is not None
            first = int(self.file.stem)
            for record in Segment(self.file, first, True).records(since=(self.offset, self.byte)):
                self.offset, self.byte = record.offset + 1, record.end
                if not record.is_purged:
                    event = decoded(record.payload, record.offset, self.file)
                    yield StoredEvent(record.offset, event)
            following = segment_file(self.folder, self.offset)
            if following == self.file or not following.is_file():
                self._check_no_gap()
                return
            self.file, self.byte = following, len(HEADER)

    def _find(self) -> bool:
        """Go to the record at ``offset``; return False where there is no log yet."""
        within = [one for one in segments_of(self.folder) if one.first <= self.offset]
        if not within:
            return False
        segment = within[-1]
        reached, byte = segment.first, len(HEADER)
        for record in segment.records():
            if reached == self.offset:
                break
            reached, byte = record.offset + 1, record.end
        if reached != self.offset:
            raise EventLogError(
                f"Expected events up to offset {self.offset} in the event log {self.folder}, got "
                f"up to {reached}; has it been cut short or replaced?"
            )
        self.move_to(reached, segment.file, byte)
        return True

    def _check_no_gap(self) -> None:
        assert self.file is not None
        if self.file.stat().st_size == self.byte:
            return
        newest = segments_of(self.folder)[-1]
        if newest.first > self.offset:
            raise EventLogError(
                f"Expected record {self.offset} at byte {self.byte} of {self.file}, got something "
                "else: the file is truncated or altered; restore it from a copy"
            )
