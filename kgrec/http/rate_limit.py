"""How many requests one key may send: token buckets in memory."""

from __future__ import annotations

import time
from collections import OrderedDict

_MAX_BUCKETS = 10_000


class TokenBuckets:
    """One bucket a key: it holds ``burst`` tokens and gains ``rate_per_s`` of them each second.

    The bucket asked for longest ago goes first where there are too many of them; it was full
    again by then or starts full, so that nobody is refused by it.
    """

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate = rate_per_s
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float | None = None) -> float:
        """Take a token; return 0.0, or the seconds until there is one where there is none."""
        now = time.monotonic() if now is None else now
        tokens, since = self._buckets.pop(name, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        granted = tokens >= 1.0
        self._buckets[name] = (tokens - 1.0 if granted else tokens, now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1.0 - tokens) / self._rate
