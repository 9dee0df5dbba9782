"""The journal of a search: one line a trial, so that a search that was stopped goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from kgrec.errors import ConfigError
from kgrec.tuning.record import Trial


class TrialJournal:
    """An append-only file: a header that says what is searched, then the trials."""

    def __init__(self, path: Path, header: Mapping[str, object]) -> None:
        """Open the journal at ``path``, made if absent.

        Args:
            path: The file.
            header: What the trials depend on; a journal of anything else is refused.

        Raises:
            ConfigError: The file is the journal of another search.
        """
        self._path = path
        text = json.dumps(header, sort_keys=True)
        if not path.exists() or not path.read_text(encoding="utf-8").endswith("\n"):
            self._begin_or_mend(text)
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        if first != text:
            raise ConfigError(
                f"Expected the journal of {text} (got {first}) in {path}; name another folder for "
                "journals, or delete the file to start this search afresh"
            )

    def trials(self) -> list[Trial]:
        """Return the trials written so far, in order.

        Raises:
            ConfigError: A line is not a trial.
        """
        lines = self._path.read_text(encoding="utf-8").splitlines()[1:]
        try:
            return [Trial.model_validate_json(line) for line in lines]
        except ValidationError as error:
            raise ConfigError(
                f"Expected one trial a line in {self._path}; {error}; delete the file"
            ) from error

    def append(self, trial: Trial) -> None:
        """Write one trial durably."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(trial.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _begin_or_mend(self, header: str) -> None:
        """Write the header of a new file, or cut the line that a kill left half written."""
        whole = ""
        if self._path.exists():
            text = self._path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(whole or header + "\n", encoding="utf-8")
