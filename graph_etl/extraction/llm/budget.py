"""What a run may spend and has spent: a request starts only if its worst case still fits.

A token is at least one byte of UTF-8, so that a prompt costs at most its bytes, plus what the chat
template adds. One event loop uses it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from graph_etl.errors import ExtractionError
from graph_etl.extraction.config import BudgetConfig

TEMPLATE_TOKENS = 64
"""Most that a chat template adds to the words of a prompt."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The worst case of a request that is under way.

    Attributes:
        prompt_tokens, completion_tokens: At most.
    """

    prompt_tokens: int
    completion_tokens: int


class Budget:
    """Counts what one run spends.

    Args:
        config: Its limits and prices.
    """

    def __init__(self, config: BudgetConfig) -> None:
        self._config = config
        self._requests = 0
        self._spent = Reserved(0, 0)
        self._open = Reserved(0, 0)  # under way
        self._settled = asyncio.Event()

    async def reserve(self, prompt_bytes: int, max_completion_tokens: int) -> Reserved:
        """Set the worst case of a request aside; ``settle`` it when it ended.

        Waits where it would fit if those under way turn out cheaper than they may.

        Raises:
            ExtractionError: The request could go beyond a limit; it must not be sent.
        """
        worst = Reserved(prompt_bytes + TEMPLATE_TOKENS, max_completion_tokens)
        while beyond := self._beyond(_sum(_sum(self._spent, self._open), worst)):
            if self._beyond(_sum(self._spent, worst)):
                raise ExtractionError(
                    f"Expected the next request to stay within the budget of {beyond}; "
                    f"{self.told()}. What was answered is kept: raise the budget of the engine "
                    "'llm' and run again"
                )
            self._settled.clear()
            await self._settled.wait()
        self._requests += 1
        self._open = _sum(self._open, worst)
        return worst

    def settle(self, reserved: Reserved, spent: Reserved) -> None:
        """Replace the worst case of a request by what it did cost."""
        self._open = Reserved(
            self._open.prompt_tokens - reserved.prompt_tokens,
            self._open.completion_tokens - reserved.completion_tokens,
        )
        self._spent = _sum(self._spent, spent)
        self._settled.set()

    def cost_of(self, tokens: Reserved) -> float:
        """Return what tokens cost, in the budget's currency."""
        prompt = tokens.prompt_tokens * self._config.price_per_million_prompt_tokens
        completion = tokens.completion_tokens * self._config.price_per_million_completion_tokens
        return (prompt + completion) / 1e6

    def told(self) -> str:
        """Return what was spent, in words."""
        spent = self._spent
        words = (
            f"spent so far: {self._requests:,} requests, {spent.prompt_tokens:,} tokens in and "
            f"{spent.completion_tokens:,} out"
        )
        cost = self.cost_of(spent)
        return f"{words}, {cost:,.4g} {self._config.currency}" if cost else words

    def _beyond(self, tokens: Reserved) -> str:
        """Return the limit that one more request would pass, with the value; "" where none."""
        limits = self._config
        for what, value, limit in (
            ("requests", self._requests + 1, limits.max_requests),
            ("tokens", tokens.prompt_tokens + tokens.completion_tokens, limits.max_tokens),
            (limits.currency, self.cost_of(tokens), limits.max_cost),
        ):
            if limit is not None and value > limit:
                return f"{limit:,} {what}, but it could bring this run to {value:,.6g}"
        return ""


def _sum(one: Reserved, other: Reserved) -> Reserved:
    return Reserved(
        one.prompt_tokens + other.prompt_tokens, one.completion_tokens + other.completion_tokens
    )
