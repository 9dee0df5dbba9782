"""What a night has done so far, on disk after every step, and the lock against a second night."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from graph_etl.snapshot import sync_folder, write_synced
from kgrec.errors import ConfigError, NightRunningError


@contextmanager
def night_lock(file: Path) -> Iterator[None]:
    """Hold a lock that the system frees when the process ends, however it ends.

    Raises:
        NightRunningError: Another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 40).decode(errors="replace").strip() or "unknown"
            raise NightRunningError(
                f"Expected no other night in {file.parent}, found one running (process {holder}); "
                "wait for it to end"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


@dataclass
class NightJournal:
    """The steps of one night and what each of them gave.

    Attributes:
        file: Where it is kept.
        night: Its id, the UTC time it began.
        config_digest: Of the configuration; another one begins a new night.
        steps: Step -> what it gave; a step that stands here is not done again.
        finished: Whether the night came to its end.
    """

    file: Path
    night: str
    config_digest: str
    steps: dict[str, dict[str, Any]]
    finished: bool = False

    @classmethod
    def open(cls, file: Path, config_digest: str) -> NightJournal:
        """Return the journal of a night that was stopped, or a new one."""
        if file.is_file():
            try:
                found = cls(file, **json.loads(file.read_text(encoding="utf-8")))
            except (TypeError, ValueError) as error:
                raise ConfigError(
                    f"Expected a journal of a night in {file}, got something else ({error}); "
                    "delete it to begin anew"
                ) from error
            if not found.finished and found.config_digest == config_digest:
                return found
        now = datetime.now(UTC)
        return cls(file, now.strftime("%Y%m%dT%H%M%SZ"), config_digest, {})

    def record(self, step: str, gave: Mapping[str, Any]) -> None:
        """Write that a step is done, and return when that is on disk."""
        self.steps[step] = dict(gave)
        self._write()

    def keep_only(self, *steps: str) -> None:
        """Forget all steps but these; on disk with the next one that is recorded."""
        self.steps = {step: gave for step, gave in self.steps.items() if step in steps}

    def finish(self) -> None:
        """Write that the night is over."""
        self.finished = True
        self._write()

    def _write(self) -> None:
        content = {key: value for key, value in vars(self).items() if key != "file"}
        staging = self.file.with_name(f".{self.file.name}.new")
        write_synced(staging, json.dumps(content, indent=1).encode())
        staging.replace(self.file)
        sync_folder(self.file.parent)
