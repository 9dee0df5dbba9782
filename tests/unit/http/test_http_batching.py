"""Questions that wait together are asked together, and each gets its own answer or error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from http_fixtures import listening
from serving_data import SCORERS, make_artifact

from kgrec import Recommender
from kgrec.client import Client
from kgrec.http.batching import MAX_BATCH, Batching

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Model:
    """Answers with the question itself when it is let; number 13 is refused."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, questions: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(questions))
        await self.go_on.wait()
        return [ValueError("unlucky") if one == 13 else one for one in questions]


async def asked(batching: Batching[int, int], *questions: int, kind: str = "a") -> list[object]:
    tasks = [asyncio.create_task(batching.ask(kind, one)) for one in questions]
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_the_first_is_asked_alone_and_those_who_wait_together() -> None:
    model = Model()
    batching = Batching(model, patience_s=60)
    first = asyncio.create_task(batching.ask("a", 0))
    await asyncio.sleep(0.01)
    others = asyncio.create_task(asked(batching, *range(1, MAX_BATCH + 4)))
    await asyncio.sleep(0.01)
    assert model.batches == [[0]]
    model.go_on.set()
    assert await first == 0
    assert await others == [*range(1, 13), *(await others)[12:13], *range(14, MAX_BATCH + 4)]
    assert isinstance((await others)[12], ValueError)  # of 13 alone
    assert [len(batch) for batch in model.batches] == [1, MAX_BATCH, 3]


async def test_kinds_are_not_mixed_and_keep_their_turn() -> None:
    model = Model()
    model.go_on.set()
    batching = Batching(model, patience_s=60)
    found = await asyncio.gather(
        asked(batching, 1, 2), asked(batching, 3, 4, kind="b"), asked(batching, 5)
    )
    assert found == [[1, 2], [3, 4], [5]]
    assert sorted(model.batches) == [[1, 2, 5], [3, 4]]


async def test_a_batch_that_takes_long_does_not_hold_up_the_next() -> None:
    model = Model()
    batching = Batching(model, patience_s=0.01)
    stalled = asyncio.create_task(batching.ask("a", 1))
    await asyncio.sleep(0.05)
    after = asyncio.create_task(batching.ask("a", 2))
    await asyncio.sleep(0.05)
    assert model.batches == [[1], [2]]
    model.go_on.set()
    assert (await stalled, await after) == (1, 2)


async def test_who_gave_up_is_not_asked_for() -> None:
    model = Model()
    batching = Batching(model, patience_s=60)
    first = asyncio.create_task(batching.ask("a", 1))
    await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await batching.ask("a", 2)
    last = asyncio.create_task(batching.ask("a", 3))
    model.go_on.set()
    assert (await first, await last) == (1, 3)
    assert model.batches == [[1], [3]]


async def test_an_error_of_a_whole_batch_is_told_to_all_of_it() -> None:
    async def broken(questions: Sequence[int]) -> Sequence[int | Exception]:
        raise RuntimeError("broken")

    found = await asked(Batching(broken, patience_s=60), 1, 2)
    assert [str(one) for one in found] == ["broken", "broken"]


def test_answers_of_many_at_once_are_those_of_the_library(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    alone = Recommender.load(tmp_path / "current", scorers=SCORERS)
    users = [f"user-{n % 40}" for n in range(200)]
    with listening(tmp_path, no_auth=True, timeout_s=30.0) as (url, _):

        def ask(user: str) -> list[str]:
            with Client(url) as client:
                if user == "user-7":  # refused, and nobody else with it
                    with pytest.raises(Exception, match="no-such-item"):
                        client.recommend(history=["no-such-item"], k=5)
                return [item.item_id for item in client.recommend(user, k=5)]

        with ThreadPoolExecutor(12) as threads:
            found = list(threads.map(ask, users))
    assert found == [[item.item_id for item in alone.recommend(user, k=5)] for user in users]
