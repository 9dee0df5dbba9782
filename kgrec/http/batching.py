"""Questions that come while the model is busy are asked in one batch as soon as it is free.

Nobody waits for company: a question that finds the model free is asked alone. A batch costs far
less than its questions one by one, and threads that answer at once only keep each other waiting;
so one batch runs at a time, unless it takes so long that something must be wrong with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeAlias, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")
_Waiting: TypeAlias = list[tuple[Hashable, Q, asyncio.Future[A]]]
MAX_BATCH = 16


class Batching(Generic[Q, A]):
    """Collects questions; used on one event loop.

    Args:
        ask: Answers a batch, each question with its answer or the error that is its own.
        patience_s: How long a batch may keep the others waiting.
    """

    def __init__(
        self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]], patience_s: float
    ) -> None:
        self._ask = ask
        self._patience_s = patience_s
        self._waiting: _Waiting[Q, A] = []
        self._running: set[asyncio.Task[None]] = set()
        self._collecting: asyncio.Task[None] | None = None

    async def ask(self, kind: Hashable, question: Q) -> A:
        """Return the answer to a question, which is asked together with others of its kind.

        Raises:
            Exception: What ``ask`` has for this question, or raised for all of its batch.
        """
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((kind, question, answer))
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.create_task(self._collect())
        return await answer

    async def _collect(self) -> None:
        while self._waiting:
            kind = self._waiting[0][0]
            batch: _Waiting[Q, A] = []
            rest: _Waiting[Q, A] = []
            for one in self._waiting:
                if one[2].done():
                    continue  # who gave up is not asked for
                fits = one[0] == kind and len(batch) < MAX_BATCH
                (batch if fits else rest).append(one)
            self._waiting = rest
            if not batch:
                continue
            task = asyncio.create_task(self._answer([(one[1], one[2]) for one in batch]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.wait([task], timeout=self._patience_s)

    async def _answer(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        answers: Sequence[A | Exception]
        try:
            answers = await self._ask([question for question, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
