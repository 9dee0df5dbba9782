"""What a worker shows of its life, and what its supervisor makes of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from http_fixtures import Stalled, make_service
from serving_data import make_artifact

from kgrec.http.heartbeat import BEAT_S, Heartbeat, Silence
from kgrec.http.requests import RecommendRequest
from kgrec.http.server import DrainingServer


def test_silence_counts_from_the_last_beat_and_while_it_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    heartbeat = Heartbeat()
    silence = Silence(heartbeat)
    seen = []
    for passed, beats in [(0.5, True), (0.5, False), (0.5, False), (900.0, False), (0.5, True)]:
        now += passed
        if beats:
            heartbeat.beat(now)
        seen.append(silence.look())
    assert seen == [0.0, 0.5, 1.0, 2.0, 0.0]
    now += 0.5
    assert silence.look() == 0.5
    silence.forgive()
    now += 0.25
    assert silence.look() == 0.25


def test_a_call_that_does_not_come_back_stops_the_heart_of_a_worker(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    config = {"no_auth": True, "timeout_s": 3.0, "threads": 2}
    service = make_service(tmp_path, Stalled, config)
    recommender = service.recommender
    assert isinstance(recommender, Stalled)
    heartbeat = Heartbeat()
    moments: list[float] = []

    async def ask() -> None:
        server = DrainingServer(service, "127.0.0.1", 0, heartbeat=heartbeat)
        beating = asyncio.create_task(server._beat(heartbeat))
        asked = RecommendRequest(user_id="user-0")
        assert (await service.ladder.recommend([asked], asked))[0].rung == "personalised"
        for stalls in (False, True, True):
            if stalls:
                recommender.go_on.clear()
                assert (await service.ladder.recommend([asked], asked))[0].rung != "personalised"
            for _ in range(2):
                await asyncio.sleep(1.5 * BEAT_S)
                moments.append(heartbeat.well_until)
        recommender.go_on.set()
        while heartbeat.well_until == moments[-1]:
            await asyncio.sleep(BEAT_S)
        beating.cancel()

    asyncio.run(ask())
    service.close()
    assert moments[0] < moments[1] < moments[2]
    assert len(set(moments[2:6])) == 1
    assert heartbeat.well_until > moments[-1]
