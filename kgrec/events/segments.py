r"""The files of an event log: how records are written, checked and found again.

A log is a folder of segments, each named by the offset of its first record. A segment is a line
that names the format, then one line a record:

    <crc32> <offset> <first> <event as JSON>\n

``first`` is the offset of the first record that was synced together with this one. The checksum
covers the rest of the line. A batch is written only after the one before it was synced; so a bad
record that a valid record of a later batch follows had been acknowledged and is damage, while one
that none follows was never acknowledged: it is the torn end of a write that a kill or a power cut
interrupted.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graph_etl.snapshot import sync_folder, write_synced
from kgrec.errors import EventLogError

SUFFIX = ".events"
HEADER = b"kgrec event log 1\n"
PURGED = b"null"  # then spaces: a purged record is as long as before, so that places stay


@dataclass(frozen=True)
class Record:
    """One record of a segment.

    Attributes:
        offset: Its place in the log, 0 for the first.
        first: Offset of the first record synced together with it.
        payload: The event as JSON.
        end: Byte of the file after it.
    """

    offset: int
    first: int
    payload: bytes
    end: int

    @property
    def is_purged(self) -> bool:
        """Whether the event was taken away; its place in the log stays."""
        return self.payload.startswith(PURGED)


@dataclass(frozen=True)
class Segment:
    """One file of a log.

    Attributes:
        file: The file.
        first: Offset of its first record.
        last: Whether it is the newest, the only one that may end in a torn record.
    """

    file: Path
    first: int
    last: bool

    def records(
        self, until_byte: int | None = None, since: tuple[int, int] | None = None
    ) -> Iterator[Record]:
        """Yield the records in order, every checksum verified, a line at a time.

        Args:
            until_byte: Where the file is taken to end; None for its present end.
            since: Offset of the first record wanted and the byte where it begins; None for all.

        Raises:
            EventLogError: A record that was acknowledged is damaged. A torn end of the newest
                segment is passed over.
        """
        with self.file.open("rb") as handle:
            end = os.fstat(handle.fileno()).st_size if until_byte is None else until_byte
            header = handle.readline()
            if header != HEADER:
                if self.last and HEADER.startswith(header):
                    return  # killed while it was made
                raise self._damaged(0, self.first)
            expected, start = since or (self.first, len(HEADER))
            handle.seek(start)
            while start < end:
                record = _parsed(handle.readline(), start)
                if record is None or record.offset != expected or record.end > end:
                    if not self.last or _acknowledged_later(handle, expected, end):
                        raise self._damaged(start, expected)
                    return
                yield record
                expected, start = record.offset + 1, record.end

    def _damaged(self, byte: int, offset: int) -> EventLogError:
        return EventLogError(
            f"Expected record {offset} at byte {byte} of {self.file}, got something else: the file "
            "is truncated or altered; restore it from a copy"
        )


def segments_of(folder: Path) -> list[Segment]:
    """Return the segments of a log in their order; none where the folder is empty.

    Raises:
        EventLogError: There is no such folder, or the first segment is gone.
    """
    if not folder.is_dir():
        raise EventLogError(f"Expected the folder of an event log at {folder}, found none")
    files = sorted(folder.glob(f"*{SUFFIX}"))
    firsts = [int(file.stem) for file in files]
    if firsts and firsts[0] != 0:
        raise _gap(folder, 0, firsts[0])
    return [
        Segment(file, first, last=file == files[-1])
        for file, first in zip(files, firsts, strict=True)
    ]


def check_joined(segment: Segment, end: int) -> None:
    """Raise EventLogError unless a segment begins where the one before it ended."""
    if segment.first != end:
        raise _gap(segment.file.parent, end, segment.first)


def create_segment(folder: Path, first: int) -> Path:
    """Make an empty segment and return its file when it is on disk."""
    file = segment_file(folder, first)
    write_synced(file, HEADER)
    sync_folder(folder)
    return file


def segment_file(folder: Path, first: int) -> Path:
    """Return the file of the segment that begins at an offset."""
    return folder / f"{first:020d}{SUFFIX}"


def record_line(offset: int, first: int, payload: bytes) -> bytes:
    """Return a record as it is written."""
    body = b"%d %d %s" % (offset, first, payload)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _parsed(line: bytes, start: int) -> Record | None:
    """Return the record of a line, None where its checksum does not hold."""
    if len(line) < 10 or not line.endswith(b"\n"):
        return None
    body = line[9:-1]
    if line[:9] != b"%08x " % zlib.crc32(body):
        return None
    offset, first, payload = body.split(b" ", 2)
    return Record(int(offset), int(first), payload, start + len(line))


def _acknowledged_later(handle: Iterator[bytes], bad_offset: int, end: int) -> bool:
    """Return whether a valid record of a batch that began after ``bad_offset`` follows."""
    for line in handle:
        record = _parsed(line, 0)
        if record is not None and record.first > bad_offset:
            return True
    return False


def _gap(folder: Path, expected: int, found: int) -> EventLogError:
    return EventLogError(
        f"Expected a segment of the event log {folder} that begins at offset {expected}, got one "
        f"at {found}: a file between is gone or cut short; restore it from a copy"
    )
