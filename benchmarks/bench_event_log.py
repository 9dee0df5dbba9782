"""Appends a second to the event log, against a bare write and fsync of the same bytes.

    python benchmarks/bench_event_log.py --json benchmarks/results/bench_event_log.json

The ways take turns in each round, on the same disk, so that ratios hold where the disk is shared;
figures are medians over rounds. Every append is durable before it returns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from kgrec.evaluation.environment import git_commit
from kgrec.events import Event, EventLog, read_events


def event(name: str) -> Event:
    return Event(
        event_id=name,
        user_id="user-123456",
        item_id="item-654321",
        event="click",
        time=1_700_000_000,
        context={"device": "phone", "page": "start"},
        shown=tuple(f"item-{number}" for number in range(10)),
        position=3,
        source="recommender",
        propensity=0.1,
        artifact_version="artifact-0123456789abcdef",
    )


def bare(folder: Path, count: int) -> float:
    """Return writes a second, each with its own fsync, without format, checks or index."""
    line = event("e0").encoded() + b"\n"
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    start = time.perf_counter()
    for _ in range(count):
        os.write(descriptor, line)
        os.fsync(descriptor)
    taken = time.perf_counter() - start
    os.close(descriptor)
    return count / taken


def appends(folder: Path, count: int, threads: int) -> float:
    """Return appends a second of so many threads, each waiting for its own."""
    with EventLog(folder) as log:

        def work(thread: int) -> None:
            for number in range(count):
                log.append(event(f"{thread}-{number}"))

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        taken = time.perf_counter() - start
        assert log.end == count * threads
    return count * threads / taken


def batched(folder: Path, count: int, size: int) -> float:
    """Return events a second where so many come in one call."""
    with EventLog(folder) as log:
        start = time.perf_counter()
        for first in range(0, count, size):
            log.append_all([event(f"{number}") for number in range(first, first + size)])
        return count / (time.perf_counter() - start)


def read(folder: Path) -> float:
    """Return events a second read back, checked and decoded."""
    start = time.perf_counter()
    count = sum(1 for _ in read_events(folder))
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="On the disk to measure.")
    parser.add_argument("--appends", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        for turn in range(arguments.rounds):
            root = Path(scratch) / str(turn)
            root.mkdir()
            found = {
                "bare write and fsync": bare(root, arguments.appends),
                "1 thread": appends(root / "1", arguments.appends, 1),
                "8 threads": appends(root / "8", arguments.appends, 8),
                "100 a call": batched(root / "100", 20 * arguments.appends, 100),
                "read": read(root / "100"),
            }
            for name, rate in found.items():
                rates.setdefault(name, []).append(rate)
    median = {name: float(np.median(values)) for name, values in rates.items()}
    base = rates["bare write and fsync"]
    result = {
        "events_per_s": {name: round(value) for name, value in median.items()},
        "times_bare": {
            name: round(float(np.median(np.divide(values, base))), 2)
            for name, values in rates.items()
        },
        "event_bytes": len(event("e0").encoded()),
        "rounds": arguments.rounds,
        "machine": {"cpu": platform.processor() or platform.machine(), "os": platform.system()},
        "commit": git_commit(),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
