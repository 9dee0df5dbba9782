"""A small append-only file of lines, each on disk before the append returns; what they say is
for the caller.

A line is "<checksum> <content>"; a checksum covers the line and the one before, so that a line
altered or taken out of the middle is seen. A last line without its end was never acknowledged.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph_etl.snapshot import sync_folder
from kgrec.errors import ServingStateError


class Journal:
    """Lines of a file, in the order in which they were appended; any process may read meanwhile.

    Args:
        file: Made, with its first line, by the first append.
        header: First line: what the file is. Another one is refused.
    """

    def __init__(self, file: Path, header: str) -> None:
        self.file = file
        self._header = header

    def lines(self) -> list[str]:
        """Return the lines after the header; none where there is no file.

        Raises:
            ServingStateError: A line is altered or missing, or the header is another.
        """
        return self._whole()[0]

    def append(self, line: str) -> None:
        """Add a line, and return when it is on disk.

        Raises:
            ServingStateError: It cannot be written, or what stands there is damaged.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self._locked() as descriptor:
                _, size, checksum = self._whole()
                content = b""
                if size == 0:
                    content, checksum = _encoded(self._header, 0)
                content += _encoded(line, checksum)[0]
                os.ftruncate(descriptor, size)  # a line that was cut short was never told of
                _write_all(descriptor, content, size)
                os.fsync(descriptor)
            sync_folder(self.file.parent)
        except OSError as error:
            raise ServingStateError(
                f"Expected to write to {self.file} (got {error}); nothing was changed: make room "
                "on the disk, or name another folder, and ask again"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _whole(self) -> tuple[list[str], int, int]:
        """Return the lines, the bytes that they and the header take, and the last checksum."""
        content = self.file.read_bytes() if self.file.is_file() else b""
        found: list[str] = []
        size = checksum = 0
        *whole, _ = content.split(b"\n")  # the rest was cut short, or is empty
        for number, raw in enumerate(whole, start=1):
            line = raw[9:].decode(errors="replace")
            expected, checksum = _encoded(line, checksum)
            if raw + b"\n" != expected:
                raise ServingStateError(
                    f"Expected a line with its checksum in {self.file}, got {raw[:40]!r} in line "
                    f"{number}: the file is damaged; restore it from a copy"
                )
            found.append(line)
            size += len(expected)
        if found and found[0] != self._header:
            raise ServingStateError(
                f"Expected {self._header!r} as the first line of {self.file}, got {found[0]!r}; "
                "it belongs to another key, or to another version of kgrec: restore what fits"
            )
        return found[1:], size, checksum


def _encoded(line: str, before: int) -> tuple[bytes, int]:
    checksum = zlib.crc32(line.encode(), before)
    return f"{checksum:08x} {line}\n".encode(), checksum


def _write_all(descriptor: int, content: bytes, start: int) -> None:
    try:
        written = 0
        while written < len(content):
            written += os.pwrite(descriptor, content[written:], start + written)
    except OSError:
        os.ftruncate(descriptor, start)
        raise
