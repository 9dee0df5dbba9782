"""The last answers to requests, in memory: what is told where the model does not answer."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kept:
    """One answer.

    Attributes:
        answer: As it was given.
        user_id: Whose it is, None where it is nobody's.
        k: How many items were asked for.
    """

    answer: Any
    user_id: str | None
    k: int


class AnswerCache:
    """The newest answers by request; any number of threads may use it.

    Attributes:
        generation: How often everything was let go of.
    """

    def __init__(self, max_answers: int) -> None:
        self._max = max_answers
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._of_user: dict[str, set[str]] = {}
        self.generation = 0

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, key: str, kept: Kept, generation: int) -> None:
        """Keep an answer in place of the one before.

        Args:
            key: The request.
            kept: The answer.
            generation: When it was asked for; an answer of an earlier one is not kept.
        """
        with self._lock:
            if generation != self.generation:
                return
            self._drop(key)
            self._kept[key] = kept
            if kept.user_id is not None:
                self._of_user.setdefault(kept.user_id, set()).add(key)
            while len(self._kept) > self._max:
                self._drop(next(iter(self._kept)))

    def get(self, key: str, k: int = 0) -> Any | None:
        """Return the last answer that was given for at least k items, None without one."""
        with self._lock:
            kept = self._kept.get(key)
        return None if kept is None or kept.k < k else kept.answer

    def drop_user(self, user_id: str) -> None:
        """Let go of a user's answers: they did something, or asked to be forgotten."""
        with self._lock:
            for key in tuple(self._of_user.get(user_id, ())):
                self._drop(key)

    def clear(self) -> None:
        """Let go of everything: items have changed."""
        with self._lock:
            self.generation += 1
            self._kept.clear()
            self._of_user.clear()

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is None or kept.user_id is None:
            return
        keys = self._of_user[kept.user_id]
        keys.discard(key)
        if not keys:
            del self._of_user[kept.user_id]


def request_key(kind: str, asked: Any) -> str:
    """Return what two requests have in common that may be told the same; no id can be read off.

    Args:
        kind: Which question.
        asked: Plain values of the request.
    """
    text = json.dumps([kind, asked], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
