"""The coroutines answer as the methods do, in a bounded number of threads."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import pytest
from serving_data import SCORERS, make_artifact

from kgrec import Recommender, UnknownItemError
from kgrec.serving.async_recommender import _METHODS, AsyncRecommender


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root)
    return Recommender.load(root / "current", scorers=SCORERS)


def test_coroutines_answer_as_the_methods(rec: Recommender) -> None:
    async def ask() -> None:
        other = AsyncRecommender(rec, max_threads=2)
        assert await other.recommend("user-0", k=5) == rec.recommend("user-0", k=5)
        assert (await other.call(rec.search, "Item 7", k=1))[0].item_id == "item-7"
        with pytest.raises(UnknownItemError):
            await other.similar("nothing")
        assert not await other.reload()

    anyio.run(ask)


def test_no_more_threads_run_than_allowed(rec: Recommender, tmp_path: Path) -> None:
    running, most, changing = 0, 0, threading.Lock()
    gate = threading.Barrier(3, timeout=30)

    def slow() -> int:
        nonlocal running, most
        with changing:
            running += 1
            most = max(most, running)
        gate.wait()  # passes only where three run at once
        with changing:
            running -= 1
        return running

    async def ask() -> None:
        other = AsyncRecommender(rec, max_threads=3)
        async with anyio.create_task_group() as group:
            for _ in range(9):
                group.start_soon(other.call, slow)

    anyio.run(ask)
    assert most == 3


def test_every_method_is_there(rec: Recommender) -> None:
    other = AsyncRecommender(rec)
    for name in _METHODS:
        assert callable(getattr(rec, name))
        assert name in dir(other)
    with pytest.raises(AttributeError, match="no attribute 'load'"):
        _ = other.load
