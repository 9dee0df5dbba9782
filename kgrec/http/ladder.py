"""From the model's answer down to popular items: a well-formed request is always answered.

personalised -> the last answer to the same request -> popular items. The model is asked on a few
threads, for those who wait together (batching.py); a call that does not come back keeps its thread,
and where none is free the rungs below answer. What is popular is known beforehand, so that the last
rung needs no model at all.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from kgrec.errors import RequestError
from kgrec.http.answer_cache import AnswerCache, Kept, request_key
from kgrec.http.batching import Batching
from kgrec.http.requests import Person, Wanted, WantedForPeople
from kgrec.http.settings import ServeConfig
from kgrec.serving.answers import Recommendations
from kgrec.serving.recommender import Recommender

Rung = Literal["personalised", "catalogue", "cached", "popular", "unavailable"]
T = TypeVar("T")

_log = logging.getLogger("kgrec.http")
_LATE = "the model did not answer in time"
_BROKEN = "the model could not answer"


@dataclass(frozen=True)
class Served:
    """An answer and the rung it came from."""

    answer: Recommendations
    rung: Rung


class NoAnswerError(Exception):
    """The model did not answer; the text says how. It never leaves this package."""


class Ladder:
    """Asks the recommender, and answers without it where it fails.

    Args:
        recommender: What is asked.
        config: Threads, timeouts, size of the memory of answers.
    """

    def __init__(self, recommender: Recommender, config: ServeConfig) -> None:
        self._recommender = recommender
        self._config = config
        self.cache = AnswerCache(config.cached_answers)
        self._model = _Threads(config.threads, "model")
        self._batches = Batching(self._ask_each, config.timeout_s / 10)
        self._spare = _Threads(2, "fallback")
        self._writes = _Threads(config.threads, "write")
        self._preparing = threading.Lock()
        self._popular = recommender.recommend(history=(), k=2 * config.max_k)

    @property
    def asked_since(self) -> float | None:
        """When the oldest call to the model began that has not come back; None where none runs."""
        return self._model.oldest

    def items_changed(self) -> None:
        """Let go of what was told of the items before, and look up anew what is popular."""
        self.cache.clear()
        self.prepare()

    def prepare(self) -> None:
        """Look up anew what is popular."""
        with self._preparing:
            self._popular = self._recommender.recommend(history=(), k=2 * self._config.max_k)

    async def recommend(self, people: Sequence[Person], wanted: WantedForPeople) -> list[Served]:
        """Return an answer for each person.

        Raises:
            RequestError: The request is not well-formed: an unknown item, an impossible filter.
        """
        asked_at = self.cache.generation
        try:
            if len(people) == 1 and not wanted.filters and not wanted.exclude:
                answers = [await self._with_others(people[0], wanted)]
            else:
                answers = await self._model.call(
                    lambda: self._personal(people, wanted), self._config.timeout_s
                )
        except NoAnswerError as error:
            return [await self._below(person, wanted, str(error)) for person in people]
        for person, answer in zip(people, answers, strict=True):
            if answer.personalised:
                self._keep(_person_key(person, wanted), answer, person.user_id, wanted.k, asked_at)
        return [_served(answer) for answer in answers]

    async def about_item(
        self, question: Literal["similar", "complementary"], item_id: str, wanted: Wanted
    ) -> Served:
        """Return items like one item or that go with it.

        Raises:
            RequestError: The request is not well-formed.
        """
        asked = wanted.model_dump(exclude={"k"})
        ask = getattr(self._recommender, question)
        key = request_key(question, [item_id, asked])
        given = {"k": wanted.k, "filters": wanted.filters, "exclude": wanted.exclude}
        asked_at = self.cache.generation
        try:
            answer = await self._model.call(lambda: ask(item_id, **given), self._config.timeout_s)
        except NoAnswerError as error:
            kept = self.cache.get(key, wanted.k)
            if kept is not None:
                return Served(_cut(kept, wanted.k, f"last answer: {error}"), "cached")
            return await self._popular_for(Person(history=[item_id]), wanted, str(error))
        self._keep(key, answer, None, wanted.k, asked_at)
        return Served(answer, "catalogue")

    async def ask(
        self, key: str, user_id: str | None, ask: Callable[[], T], rung: Rung
    ) -> tuple[T | None, Rung]:
        """Return an answer that popular items cannot stand for; None where there is none.

        Raises:
            RequestError: The request is not well-formed.
        """
        asked_at = self.cache.generation
        try:
            answer = await self._model.call(ask, self._config.timeout_s)
        except NoAnswerError:
            kept: T | None = None if self._is_forgotten(user_id) else self.cache.get(key)
            return kept, "unavailable" if kept is None else "cached"
        self._keep(key, answer, user_id, 0, asked_at)
        return answer, rung

    async def write(self, change: Callable[[], T]) -> T:
        """Return what a change returns.

        Raises:
            NoAnswerError: It took too long or failed; whether it was made is not known.
        """
        return await self._writes.call(change, self._config.write_timeout_s, told=Exception)

    def close(self) -> None:
        """Take no further work; what runs is not waited for."""
        for threads in (self._model, self._spare, self._writes):
            threads.close()

    async def _with_others(self, person: Person, wanted: WantedForPeople) -> Recommendations:
        """Ask for one person, together with those who wait meanwhile and want the same."""
        kind = (wanted.k, wanted.explain, wanted.now, wanted.skip_unknown)
        try:
            async with asyncio.timeout(self._config.timeout_s):
                return await self._batches.ask(kind, (person, wanted))
        except TimeoutError as error:
            raise NoAnswerError(_LATE) from error

    async def _ask_each(
        self, asked: Sequence[tuple[Person, WantedForPeople]]
    ) -> Sequence[Recommendations | Exception]:
        """Return an answer, or the error that is to be told, for each who waits for one."""
        people, wanted = [person for person, _ in asked], asked[0][1]

        def ask() -> list[Recommendations | Exception]:
            try:
                return list(self._personal(people, wanted))
            except Exception:
                if len(people) == 1:
                    raise
            return [self._alone(person, wanted) for person in people]

        return await self._model.call(ask, self._config.timeout_s)

    def _alone(self, person: Person, wanted: WantedForPeople) -> Recommendations | Exception:
        try:
            return self._personal([person], wanted)[0]
        except RequestError as error:
            return error
        except Exception:
            _log.exception("a call failed")
            return NoAnswerError(_BROKEN)

    def _personal(self, people: Sequence[Person], wanted: WantedForPeople) -> list[Recommendations]:
        """Ask in one batch for those with a history of their own, in one for the others."""
        given = _given(wanted)
        if len(people) == 1:
            (person,) = people
            user_id, history = person.user_id, person.events()
            return [self._recommender.recommend(user_id, history=history, **given)]
        answers: dict[int, Recommendations] = {}
        for brought in (True, False):
            places = [n for n, p in enumerate(people) if (p.history is not None) == brought]
            if places:
                users = [people[n].user_id for n in places]
                histories = [people[n].events() or [] for n in places] if brought else None
                found = self._recommender.recommend_many(users, histories=histories, **given)
                answers |= dict(zip(places, found, strict=True))
        return [answers[n] for n in range(len(people))]

    async def _below(self, person: Person, wanted: WantedForPeople, why: str) -> Served:
        kept = self.cache.get(_person_key(person, wanted), wanted.k)
        if kept is not None and not self._is_forgotten(person.user_id):
            return Served(_cut(kept, wanted.k, f"last answer: {why}"), "cached")
        return await self._popular_for(person, wanted, why)

    async def _popular_for(self, person: Person, wanted: Wanted, why: str) -> Served:
        """Return popular items that the person has not; where even that fails, the ready list."""
        left_out = [*wanted.exclude, *person.history_ids()]
        reason = f"popular items: {why}"

        def look_up() -> Recommendations:
            seen = [] if person.user_id is None else self._stored_ids(person.user_id)
            return self._recommender.recommend(
                history=(), k=wanted.k, filters=wanted.filters, exclude=[*left_out, *seen]
            )

        try:
            answer = await self._spare.call(look_up, self._config.fallback_timeout_s)
        except NoAnswerError:
            answer = self._ready_list(left_out, wanted)
            if wanted.filters:
                reason = f"no items: {why}, and the filters could not be looked up"
        return Served(replace(answer, reason=reason), "popular")

    def _ready_list(self, left_out: Sequence[str], wanted: Wanted) -> Recommendations:
        """Return popular items out of the list made beforehand; none that a filter might forbid."""
        ready, gone = self._popular, set(left_out)
        rest = [] if wanted.filters else [i for i in ready if i.item_id not in gone]
        items = [replace(item, rank=rank) for rank, item in enumerate(rest[: wanted.k], start=1)]
        return replace(ready, items=tuple(items))

    def _stored_ids(self, user_id: str) -> list[str]:
        ids = self._recommender.artifact.items.ids
        rows = self._recommender.history_of(user_id).item_idx
        # after a swap in between, a row may lie outside of the smaller catalogue
        return [str(ids[row]) for row in rows if row < len(ids)]

    def _keep(self, key: str, answer: Any, user_id: str | None, k: int, asked_at: int) -> None:
        self.cache.put(key, Kept(answer, user_id, k), asked_at)
        if self._is_forgotten(user_id):  # while the answer was made
            self.cache.drop_user(str(user_id))

    def _is_forgotten(self, user_id: str | None) -> bool:
        return user_id is not None and self._recommender.is_forgotten(user_id)


class _Threads:
    """A few threads, each for one call at a time; who finds none free in time goes without."""

    def __init__(self, number: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(number, thread_name_prefix=f"kgrec-{name}")
        self._free = asyncio.Semaphore(number)
        self._running: dict[asyncio.Future[Any], float] = {}  # in the order in which they began

    @property
    def oldest(self) -> float | None:
        """When the oldest call that runs began; None where none does."""
        return next(iter(self._running.values()), None)

    async def call(
        self,
        ask: Callable[[], T],
        timeout_s: float,
        told: type[Exception] = RequestError,
    ) -> T:
        """Return what ``ask`` returns.

        Args:
            ask: Called on a thread.
            timeout_s: For the wait for a thread and the call together.
            told: Errors that are the caller's to hear.

        Raises:
            NoAnswerError: There was no answer in time, or an error that is not to be told.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(end):
                await self._free.acquire()
        except TimeoutError as error:
            raise NoAnswerError(_LATE) from error
        try:
            running = loop.run_in_executor(self._pool, ask)
        except BaseException:
            self._free.release()
            raise
        self._running[running] = loop.time()
        running.add_done_callback(self._ended)
        try:
            async with asyncio.timeout_at(end):
                return await asyncio.shield(running)
        except TimeoutError as error:
            if running.done():  # the call itself raised it
                _log.exception("a call failed")
                raise NoAnswerError(_BROKEN) from error
            raise NoAnswerError(_LATE) from error
        except told:
            raise
        except Exception as error:
            _log.exception("a call failed")
            raise NoAnswerError(_BROKEN) from error

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, running: asyncio.Future[Any]) -> None:
        del self._running[running]
        self._free.release()
        if not running.cancelled():
            running.exception()  # one that nobody waits for any more is not to be complained of


def _served(answer: Recommendations) -> Served:
    return Served(answer, "personalised" if answer.personalised else "popular")


def _given(wanted: WantedForPeople) -> dict[str, Any]:
    names = ("k", "explain", "filters", "exclude", "now", "skip_unknown")
    return {name: getattr(wanted, name) for name in names}


def _person_key(person: Person, wanted: WantedForPeople) -> str:
    asked = {name: value for name, value in _given(wanted).items() if name != "k"}
    who = person.model_dump(include={"user_id", "history"})
    return request_key("recommend", [who, asked])


def _cut(answer: Recommendations, k: int, reason: str) -> Recommendations:
    return replace(answer, items=answer.items[:k], reason=reason)
