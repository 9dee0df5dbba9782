"""The append-only ledger of test openings: one JSON line each, chained by hashes.

A changed, removed or inserted line breaks the chain. Lines cut off at the end do not; hence run
records carry the count and the head hash, and ``includes`` checks them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from kgrec.errors import TestLockError

_START = "0" * 64
_KEY = ("dataset", "split", "seed", "checksum", "model", "config_hash")


class TestLedger:
    """A file that remembers every opening of test data; it implements ``OpeningLog``."""

    __test__ = False  # the name starts with Test; pytest must not collect it

    def __init__(self, path: str | Path) -> None:
        """Use the ledger at ``path``; the file is made with the first opening."""
        self.path = Path(path)

    def record_opening(
        self,
        *,
        dataset: str,
        split: str,
        seed: int,
        checksum: str,
        model: str,
        config_hash: str,
        repeat: bool = False,
    ) -> None:
        """Append one opening and return when it is on disk.

        Args:
            dataset: Name of the dataset.
            split: Name of the split.
            seed: Seed of the split.
            checksum: Checksum of the split.
            model: Name of what is evaluated.
            config_hash: Hash of its whole configuration.
            repeat: Allow a key that was opened before; the line then says so.

        Raises:
            TestLockError: The key was opened before and ``repeat`` is False, or the ledger was
                altered. Nothing is written then.
        """
        values = (dataset, split, seed, checksum, model, config_hash)
        key: dict[str, Any] = dict(zip(_KEY, values, strict=True))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            entries = self._read(handle)
            opened_before = any(all(old[name] == key[name] for name in _KEY) for old in entries)
            if opened_before and not repeat:
                raise TestLockError(
                    f"Expected the test part of {dataset}/{split} (seed {seed}) to be opened once "
                    f"for model '{model}' with config {config_hash[:12]}, got a second opening in "
                    f"{self.path}; use the stored run record, or pass repeat=True (it is logged)"
                )
            entry = {
                "index": len(entries),
                "opened_at": datetime.now(UTC).isoformat(timespec="seconds"),
                **key,
                "repeat": opened_before,
                "previous": entries[-1]["hash"] if entries else _START,
            }
            entry["hash"] = _hash_of(entry)
            handle.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())

    def entries(self) -> list[dict[str, Any]]:
        """Return all openings, oldest first, after checking the chain.

        Raises:
            TestLockError: A line was altered, removed or inserted.
        """
        if not self.path.is_file():
            return []
        with self.path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH)
            return self._read(handle)

    @property
    def count(self) -> int:
        """Number of openings, repeats included."""
        return len(self.entries())

    @property
    def head(self) -> str:
        """Hash of the last line; zeros where there is none."""
        entries = self.entries()
        return str(entries[-1]["hash"]) if entries else _START

    def includes(self, count: int, head: str) -> bool:
        """Return whether the ledger once stood at this count and head, as a run record says."""
        entries = self.entries()
        if count > len(entries):
            return False
        return (str(entries[count - 1]["hash"]) if count else _START) == head

    def _read(self, handle: BinaryIO) -> list[dict[str, Any]]:
        handle.seek(0)
        entries: list[dict[str, Any]] = []
        previous = _START
        for number, line in enumerate(handle.read().splitlines(), start=1):
            try:
                entry = json.loads(line)
                stored = entry.get("hash")
                sound = stored == _hash_of(entry) and entry["previous"] == previous
                sound = sound and entry["index"] == number - 1
            except (ValueError, KeyError, AttributeError):
                sound = False
            if not sound:
                raise TestLockError(
                    f"Expected an unbroken chain of openings, got an altered line {number} in "
                    f"{self.path}; restore the ledger from version control"
                )
            entries.append(entry)
            previous = stored
        return entries


def _hash_of(entry: dict[str, Any]) -> str:
    content = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
