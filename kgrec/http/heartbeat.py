"""How a worker shows that it lives, and how its supervisor sees that it does not.

A worker moves a number in memory that both share: the moment up to which nothing of it hung. Memory
takes a beat at once, whatever becomes of the supervisor; a pipe that nobody reads would hold the
worker up. What follows from silence is for supervisor.py.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import time

BEAT_S = 0.5
_LONGEST_STEP_S = 1.0


class Heartbeat:
    """A moment in memory of two processes; handed to a worker when it is started."""

    def __init__(self) -> None:
        self._moment = multiprocessing.get_context("spawn").RawValue(ctypes.c_double, 0.0)

    def beat(self, well_until: float) -> None:
        """Tell up to when, in seconds of a clock that only goes on, nothing hung."""
        self._moment.value = well_until

    @property
    def well_until(self) -> float:
        """What was told last; 0 before the first beat."""
        return float(self._moment.value)


class Silence:
    """How long a heartbeat has told nothing new, as its supervisor saw it.

    Seconds count where they were watched, one at most between two looks: of a machine that slept,
    or a supervisor that was held up, nobody can say that the worker was the one who hung.

    Args:
        heartbeat: What is looked at.
    """

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._heard = heartbeat.well_until
        self._looked = time.monotonic()
        self._silent_s = 0.0

    def forgive(self) -> None:
        """Count anew from here."""
        self._silent_s = 0.0

    def look(self) -> float:
        """Return the seconds of silence up to now."""
        now, heard = time.monotonic(), self._heartbeat.well_until
        self._silent_s += min(now - self._looked, _LONGEST_STEP_S)
        if heard != self._heard:
            self._heard, self._silent_s = heard, 0.0
        self._looked = now
        return self._silent_s
