"""Several workers on one port, by the command: killed, without Redis, swapped, stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from http_fixtures import STARTED_WITHIN_S, command
from redis_fixtures import RedisServer
from serving_data import make_interactions, make_training_data
from typer.testing import CliRunner

from kgrec import Recommender
from kgrec.artifact import publish, save_artifact
from kgrec.cli import app
from kgrec.events import read_events
from kgrec.models.baselines import make_baseline

pytestmark = pytest.mark.redis
WORKERS = 2
USERS = [f"user-{n}" for n in range(8)]


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two artifacts that answer differently, the first one published."""
    train = make_training_data()
    made = []
    for seed in (0, 1):
        other = replace(train, interactions=make_interactions(seed))
        made.append(save_artifact(tmp_path, make_baseline("ease").fit(other), other))
    publish(made[0], tmp_path / "current")
    return made


@contextmanager
def workers(root: Path, redis: RedisServer, **settings: object) -> Iterator[Service]:
    """A service of several workers, all of which answer."""
    given = {
        "no_auth": True,
        "workers": WORKERS,
        "redis": redis.url,
        "redis_timeout_s": 5.0,  # a busy machine must not look like one without Redis
        "event_log": "log",
        "state": "state",
        "rate_per_s": 1e6,
        "burst": 10**6,
        "poll_s": 0.05,
        "drain_s": 0.1,
        "timeout_s": 30.0,
        **settings,
    }
    (root / "serve.yaml").write_text(json.dumps(given))
    with command(root, "--config", root / "serve.yaml") as (process, url):
        service = Service(root, process, url)
        service.wait(lambda: len(service.pids("worker answers")) == WORKERS)
        yield service


