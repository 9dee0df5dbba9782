"""The HTTP service under load: its cost beside the library, latency, swaps, and memory in the end.

    OMP_NUM_THREADS=1 python benchmarks/bench_http.py --json benchmarks/results/http.json

Starts 'kgrec serve' with several workers, a Redis of its own, event log and state folder, on the
loopback, and asks it with wrk (Debian packages wrk and redis-server); every answer is made anew.
CPU seconds of the workers, their supervisor and Redis are compared with those of the library,
asked the same by one thread in turn with them: on a shared machine that ratio holds where times do
not. The load at half of saturation pauses at random between requests. During the swaps each answer
is compared with what its artifact alone answers. Sizes are those of MovieLens 100K.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch
from bench_recommend import artifact_of

from kgrec import Recommender
from kgrec.artifact import publish
from kgrec.evaluation.environment import git_commit, machine, versions

ITEMS, USERS, ASKED = 2_000, 1_000, 400
CONNECTIONS = 16
LUA = Path(__file__).with_name("http_load.lua")
TICKS = os.sysconf("SC_CLK_TCK")
START = "import sys; from kgrec.cli import app; sys.argv[0] = 'kgrec'; app()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-http"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="of load in a round")
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--soak-seconds", type=float, default=600)
    parser.add_argument(
        "--soak-rate", type=float, help="soak alone, at so many requests a second; the rest stands"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    artifacts = [artifact_of(arguments.folder, ITEMS, USERS, steps) for steps in (10, 11)]
    with tempfile.TemporaryDirectory() as scratch, redis_server(Path(scratch)) as redis:
        root = Path(scratch)
        publish(artifacts[0], root / "current")
        with serving(root, arguments.workers, redis) as service:
            load = Load(root, service, artifacts)
            if arguments.soak_rate is not None:
                soak = soaked(load, arguments.soak_rate, arguments.soak_seconds)
                write_soak(soak, arguments.json)
                return
            cost = measured_cost(load, artifacts[0], arguments.rounds, arguments.seconds)
            found = {
                "items": ITEMS,
                "users": USERS,
                "workers": arguments.workers,
                "cost": cost,
                "half of saturation": half_of_saturation(load, cost, 2 * arguments.seconds),
                "swaps": swapped(load, artifacts, arguments.swaps),
                "soak": soaked(load, cost["requests a second"] / 2, arguments.soak_seconds),
                "load average of the machine": round(os.getloadavg()[0], 1),
                "niceness": os.nice(0),
                "machine": machine(),
                "versions": versions(),
                "commit": git_commit(),
            }
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


class Service:
    """The running command, asked over its port and looked at through /proc."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, redis_pid: int, log: Path):
        self.process, self.url, self.redis_pid, self.log = process, url, redis_pid, log

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        pids = [int(pid) for pid in children.split()]
        return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of the service and of its Redis."""
        pids = [self.process.pid, *self.workers()]
        return {"service": sum(map(cpu_s_of, pids)), "redis": cpu_s_of(self.redis_pid)}

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics", timeout=60).text
        found = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[0]) if found else 0.0


class Load:
    """wrk with the questions of this benchmark."""

    def __init__(self, root: Path, service: Service, artifacts: list[Path]) -> None:
        self.root, self.service = root, service
        alone = {path.name: Recommender.load(path) for path in artifacts}
        users = next(iter(alone.values())).artifact.users.ids[:ASKED]
        self.users = [str(user) for user in users]
        ask = [f"/v1/recommend\t{json.dumps({'user_id': user, 'k': 10})}" for user in self.users]
        (root / "ask.txt").write_text("\n".join(ask) + "\n")
        rows = [
            f"{name}\t{n}\t{' '.join(item.item_id for item in recommender.recommend(user, k=10))}"
            for name, recommender in alone.items()
            for n, user in enumerate(self.users)
        ]
        (root / "expected.txt").write_text("\n".join(rows) + "\n")
        items = next(iter(alone.values())).artifact.items.ids
        mixed = [
            "/v1/observe\t"
            + json.dumps({"events": [{"user_id": user, "item_id": str(items[n]), "event_id": "@"}]})
            if n % 10 == 0
            else line
            for n, (user, line) in enumerate(zip(self.users, ask, strict=True))
        ]
        (root / "mixed.txt").write_text("\n".join(mixed) + "\n")

    def start(
        self, seconds: float, *, targets: str = "ask.txt", expected: bool = False, pause_ms: int = 0
    ) -> subprocess.Popen[str]:
        words = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{int(seconds)}s", "--timeout", "30s"]
        told = [str(self.root / targets), str(self.root / "expected.txt") if expected else "-"]
        return subprocess.Popen(
            [*words, "-s", str(LUA), self.service.url, "--", *told, str(pause_ms)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, seconds: float, **options: Any) -> dict[str, Any]:
        return ended(self.start(seconds, **options))


def ended(wrk: subprocess.Popen[str]) -> dict[str, Any]:
    text, _ = wrk.communicate()
    told: dict[str, Any] = json.loads(text.splitlines()[-1])
    return told


def measured_cost(load: Load, artifact: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Return requests a CPU second over HTTP and in process, in turns, and their ratio."""
    recommender = Recommender.load(artifact)
    for user in load.users:
        recommender.recommend(user, k=10)
    load.run(seconds)  # both are warm now
    kept: list[dict[str, float]] = []
    for _ in range(rounds):
        began = time.process_time()
        for user in load.users:
            recommender.recommend(user, k=10)
        library = len(load.users) / (time.process_time() - began)
        before = load.service.cpu_s()
        told = load.run(seconds)
        spent = {name: one - before[name] for name, one in load.service.cpu_s().items()}
        assert told["failed"] == 0, told
        kept.append(
            {
                "library, requests a CPU second": library,
                "HTTP, requests a CPU second": told["requests"] / sum(spent.values()),
                "ratio": told["requests"] / sum(spent.values()) / library,
                "share of Redis": spent["redis"] / sum(spent.values()),
                "requests a second": told["requests"] / told["seconds"],
                "CPU seconds a second": sum(spent.values()) / told["seconds"],
            }
        )
    return {
        **{name: round(statistics.median(one[name] for one in kept), 3) for name in kept[0]},
        "ratio of each round": [round(one["ratio"], 3) for one in kept],
    }


