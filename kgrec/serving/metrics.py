"""Counts and latencies of what was asked, in memory; exporting them is for others."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True)
class Latency:
    """How long calls of one kind took.

    Attributes:
        counts: Calls in each bucket: up to BOUNDS_S[0] seconds, up to BOUNDS_S[1], ..., longer.
        total_s: Sum over all calls.
    """

    counts: tuple[int, ...]
    total_s: float

    @property
    def calls(self) -> int:
        """Number of calls."""
        return sum(self.counts)

    def quantile_s(self, share: float) -> float:
        """Return the upper bound of the bucket in which that share of calls is reached."""
        wanted, seen = share * self.calls, 0
        for bound, count in zip(BOUNDS_S, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return float("inf")


@dataclass(frozen=True)
class Metrics:
    """What a Recommender has done since it was loaded.

    Attributes:
        counts: Name -> number: "events", "events_repeated", "swaps", "error.UnknownItemError", ...
        gauges: Name -> number as it is now: "live_users", "forgotten_users", ...
        latency: Method -> how long its calls took.
    """

    counts: Mapping[str, int]
    gauges: Mapping[str, int]
    latency: Mapping[str, Latency]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


class Meter:
    """Counts and times; any number of threads may use it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._total_s: dict[str, float] = {}
        self._changing = threading.Lock()

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count."""
        with self._changing:
            self._counts[name] += number

    @contextmanager
    def timed(self, method: str) -> Iterator[None]:
        """Time a call, and count the error that it raises by its class."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.count(f"error.{type(error).__name__}")
            raise
        finally:
            spent = time.perf_counter() - start
            with self._changing:
                buckets = self._buckets.setdefault(method, [0] * (len(BOUNDS_S) + 1))
                buckets[bisect_left(BOUNDS_S, spent)] += 1
                self._total_s[method] = self._total_s.get(method, 0.0) + spent

    def metrics(self, gauges: Mapping[str, int]) -> Metrics:
        """Return all counts and times as they are now."""
        with self._changing:
            latency = {
                method: Latency(tuple(buckets), self._total_s[method])
                for method, buckets in self._buckets.items()
            }
            return Metrics(dict(self._counts), dict(gauges), latency)
