"""Who asked to be forgotten: a ledger of keyed hashes that holds no id in plain.

Every load, answer and build asks it; rewriting what is already stored is for a purge.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path

from graph_etl.snapshot import sync_folder
from kgrec.errors import ServingStateError
from kgrec.serving.journal import Journal

LEDGER, KEY = "forgotten.ledger", "forgotten.key"
_KEY_BYTES = 32
_log = logging.getLogger(__name__)


class ForgottenUsers:
    """The ledger of one serving folder. Any number of threads may ask and forget at once.

    A hash is HMAC-SHA256 under a key of its own file (mode 0600): without the key the ledger
    tells nobody who is in it. Whoever loses the key loses the ledger: keep both in the backup.

    Args:
        folder: The serving folder; ledger and key are made by the first ``forget``.

    Raises:
        ServingStateError: The ledger is damaged, or its key is missing or another.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writing = threading.Lock()
        self._key = _read_key(folder / KEY)
        if self._key is None and (folder / LEDGER).is_file():
            raise ServingStateError(
                f"Expected the key {folder / KEY} of the ledger beside it, found none: nobody "
                "could tell who is to be forgotten; restore the key from a copy"
            )
        self._hashes: frozenset[str] = frozenset()
        self._stamp = self._stamp_now()
        self.refresh()

    def __len__(self) -> int:
        return len(self._hashes)

    def __call__(self, user_id: str | int) -> bool:
        """Return whether the user asked to be forgotten."""
        return bool(self._hashes) and self._hash(str(user_id)) in self._hashes

    def forget(self, user_id: str | int) -> bool:
        """Enter a user, on disk when this returns; return False where they were in it before.

        Raises:
            ServingStateError: The ledger cannot be written.
        """
        with self._writing:
            if self._key is None:
                self._key = _make_key(self.folder / KEY)
            self._take_in()  # what another process entered meanwhile
            if self(user_id):
                return False
            entry = self._hash(str(user_id))
            self._journal().append(entry)
            self._hashes |= {entry}
            return True

    def refresh(self) -> None:
        """Read the ledger again: another process may have written to it.

        Raises:
            ServingStateError: It is damaged.
        """
        with self._writing:
            if self._key is None:
                self._key = _read_key(self.folder / KEY)
            if self._key is not None:
                self._take_in()

    def follow(self) -> None:
        """Read the ledger again if another process has written to it; cheap where none has.

        One that has become unreadable changes nothing but the log: who was in it stays forgotten.
        """
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.refresh()
        except ServingStateError:
            _log.exception("the ledger of forgotten users was not read again")

    def mark(self, user_id: str | int) -> str:
        """Return what stands for a user where no id may: the hash under the ledger's key."""
        with self._writing:
            if self._key is None:
                self._key = _make_key(self.folder / KEY)
        return self._hash(str(user_id))

    def marks(self) -> frozenset[str]:
        """Return the marks of all who are forgotten."""
        return self._hashes

    def among(self, user_ids: Iterable[str]) -> set[str]:
        """Return which of these users are to be forgotten."""
        return {user_id for user_id in user_ids if self(user_id)}

    def _take_in(self) -> None:
        self._hashes |= frozenset(self._journal().lines())

    def _stamp_now(self) -> tuple[int, int]:
        try:
            found = (self.folder / LEDGER).stat()
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size)

    def _hash(self, user_id: str) -> str:
        assert self._key is not None  # there are hashes, or forget() has made it
        return hmac.new(self._key, user_id.strip().encode(), hashlib.sha256).hexdigest()

    def _journal(self) -> Journal:
        assert self._key is not None
        mark = hmac.new(self._key, b"kgrec ledger of forgotten users", hashlib.sha256)
        header = f"kgrec forgotten users 1, key {mark.hexdigest()[:16]}"
        return Journal(self.folder / LEDGER, header)


def _read_key(file: Path) -> bytes | None:
    if not file.is_file():
        return None
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ServingStateError(
            f"Expected {_KEY_BYTES} bytes in the key {file}, got {len(key)}; restore it from a copy"
        )
    return key


def _make_key(file: Path) -> bytes:
    """Write a new key, or return the one that another thread or process has just written."""
    staging = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(staging, file)  # unlike a rename, never in place of a key that stands
        except FileExistsError:
            pass
        finally:
            staging.unlink()
        sync_folder(file.parent)
    except OSError as error:
        raise ServingStateError(
            f"Expected to write the key {file} (got {error}); make its folder writable"
        ) from error
    return file.read_bytes()
