"""API keys: made once and shown once, kept as hashes with scopes and dates; no web code here.

A key reads "kgrec_<id>_<secret>" with 256 random bits of secret: too many to guess, so that one
plain SHA-256 is enough (a slow hash is for what people make up themselves).
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from graph_etl.snapshot import sync_folder
from kgrec.errors import ConfigError

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_NO_KEY = "0" * 64


class ApiKey(BaseModel):
    """One key, without its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    """Public part, stands in logs."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the whole key."""
    scopes: tuple[Scope, ...] = Field(min_length=1)
    """What it may do; none contains another."""
    created: int
    """Unix seconds."""
    expires: int | None = None
    """Unix seconds from which it is refused; None for never."""
    revoked: int | None = None
    """Unix seconds since when it is refused; None where it is not."""
    note: Annotated[str, StringConstraints(max_length=200)] = ""
    """Whose it is, for people."""

    def is_valid(self, now: float) -> bool:
        """Return whether the key is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[ApiKey, ...] = ()


class KeyFile:
    """A file of keys, readable by its owner alone. Any number of processes may read and change it.

    Args:
        file: Made by the first ``add``.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> tuple[ApiKey, ...]:
        """Return all keys, revoked and expired ones too.

        Raises:
            ConfigError: The file is absent, malformed, or open to others than its owner.
        """
        if not self.file.is_file():
            raise ConfigError(
                f"Expected a file of API keys at {self.file}, found none; "
                f"make one with 'kgrec keys add {self.file} --scope read'"
            )
        mode = self.file.stat().st_mode & 0o777
        if mode & 0o077:
            raise ConfigError(
                f"Expected mode 0600 on {self.file}, got {mode:04o}: others can read or change it; "
                f"run 'chmod 600 {self.file}'"
            )
        try:
            return _Stored.model_validate_json(self.file.read_bytes()).keys
        except ValidationError as error:
            raise ConfigError(
                f"Expected a file of API keys at {self.file}, got {error.error_count()} faults, "
                f"the first: {error.errors()[0]['msg']}; restore it from a copy"
            ) from error

    def add(
        self, scopes: tuple[Scope, ...], *, days: float | None = None, note: str = ""
    ) -> tuple[str, ApiKey]:
        """Make a key and return it; it is kept nowhere, only its hash.

        Args:
            scopes: What it may do.
            days: Days until it is refused; None for never.
            note: Whose it is.

        Raises:
            ConfigError: A scope or the number of days is impossible, or the file is unusable.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise ConfigError(
                f"Expected scopes out of {', '.join(SCOPES)}, got {', '.join(unknown) or 'none'}"
            )
        if days is not None and not 0 < days < 36_525:
            raise ConfigError(f"Expected between 0 and 36525 days until a key expires, got {days}")
        key_id = secrets.token_hex(6)
        secret = f"kgrec_{key_id}_{secrets.token_urlsafe(32)}"
        now = int(time.time())
        made = ApiKey(
            key_id=key_id,
            sha256=_sha256(secret),
            scopes=tuple(dict.fromkeys(scopes)),
            created=now,
            expires=None if days is None else now + int(days * 86_400),
            note=note[:200],
        )
        with self._locked():
            self._write((*(self.read() if self.file.exists() else ()), made))
        return secret, made

    def revoke(self, key_id: str) -> ApiKey:
        """Refuse a key from now on, and return it.

        Raises:
            ConfigError: There is no such key.
        """
        with self._locked():
            keys = {key.key_id: key for key in self.read()}
            if key_id not in keys:
                raise ConfigError(
                    f"Expected the id of a key in {self.file}, got {key_id!r}; "
                    f"'kgrec keys list {self.file}' shows them"
                )
            when = keys[key_id].revoked or int(time.time())
            keys[key_id] = keys[key_id].model_copy(update={"revoked": when})
            self._write(tuple(keys.values()))
        return keys[key_id]

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        staging = self.file.with_name(f".{self.file.name}.new")
        staging.unlink(missing_ok=True)
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(_Stored(keys=keys).model_dump_json(indent=1).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        staging.replace(self.file)
        sync_folder(self.file.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from changing the file meanwhile."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.file.parent, os.O_RDONLY)
        except OSError as error:
            raise ConfigError(
                f"Expected to write {self.file} (got {error}); name a folder that can be written"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class KeyRing:
    """The keys that are asked about at each request; follows the file when it changes.

    A file that has become unusable changes nothing: the keys read last stay in force.
    """

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._stamp = self._stamp_now()
        self._keys = {key.key_id: key for key in file.read()}

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether it had.

        Raises:
            ConfigError: It has become unusable.
        """
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._keys = {key.key_id: key for key in self._file.read()}
        return True

    def find(self, secret: str, now: float | None = None) -> ApiKey | None:
        """Return the valid key that this is, None where it is none; takes the same time for all."""
        parts = secret.split("_", 2)
        known = self._keys.get(parts[1]) if len(parts) == 3 else None
        same = hmac.compare_digest(_sha256(secret), _NO_KEY if known is None else known.sha256)
        valid = known is not None and known.is_valid(time.time() if now is None else now)
        return known if same and valid else None

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            found = self._file.file.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