class Service:
    """The running command, its address and its log."""

    def __init__(self, root: Path, process: subprocess.Popen[str], url: str) -> None:
        self.root, self.process, self.url = root, process, url

    def lines(self) -> list[dict[str, object]]:
        text = (self.root / "serve.log").read_text()
        whole = text[: text.rfind("\n") + 1]  # the last line may be half written yet
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def pids(self, event: str) -> list[int]:
        return [int(str(line["pid"])) for line in self.lines() if line["event"] == event]

    def wait(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + STARTED_WITHIN_S
        while not done():
            assert self.process.poll() is None
            assert time.monotonic() < end, (self.root / "serve.log").read_text()[-3000:]
            time.sleep(0.05)

    def post(self, path: str, **body: object) -> dict[str, object]:
        """Ask on a connection of its own, so that any worker may answer."""
        answer = httpx.post(f"{self.url}/v1/{path}", json=body, timeout=60.0)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics").text
        return sum(float(value) for value in re.findall(rf"^{name} (\S+)$", text, re.MULTILINE))


@pytest.fixture
def service(tmp_path: Path, folders: list[Path], redis_server: RedisServer) -> Iterator[Service]:
    with workers(tmp_path, redis_server) as service:
        yield service


def test_a_killed_worker_loses_no_acknowledged_event_and_comes_back(service: Service) -> None:
    acknowledged: dict[str, int] = {}
    lost_connections: list[str] = []
    faults: list[str] = []
    done = threading.Event()

    def observe(thread: int) -> None:
        client = httpx.Client(base_url=service.url, timeout=60.0)
        number = 0
        while not done.is_set():
            name = f"e{thread}-{number}"
            event = {"event_id": name, "user_id": f"new-{thread}", "item_id": "item-1", "time": 1}
            try:
                answer = client.post("/v1/observe", json={"events": [event]})
            except httpx.TransportError:  # the worker of this connection was killed: send again
                lost_connections.append(name)
                client.close()
                client = httpx.Client(base_url=service.url, timeout=60.0)
                continue
            number += 1
            if answer.status_code == 200:
                acknowledged[name] = answer.json()["observed"][0]["offset"]
            else:
                faults.append(answer.text)
        client.close()

    threads = [threading.Thread(target=observe, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for kills in range(1, 4):
        before = len(acknowledged)
        service.wait(lambda before=before: len(acknowledged) > before + 30)
        alive = service.pids("worker answers")[-1]
        os.kill(alive, signal.SIGKILL)
        service.wait(lambda kills=kills: len(service.pids("worker ended")) == kills)
        before = len(acknowledged)
        service.wait(lambda before=before: len(acknowledged) > before + 30)  # the other goes on
        service.wait(lambda kills=kills: len(service.pids("worker answers")) == WORKERS + kills)
    done.set()
    for thread in threads:
        thread.join()
    found = [stored.event.event_id for stored in read_events(service.root / "log")]
    assert faults == []
    assert lost_connections
    assert len(found) == len(set(found))
    assert {name: found[offset] for name, offset in acknowledged.items()} == {
        name: name for name in acknowledged
    }
    assert set(found) == set(acknowledged)
    assert service.metric("kgrec_worker_starts_total") == WORKERS + 3
    service.wait(lambda: service.metric('kgrec_users_from{source="redis"}') == WORKERS)


def test_a_worker_that_stands_still_is_replaced_while_the_others_answer(
    tmp_path: Path, folders: list[Path], redis_server: RedisServer
) -> None:
    done = threading.Event()
    answered: Counter[str] = Counter()
    faults: list[str] = []

    def ask(client_timeout_s: float) -> None:
        client = httpx.Client(base_url=service.url, timeout=client_timeout_s)
        while not done.is_set():
            try:
                answer = client.post("/v1/recommend", json={"user_id": "user-0", "k": 5})
            except httpx.TransportError:  # the worker of this connection stands still, or is gone
                answered["asked again"] += 1
                client.close()
                client = httpx.Client(base_url=service.url, timeout=client_timeout_s)
                continue
            if answer.status_code == 200 and answer.json()["served"] == "personalised":
                answered["answered"] += 1
            else:
                faults.append(answer.text)
        client.close()

    # above what a busy machine may keep a worker from its processor for
    with workers(tmp_path, redis_server, hung_s=10.0) as service:
        threads = [threading.Thread(target=ask, args=(5.0,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        service.wait(lambda: answered["answered"] > 30)
        still = service.pids("worker answers")[0]
        os.kill(still, signal.SIGSTOP)
        before = answered["answered"]
        service.wait(lambda: answered["answered"] > before + 30)  # the other goes on
        assert is_alive(still)
        service.wait(lambda: still in service.pids("worker hangs"))
        service.wait(lambda: len(service.pids("worker answers")) == WORKERS + 1)
        before = answered["answered"]
        service.wait(lambda: answered["answered"] > before + 30)
        done.set()
        for thread in threads:
            thread.join()
        assert not is_alive(still)
        assert service.metric("kgrec_workers_hung_total") == 1
        assert service.metric("kgrec_worker_starts_total") == WORKERS + 1
    assert faults == []
    assert service.pids("worker hangs") == service.pids("worker ended") == [still]


def test_what_one_worker_is_told_all_know(service: Service) -> None:
    asked = {"user_id": "new", "item_id": "item-0", "value": 5.0, "event_id": "one"}
    for turn in range(12):
        told = service.post("observe", events=[asked])["observed"]
        assert isinstance(told, list)
        assert (told[0]["offset"], told[0]["repeated"]) == (0, turn > 0)
        assert service.post("recommend", user_id="new")["personalised"]
    assert service.post("forget", user_id="new")["newly"]
    for _ in range(12):
        assert not service.post("recommend", user_id="new")["personalised"]
        assert not service.post("forget", user_id="new")["newly"]
    service.post("items/remove", item_id="item-3")
    everything = {"history": ["item-0"], "k": 60}
    time.sleep(1.0)  # what the workers have
    for _ in range(12):
        items = service.post("recommend", **everything)["items"]
        assert isinstance(items, list)
        assert "item-3" not in [item["item_id"] for item in items]
    assert service.metric(r'kgrec_http_requests_total{route="/v1/observe",status="200"}') == 12


def test_without_redis_the_service_says_so_goes_on_and_recovers(
    service: Service, redis_server: RedisServer
) -> None:
    def health() -> list[str]:
        answers = [httpx.get(f"{service.url}/health").json() for _ in range(12)]
        return sorted({f"{answer['status']} {answer['users_from']}" for answer in answers})

    rating = {"item_id": "item-0", "value": 5.0}
    service.post("observe", events=[{"user_id": "before", **rating}])
    assert health() == ["ok redis"]
    redis_server.stop()
    service.wait(lambda: health() == ["degraded log"])
    assert service.metric("kgrec_shared_state_faults_total") >= WORKERS
    assert service.metric('kgrec_users_from{source="log"}') == WORKERS
    service.post("observe", events=[{"user_id": "meanwhile", **rating}])
    for user in ("before", "meanwhile"):
        service.wait(
            lambda user=user: all(
                service.post("recommend", user_id=user)["personalised"] for _ in range(12)
            )
        )
    service.post("forget", user_id="before")
    assert not any(service.post("recommend", user_id="before")["personalised"] for _ in range(12))
    redis_server.start()
    service.wait(lambda: health() == ["ok redis"])
    assert all(service.post("recommend", user_id="meanwhile")["personalised"] for _ in range(12))
    with redis_server.client() as client:
        assert len(client.keys("*:user:*")) == 1


def test_swaps_under_load_mix_no_versions_whichever_worker_answers(
    service: Service, folders: list[Path]
) -> None:
    expected = {
        folder.name: {user: [item.item_id for item in alone.recommend(user, k=5)] for user in USERS}
        for folder in folders
        for alone in [Recommender.load(folder)]
    }
    assert expected[folders[0].name] != expected[folders[1].name]
    seen: Counter[str] = Counter()
    faults: list[str] = []
    done = threading.Event()

    def ask(first: int) -> None:
        with httpx.Client(base_url=service.url, timeout=60.0) as client:
            place = first
            while not done.is_set():
                place += 1
                user = USERS[place % len(USERS)]
                answer = client.post("/v1/recommend", json={"user_id": user, "k": 5})
                told = answer.json()
                got = [item["item_id"] for item in told.get("items", ())]
                if told.get("served") != "personalised":
                    faults.append(answer.text)
                elif got != expected[told["artifact_id"]][user]:
                    faults.append(f"mixed: {answer.text}")
                else:
                    seen[told["artifact_id"]] += 1

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for swap in range(1, 11):
        wanted = folders[swap % 2]
        publish(wanted, service.root / "current")
        name = f'kgrec_artifact_info{{artifact_id="{wanted.name}"}}'
        service.wait(lambda name=name: service.metric(name) == WORKERS)
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert set(seen) == {folder.name for folder in folders}
    assert service.metric(r'kgrec_artifact_swaps_total{outcome="done"}') == 10 * WORKERS


def test_a_signal_ends_all_workers_in_order(service: Service) -> None:
    pids = service.pids("worker answers")
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(STARTED_WITHIN_S) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert [line["event"] for line in service.lines()].count("stopping") == WORKERS
    assert "worker ended" not in [line["event"] for line in service.lines()]


def test_workers_end_where_their_supervisor_is_killed(service: Service) -> None:
    pids = service.pids("worker answers")
    service.process.kill()
    end = time.monotonic() + STARTED_WITHIN_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_service_starts_and_answers_while_redis_is_down(
    tmp_path: Path, folders: list[Path], redis_server: RedisServer
) -> None:
    redis_server.stop()
    with workers(tmp_path, redis_server) as service:
        assert httpx.get(f"{service.url}/health").json()["status"] == "degraded"
        service.post("observe", events=[{"user_id": "new", "item_id": "item-0", "value": 5.0}])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("current", b"nothing", "Expected"),
        ("log/00000000000000000000.events", b"this is no event log at all\n", "Expected record 0"),
    ],
)
def test_what_keeps_workers_from_starting_is_told_by_the_command(
    tmp_path: Path, folders: list[Path], name: str, content: bytes, message: str
) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / name).write_bytes(content)
    options = ["--no-auth", "--workers", "2", "--redis", "redis://127.0.0.1:1", "--port", "0"]
    start = "import sys; from kgrec.cli import app; sys.argv[0] = 'kgrec'; app()"
    words = ["serve", str(tmp_path / "current"), "--event-log", str(tmp_path / "log"), *options]
    done = subprocess.run(
        [sys.executable, "-c", start, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"Expected a worker to begin to answer, got: {message}" in done.stderr


def test_a_port_that_is_taken_is_told(
    tmp_path: Path, folders: list[Path], redis_server: RedisServer
) -> None:
    options = ["--no-auth", "--workers", "2", "--redis", redis_server.url]
    words = ["serve", str(tmp_path / "current"), "--port", str(redis_server.port), *options]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "Expected to listen on 127.0.0.1" in done.stderr


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
