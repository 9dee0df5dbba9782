"""Which event ids a log holds, in bounded memory: an index on disk that can always be made anew.

SQLite is used because an id may come back after any time: a file of ids for each segment would
have to be searched once for every segment, and all ids in memory would take about 100 bytes an
event. The index is behind the log or level with it; what it lacks is read from the log at start.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from kgrec.errors import EventLogError

_FLUSH_AT = 1000  # ids in memory, and to be read again from the log after a kill
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (id BLOB PRIMARY KEY, event_offset INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reached (only_row INTEGER PRIMARY KEY, event_offset INTEGER);
INSERT OR IGNORE INTO reached VALUES (0, 0);
"""


class SeenIds:
    """Event id -> offset. One thread at a time, and one process of those that have it open.

    Args:
        file: The index; made anew where it is absent or no index.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._recent: dict[bytes, int] = {}
        try:
            self._database = self._open()
        except sqlite3.DatabaseError:
            self._forget_file()
            self._database = self._open()
        row = self._database.execute("SELECT event_offset FROM reached").fetchone()
        self.reached = int(row[0])
        """Offset up to which the log is in the index."""

    def offset_of(self, event_id: str) -> int | None:
        """Return the offset of the event with this id, None where there is none."""
        key = _key(event_id)
        if key in self._recent:
            return self._recent[key]
        try:
            query = "SELECT event_offset FROM seen WHERE id = ?"
            row = self._database.execute(query, (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return None if row is None else int(row[0])

    def add(self, entries: Iterable[tuple[str, int]]) -> None:
        """Take in ids and offsets of events that are on disk, in the order of the log."""
        for event_id, offset in entries:
            self._recent[_key(event_id)] = offset
            self.reached = offset + 1

    @property
    def is_due(self) -> bool:
        """Whether so much is in memory that it should be written."""
        return len(self._recent) >= _FLUSH_AT

    def flush(self) -> None:
        """Write what is in memory."""
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR IGNORE INTO seen VALUES (?, ?)", self._recent.items()
                )
                # another process may have written more
                query = "UPDATE reached SET event_offset = max(event_offset, ?)"
                self._database.execute(query, (self.reached,))
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        self._recent.clear()

    def clear(self) -> None:
        """Begin anew, for a log that is shorter than the index says."""
        self._database.close()
        self._forget_file()
        self._recent.clear()
        self._database, self.reached = self._open(), 0

    def close(self) -> None:
        """Let go of the file; ``flush`` first to spare the next start some reading."""
        self._database.close()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, check_same_thread=False)
        try:
            # a power cut may take the last commits, never the order in which they came
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _forget_file(self) -> None:
        for ending in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + ending).unlink(missing_ok=True)

    def _unusable(self, error: sqlite3.Error) -> EventLogError:
        return EventLogError(
            f"Expected to use the index of event ids {self._file} (got {error}); make room on the "
            "disk, or delete it: it is made anew from the log"
        )


def _key(event_id: str) -> bytes:
    return hashlib.blake2b(event_id.encode(), digest_size=16).digest()