def half_of_saturation(load: Load, cost: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return latencies at half of the rate that the service reached under full load."""
    wanted = cost["requests a second"] / 2
    before = load.service.cpu_s()
    # a connection asks once a pause and an answer; an answer is short beside the pause
    told = load.run(seconds, pause_ms=int(1000 * CONNECTIONS / wanted))
    spent = sum(load.service.cpu_s().values()) - sum(before.values())
    return {
        "requests a second": round(told["requests"] / told["seconds"], 1),
        "CPU seconds a second": round(spent / told["seconds"], 3),
        "load average of the machine": round(os.getloadavg()[0], 1),
        **{name: told[name] for name in ("p50_ms", "p90_ms", "p99_ms", "failed")},
    }


def swapped(load: Load, artifacts: list[Path], swaps: int) -> dict[str, Any]:
    """Return what became of requests while artifacts changed, all workers each time."""
    workers = len(load.service.workers())
    wrk = load.start(36_000, expected=True, pause_ms=50)
    began = time.monotonic()
    for swap in range(1, swaps + 1):
        wanted = artifacts[swap % 2]
        publish(wanted, load.root / "current")
        name = f'kgrec_artifact_info{{artifact_id="{wanted.name}"}}'
        while load.service.metric(name) != workers:
            time.sleep(0.02)
    took = time.monotonic() - began
    wrk.send_signal(signal.SIGINT)
    told = ended(wrk)
    done = load.service.metric('kgrec_artifact_swaps_total{outcome="done"}')
    return {
        "swaps": swaps,
        "swaps of workers": int(done),
        "seconds": round(took, 1),
        **{name: told[name] for name in ("requests", "failed", "mixed", "connections_lost")},
        "answers by version": list(told["versions"].values()),
    }


def write_soak(soak: dict[str, Any], record: Path | None) -> None:
    """Print a soak that was measured alone, and put it into the record of all measures."""
    found = {**soak, "load average of the machine": round(os.getloadavg()[0], 1)}
    found["commit"] = git_commit()
    print(json.dumps(found, indent=1))
    if record is not None:
        whole = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        text = json.dumps({**whole, "soak": found}, indent=1)
        record.write_text(text + "\n", encoding="utf-8")


def soaked(load: Load, rate: float, seconds: float) -> dict[str, Any]:
    """Return the memory of the workers over a long load with events, and what was answered."""
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(2.0):
            samples.append(sum(map(resident_mb, load.service.workers())))

    watching = threading.Thread(target=sample)
    watching.start()
    pause_ms = int(1000 * CONNECTIONS / rate)
    told = load.run(seconds, targets="mixed.txt", pause_ms=pause_ms)
    done.set()
    watching.join()
    tenth = max(1, len(samples) // 10)
    parts = [statistics.mean(samples[n : n + tenth]) for n in range(0, len(samples), tenth)]
    starts = load.service.metric("kgrec_worker_starts_total")
    return {
        "seconds": round(told["seconds"]),
        "requests": told["requests"],
        "failed": told["failed"],
        "connections_lost": told["connections_lost"],
        "workers started": int(starts),
        "resident MB of all workers, by tenths": [round(part) for part in parts],
        "last tenth over the third": round(parts[-1] / parts[min(2, len(parts) - 1)], 4),
    }


@contextmanager
def serving(root: Path, workers: int, redis: tuple[str, int]) -> Iterator[Service]:
    settings = {
        "no_auth": True,
        "workers": workers,
        "redis": redis[0],
        "redis_timeout_s": 1.0,
        "event_log": "log",
        "state": "state",
        "rate_per_s": 1e6,
        "burst": 10**6,
        "poll_s": 0.1,
        "timeout_s": 30.0,
    }
    (root / "serve.yaml").write_text(json.dumps(settings))
    words = ["serve", root / "current", "--port", free_port(), "--config", root / "serve.yaml"]
    with (root / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, words)],
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    service = Service(process, f"http://127.0.0.1:{words[3]}", redis[1], root / "serve.log")
    try:
        while (root / "serve.log").read_text().count('"worker answers"') < workers:
            if process.poll() is not None:
                raise SystemExit((root / "serve.log").read_text())
            time.sleep(0.1)
        yield service
    finally:
        process.terminate()
        process.wait()


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, int]]:
    """The address and process of a Redis that keeps nothing on disk."""
    for program in ("redis-server", "wrk"):
        if shutil.which(program) is None:
            raise SystemExit(f"no {program} on this machine; install it: apt-get install {program}")
    port = free_port()
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen([*words, "--dir", str(folder)], stdout=subprocess.DEVNULL) as process:
        try:
            yield f"redis://127.0.0.1:{port}/0", process.pid
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
