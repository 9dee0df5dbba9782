"""When the next request may go out: rates per minute, pauses that the service asks for, back-off.

All of an engine's requests share one pacer, in one event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque

_WINDOW_S = 60.0


class Pacer:
    """Holds requests back so that no minute has more of them, or of their tokens, than allowed.

    Args:
        requests_per_minute: None: as many as come.
        tokens_per_minute: Likewise; a single request with more waits for an empty minute.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._most_requests = requests_per_minute
        self._most_tokens = tokens_per_minute
        self._sent: deque[list[float]] = deque()  # [when, tokens], oldest first
        self._not_before = 0.0
        self._turn = asyncio.Lock()

    async def wait(self, tokens: int) -> list[float]:
        """Return when a request of about so many tokens may go; hand the result to ``correct``."""
        async with self._turn:
            while (pause := self._pause_s(tokens)) > 0:
                await asyncio.sleep(pause)
            entry = [time.monotonic(), float(tokens)]
            self._sent.append(entry)
            return entry

    def correct(self, entry: list[float], tokens: int) -> None:
        """Put the true number of tokens in the place of the expected one."""
        entry[1] = float(tokens)

    def pause(self, seconds: float) -> None:
        """Let no request out for so long."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _pause_s(self, tokens: int) -> float:
        now = time.monotonic()
        while self._sent and self._sent[0][0] <= now - _WINDOW_S:
            self._sent.popleft()
        pause = self._not_before - now
        if not self._sent:
            return pause
        too_many = self._most_requests is not None and len(self._sent) + 1 > max(
            self._most_requests, 1
        )
        too_much = (
            self._most_tokens is not None
            and sum(one[1] for one in self._sent) + tokens > self._most_tokens
        )
        if too_many or too_much:
            pause = max(pause, self._sent[0][0] + _WINDOW_S - now)
        return pause


def backoff_s(tried: int, first_s: float, most_s: float) -> float:
    """Return how long to wait after a number of failed tries: doubled each time, with jitter.

    The jitter, half to one and a half times, keeps clients that failed together from coming back
    together.
    """
    return float(min(first_s * 2.0 ** (tried - 1) * random.uniform(0.5, 1.5), most_s))
