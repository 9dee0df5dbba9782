"""The service as it runs: started by its command, asked over a port, swapped, stopped."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from http_fixtures import STARTED_WITHIN_S, Stalled, command, listening
from serving_data import SCORERS, SmallEase, make_artifact, make_interactions, make_training_data
from typer.testing import CliRunner

from kgrec import Recommender
from kgrec.artifact import publish, save_artifact
from kgrec.cli import app
from kgrec.client import Client
from kgrec.http.keys import KeyFile
from kgrec.models.baselines import make_baseline

NUM_SWAPS = 100


def test_the_command_serves_with_keys_logs_json_and_stops_in_order(tmp_path: Path) -> None:
    train = make_training_data()
    folder = save_artifact(tmp_path, make_baseline("ease").fit(train), train)
    publish(folder, tmp_path / "current")
    reader, known = KeyFile(tmp_path / "keys.json").add(("read",))
    config = tmp_path / "serve.yaml"
    config.write_text("keys: keys.json\nevent_log: log\npoll_s: 0.05\ndrain_s: 0.2\n")
    with command(tmp_path, "--config", config) as (process, url):
        with Client(url, reader) as client:
            told = client.recommend("user-0", k=3, explain=True)
            alone = Recommender.load(tmp_path / "current").recommend("user-0", k=3, explain=True)
            assert (told.items, told.artifact_id) == (alone.items, alone.artifact_id)
            assert client.ready()
        assert httpx.post(f"{url}/v1/recommend", json={"user_id": "user-0"}).status_code == 401
        KeyFile(tmp_path / "keys.json").revoke(known.key_id)
        headers = {"Authorization": f"Bearer {reader}"}
        end = time.monotonic() + STARTED_WITHIN_S
        status = 200
        while status != 401 and time.monotonic() < end:
            asked = {"user_id": "user-0"}
            status = httpx.post(f"{url}/v1/recommend", json=asked, headers=headers).status_code
        assert status == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(STARTED_WITHIN_S) == 0
    text = (tmp_path / "serve.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    (answered,) = [line for line in requests if line.get("request_id") == told.request_id]
    assert answered["served"] == "personalised"
    assert (answered["route"], answered["status"]) == ("/v1/recommend", 200)
    assert (answered["key_id"], answered["artifact_id"]) == (known.key_id, told.artifact_id)
    assert "user-0" not in text
    assert reader.split("_", 2)[2] not in text
    assert "stopping" in [line["event"] for line in lines]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Expected a file of API keys"),
        (("--no-auth", "--host", "0.0.0.0"), "Expected a loopback address"),
        (("--no-auth", "--workers", "2"), "Expected a Redis for 2 workers, got none"),
        (("--no-auth", "--redis", "localhost"), "Expected the address of a Redis"),
        (("--no-auth",), "Expected an artifact folder or pointer file"),
    ],
)
def test_the_command_says_why_it_may_not_start(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(app, ["serve", str(tmp_path / "current"), *options])
    assert done.exit_code == 2
    assert message in done.stderr


def test_what_is_in_the_works_ends_while_new_requests_are_sent_away(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    given = {"no_auth": True, "timeout_s": 60.0, "drain_s": 0.0, "drain_timeout_s": 60.0}
    with listening(tmp_path, kind=Stalled, **given) as (url, server):
        recommender = server.service.recommender
        assert isinstance(recommender, Stalled)
        recommender.go_on.clear()
        answers: list[httpx.Response] = []

        def ask() -> None:
            body = {"user_id": "user-0"}
            answers.append(httpx.post(f"{url}/v1/recommend", json=body, timeout=60.0))

        asking = threading.Thread(target=ask)
        asking.start()
        while server.service.in_flight == 0:
            time.sleep(0.01)
        server.handle_exit(signal.SIGTERM, None)
        sent_away = httpx.post(f"{url}/v1/recommend", json={"user_id": "user-0"})
        assert sent_away.status_code == 503
        assert sent_away.headers["retry-after"] == "1"
        assert httpx.get(f"{url}/ready").status_code == 503
        recommender.go_on.set()
        asking.join()
    assert [answer.json()["served"] for answer in answers] == ["personalised"]


@pytest.mark.slow
def test_a_hundred_swaps_under_load_lose_no_request_and_mix_no_versions(tmp_path: Path) -> None:
    train = make_training_data()
    folders = []
    for seed in (0, 1):
        other = replace(train, interactions=make_interactions(seed))
        folders.append(save_artifact(tmp_path, SmallEase().fit(other), other, scorers=SCORERS))
    publish(folders[0], tmp_path / "current")
    users = [f"user-{n}" for n in range(8)]
    expected = {
        folder.name: {user: [item.item_id for item in alone.recommend(user, k=5)] for user in users}
        for folder in folders
        for alone in [Recommender.load(folder, scorers=SCORERS)]
    }
    assert expected[folders[0].name] != expected[folders[1].name]
    seen: Counter[str] = Counter()
    faults: list[str] = []
    done = threading.Event()

    def ask(url: str, first: int) -> None:
        with httpx.Client(base_url=url, timeout=60.0) as client:
            place = first
            while not done.is_set():
                user = users[place % len(users)]
                place += 1
                answer = client.post("/v1/recommend", json={"user_id": user, "k": 5})
                told = answer.json() if answer.status_code == 200 else {}
                got = [item["item_id"] for item in told.get("items", ())]
                if told.get("served") != "personalised":
                    faults.append(answer.text)
                elif got != expected[told["artifact_id"]][user]:
                    faults.append(f"mixed: {answer.text}")
                else:
                    seen[told["artifact_id"]] += 1

    given = {"no_auth": True, "poll_s": 0.005, "timeout_s": 60.0}
    with listening(tmp_path, **given) as (url, server):
        threads = [threading.Thread(target=ask, args=(url, first)) for first in (0, 3)]
        for thread in threads:
            thread.start()
        for swap in range(NUM_SWAPS):
            wanted = folders[(swap + 1) % 2]
            publish(wanted, tmp_path / "current")
            while server.service.recommender.artifact_id != wanted.name:
                time.sleep(0.002)
        done.set()
        for thread in threads:
            thread.join()
        text = httpx.get(f"{url}/metrics").text
    assert faults == []
    assert min(seen.values()) > 0
    assert len(seen) == 2
    assert f'kgrec_artifact_swaps_total{{outcome="done"}} {NUM_SWAPS}.0' in text
    assert 'outcome="failed"' not in text
