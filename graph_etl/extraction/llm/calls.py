"""A question to the model until it is answered or given up: budget, pace, retries, dead servers.

What one request is and which errors there are is told in client.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graph_etl.errors import ExtractionError
from graph_etl.extraction.config import LlmConfig
from graph_etl.extraction.llm.budget import Budget, Reserved
from graph_etl.extraction.llm.client import CallError, ChatClient, Reply
from graph_etl.extraction.llm.pacing import Pacer, backoff_s
from graph_etl.extraction.records import Failure, Usage

BYTES_A_TOKEN = 4
"""What a token has, about, where nothing better is known: English has 4 to 5, Chinese 2 to 3."""


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a question.

    Attributes:
        outcome: A reply, or why there is none.
        usage: What it cost, as far as the service told.
    """

    outcome: Reply | Failure
    usage: Usage


class Caller:
    """Asks a server for an engine; one event loop uses it.

    Args:
        client: The server.
        config: Limits of the engine.
    """

    def __init__(self, client: ChatClient, config: LlmConfig) -> None:
        self.client = client
        self.is_stopped = False  # set where the run is to end: no more tries then
        self._config = config
        self._budget = Budget(config.budget)
        self._pacer = Pacer(config.requests_per_minute, config.tokens_per_minute)
        self._in_a_row = 0
        self._ever_answered = False

    async def call(self, request: Mapping[str, Any], prompt_bytes: int) -> Called:
        """Ask once, and again where that may help.

        Args:
            request: The fields of the chat API.
            prompt_bytes: Bytes of all that counts as prompt.

        Raises:
            ExtractionError: The budget is spent, the server is dead, or no request can succeed.
        """
        usage = Usage()
        for tried in range(1, self._config.max_retries + 2):
            try:
                reply = await self._once(request, prompt_bytes)
            except CallError as error:
                usage += Usage(requests=1)
                if await self._is_worth_another_try(error, tried):
                    continue
                failure = Failure(error.kind, error.told, error.answered)
                self._count_failure(failure)
                return Called(failure, usage)
            self._in_a_row, self._ever_answered = 0, True
            usage += Usage(1, reply.prompt_tokens or 0, reply.completion_tokens or 0)
            return Called(reply, usage)
        raise AssertionError("the last try is never worth another one")

    async def _once(self, request: Mapping[str, Any], prompt_bytes: int) -> Reply:
        most = self._config.max_completion_tokens
        reserved = await self._budget.reserve(prompt_bytes, most)
        spent = reserved  # where it is cut short, the worst has to be assumed
        try:
            entry = await self._pacer.wait(prompt_bytes // BYTES_A_TOKEN + most)
            reply = await self.client.ask(request)
            if reply.prompt_tokens is not None:
                spent = Reserved(reply.prompt_tokens, reply.completion_tokens or 0)
                self._pacer.correct(entry, spent.prompt_tokens + spent.completion_tokens)
            return reply
        except CallError as error:
            spent = reserved if error.billed else Reserved(0, 0)
            raise
        finally:
            self._budget.settle(reserved, spent)

    async def _is_worth_another_try(self, error: CallError, tried: int) -> bool:
        """Whether to ask again; waits before it says so."""
        if not error.again or tried > self._config.max_retries or self.is_stopped:
            return False
        wait_s = backoff_s(tried, self._config.first_wait_s, self._config.max_wait_s)
        if error.wait_s is not None:
            if error.wait_s > self._config.max_wait_s:
                return False
            wait_s = max(wait_s, error.wait_s)
        if error.kind == "rate_limit":
            self._pacer.pause(wait_s)  # it is meant for all
        await asyncio.sleep(wait_s)
        return not self.is_stopped

    def _count_failure(self, failure: Failure) -> None:
        if failure.answered and (self._ever_answered or failure.kind != "bad_request"):
            return  # the fault of one text
        self._in_a_row += 1
        if self._in_a_row >= self._config.give_up_after and not self.is_stopped:
            raise ExtractionError(
                f"Expected answers from {self.client.address}, got none for {self._in_a_row} texts "
                f"in a row, each asked up to {self._config.max_retries + 1} times; the last: "
                f"{failure.kind}, {failure.told}. What was answered is kept: see that the server "
                "runs, and run again"
            )
