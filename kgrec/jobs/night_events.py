"""A night's share of the event log, taken in once each, by offset, as files.

Files are named by the offsets they hold and cover the log from its start without a gap; what the
first N events become depends on those events alone, and on who is forgotten: their rows are empty.
So a night that is killed and started again takes in the same, and none twice, whatever was written
before the kill.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from graph_etl.extra_interactions import COLUMNS, EXTRA
from graph_etl.left_out_users import REASON
from graph_etl.snapshot import sync_folder
from kgrec.errors import DataError
from kgrec.events import StoredEvent, end_of_log, read_events

Forgotten = Callable[[str], bool]
_EVENTS_PER_FILE = 1_000_000
_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")
_HELD = pl.col("event_id").is_not_null()  # the others were purged, or are of forgotten users
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
        return self._events().filter(_HELD & ~self._is_left_out()).select(*COLUMNS).collect()

    def counts(self, audit: dict[str, Any]) -> dict[str, Any]:
        """Return events read, kept, and dropped by reason.

        Args:
            audit: Of the build that took the interactions.

        Raises:
            DataError: An event is not accounted for.
        """
        reasons = {REASON: ~_HELD, "kind left out": _HELD & self._is_left_out()}
        found = self._events().select(
            pl.len().alias("rows"), *(one.sum().alias(reason) for reason, one in reasons.items())
        )
        rows, *numbers = found.collect().row(0)
        built = audit["tables"][EXTRA]
        dropped: dict[str, int] = {}
        for reason, number in (*zip(reasons, numbers, strict=True), *built["dropped"].items()):
            if number:
                dropped[reason] = dropped.get(reason, 0) + number
        if not rows == self.until == built["rows_kept"] + sum(dropped.values()):
            raise DataError(
                f"Expected {self.until} events = kept + dropped, got {built['rows_kept']} + "
                f"{dropped} of {rows} rows; this is a fault of the intake, please report it"
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


def take_in(
    log: Path,
    folder: Path,
    until: int,
    left_out: tuple[str, ...] = (),
    forgotten: Forgotten | None = None,
) -> TakenEvents:
    """Write what no file holds yet, and return all events of the log before ``until``.

    Args:
        log: The event log.
        folder: Where the files lie; made where it is not there.
        until: Offset after the last event wanted, fixed for the night.
        left_out: Kinds of events that become no interaction.
        forgotten: Says of whom nothing is written; of them, as of events that were purged from
            the log, a row with the offset alone. None: of nobody.

    Raises:
        DataError: The log is shorter than what was taken in, or is another log.
        EventLogError: It is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = _check_log(log, folder, until)
    if until > taken:
        _write_between(log, folder, taken, until, forgotten)
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
    for file in reversed(_files(folder)):
        held = pl.scan_parquet(file).select("offset", "event_id").filter(_HELD).tail(1).collect()
        for offset, last in held.iter_rows():
            # none where it was purged from the log, and a kill came before the files
            for found in read_events(log, offset, offset + 1):
                _check_same(last, found, log, folder)
            return taken
    return taken


def _check_same(last: str, found: StoredEvent, log: Path, folder: Path) -> None:
    if found.event.event_id != last:
        raise DataError(
            f"Expected event '{last}' at offset {found.offset} of {log}, as it was taken in, got "
            f"'{found.event.event_id}': this is another log, or it was restored from an old copy "
            f"and went on; put back the log that was taken in, or begin anew by deleting {folder}"
        )


def _write_between(
    log: Path, folder: Path, start: int, until: int, forgotten: Forgotten | None
) -> None:
    rows = _rows(read_events(log, start, until), start, until, forgotten or (lambda user: False))
    while start < until:
        part = list(islice(rows, _EVENTS_PER_FILE))
        stop = start + len(part)
        frame = pl.DataFrame(part, schema=_SCHEMA, orient="row")
        _write(frame, folder / f"{start:020d}-{stop:020d}.parquet")
        start = stop


def _write(frame: pl.DataFrame, file: Path) -> None:
    staging = file.with_suffix(".new")
    with staging.open("wb") as handle:
        frame.write_parquet(handle)
        handle.flush()
        os.fsync(handle.fileno())
    staging.replace(file)
    sync_folder(file.parent)


def purge_taken(folder: Path, forgotten: Forgotten) -> int:
    """Empty the rows of forgotten users in the files of a folder; return how many.

    Each file is replaced whole: killed between two, the same call goes on.
    """
    purged = 0
    for file in _files(folder):
        users = pl.read_parquet(file, columns=["user_id"])["user_id"].drop_nulls().unique()
        gone = [user for user in users.to_list() if forgotten(user)]
        if gone:
            frame = pl.read_parquet(file)
            is_gone = pl.col("user_id").is_in(gone).fill_null(False)
            emptied = [
                pl.when(~is_gone).then(pl.col(name)).alias(name)
                for name in frame.columns
                if name != "offset"
            ]
            purged += frame.filter(is_gone).height
            _write(frame.with_columns(emptied), file)
    return purged


def _rows(
    stored: Iterator[StoredEvent], start: int, until: int, forgotten: Forgotten
) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each offset; one whose event is gone or not to be known is empty."""
    expected = start
    for one in stored:
        event = one.event
        if forgotten(event.user_id):
            continue
        yield from _empty_rows(expected, one.offset)
        expected = one.offset + 1
        context = [{"name": name, "value": value} for name, value in event.context.items()]
        yield (
            one.offset, event.event_id, event.user_id, event.item_id, event.event, event.value,
            int(event.time), context,
        )  # fmt: skip
    yield from _empty_rows(expected, until)


def _empty_rows(start: int, stop: int) -> Iterator[tuple[Any, ...]]:
    for offset in range(start, stop):
        yield (offset, *[None] * (len(_SCHEMA) - 1))
