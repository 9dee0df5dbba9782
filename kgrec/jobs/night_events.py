"""A night's share of the event log, taken in once each, by offset, as immutable files.

Files are named by the offsets they hold and cover the log from its start without a gap; what the
first N events become depends on those events alone. So a night that is killed and started again
takes in the same, and none twice, whatever was written before the kill.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from graph_etl.extra_interactions import COLUMNS, EXTRA
from graph_etl.snapshot import sync_folder
from kgrec.errors import DataError
from kgrec.events import StoredEvent, end_of_log, read_events

_EVENTS_PER_FILE = 1_000_000
_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")
_SCHEMA = {"offset": pl.Int64(), "event_id": pl.String(), **COLUMNS}


@dataclass(frozen=True)
class TakenEvents:
    """The first events of a log, as files, and which of them become interactions.

    Attributes:
        files: In the order of their offsets.
        until: Offset after the last event.
        left_out: Kinds of events that become no interaction.
    """

    files: tuple[Path, ...]
    until: int
    left_out: tuple[str, ...] = ()

    def interactions(self) -> pl.DataFrame:
        """Return the events that become interactions, columns as ``build`` takes them."""
        return self._events().filter(~self._is_left_out()).select(*COLUMNS).collect()

    def counts(self, audit: dict[str, Any]) -> dict[str, Any]:
        """Return events read, kept, and dropped by reason.

        Args:
            audit: Of the build that took the interactions.

        Raises:
            DataError: An event is not accounted for.
        """
        left_out = self._events().filter(self._is_left_out()).select(pl.len()).collect().item()
        built = audit["tables"][EXTRA]
        dropped = {"kind left out": int(left_out)} if left_out else {}
        dropped |= built["dropped"]
        if self.until != built["rows_kept"] + sum(dropped.values()):
            raise DataError(
                f"Expected {self.until} events = kept + dropped, got {built['rows_kept']} + "
                f"{dropped}; this is a fault of the intake, please report it"
            )
        return {"read": self.until, "kept": built["rows_kept"], "dropped": dropped}

    def _events(self) -> pl.LazyFrame:
        nothing = pl.LazyFrame(schema=_SCHEMA)
        frames = [pl.scan_parquet(file) for file in self.files]
        return pl.concat([nothing, *frames]).filter(pl.col("offset") < self.until)

    def _is_left_out(self) -> pl.Expr:
        return pl.col("event").is_in(list(self.left_out))


def end_to_take(log: Path, folder: Path) -> int:
    """Return where a new night's share of the log ends: at the end that the log has now.

    Raises:
        DataError: The log is shorter than what was taken in, or is another log.
        EventLogError: It is absent or damaged.
    """
    end = end_of_log(log)
    _check_log(log, folder, end)
    return end


def take_in(log: Path, folder: Path, until: int, left_out: tuple[str, ...] = ()) -> TakenEvents:
    """Write what no file holds yet, and return all events of the log before ``until``.

    Args:
        log: The event log.
        folder: Where the files lie; made where it is not there.
        until: Offset after the last event wanted, fixed for the night.
        left_out: Kinds of events that become no interaction.

    Raises:
        DataError: The log is shorter than what was taken in, or is another log.
        EventLogError: It is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = _check_log(log, folder, until)
    if until > taken:
        _write_between(log, folder, taken, until)
    return TakenEvents(_files(folder), until, left_out)


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(file for file in folder.glob("*.parquet") if _NAME.fullmatch(file.name)))


def _covered(folder: Path) -> int:
    """Return the offset up to which the files reach."""
    reached = 0
    for file in _files(folder):
        start, stop = (int(end) for end in file.stem.split("-"))
        if start != reached:
            raise DataError(
                f"Expected a file of events from offset {reached} in {folder}, got {file.name}; "
                f"delete the files after it: they are made anew from the log"
            )
        reached = stop
    return reached


def _check_log(log: Path, folder: Path, until: int) -> int:
    """Return how many events were taken in, once it is sure that this log still holds them."""
    taken, end = _covered(folder), end_of_log(log)
    if end < max(taken, until):
        raise DataError(
            f"Expected the event log {log} to hold the {max(taken, until)} events that were taken "
            f"in before, got {end}: it was cut short or replaced; restore it"
        )
    if not taken:
        return 0
    last = pl.scan_parquet(_files(folder)[-1]).select("event_id").tail(1).collect().item()
    found = next(read_events(log, taken - 1, taken)).event.event_id
    if found != last:
        raise DataError(
            f"Expected event '{last}' at offset {taken - 1} of {log}, as it was taken in, got "
            f"'{found}': this is another log, or it was restored from an old copy and went on; "
            f"put back the log that was taken in, or begin anew by deleting {folder}"
        )
    return taken


def _write_between(log: Path, folder: Path, start: int, until: int) -> None:
    stored = read_events(log, start, until)
    while start < until:
        rows = list(_rows(islice(stored, _EVENTS_PER_FILE)))
        stop = start + len(rows)
        frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
        file = folder / f"{start:020d}-{stop:020d}.parquet"
        staging = file.with_suffix(".new")
        with staging.open("wb") as handle:
            frame.write_parquet(handle)
            handle.flush()
            os.fsync(handle.fileno())
        staging.replace(file)
        sync_folder(folder)
        start = stop


def _rows(stored: Iterator[StoredEvent]) -> Iterator[tuple[Any, ...]]:
    for one in stored:
        event = one.event
        context = [{"name": name, "value": value} for name, value in event.context.items()]
        yield (
            one.offset, event.event_id, event.user_id, event.item_id, event.event, event.value,
            int(event.time), context,
        )  # fmt: skip
