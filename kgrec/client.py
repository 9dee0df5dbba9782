"""A client of the HTTP service, blocking and async; answers are the same values as in process.

It repeats what the service asks to be repeated (429, 503) and what may safely be: questions, and
events that have an event_id. The library httpx enters here alone.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kgrec.errors import (
    KgrecError,
    MissingDependencyError,
    RequestError,
    ServiceError,
    UnknownItemError,
)
from kgrec.serving.answers import Edge, Event, Explanation, Recommendation, Recommendations

if TYPE_CHECKING:
    import httpx

_COME_AGAIN = (429, 503)
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, repr=False)
class ServedItems(Recommendations):
    """Recommendations, with how the service came by them.

    Attributes:
        served: The rung that answered: personalised, catalogue, cached, popular or unavailable.
        request_id: As in the service's log.
    """

    served: str = ""
    request_id: str = ""


class _Calls:
    """The requests and what their answers mean; sending them is for the two clients."""

    def __init__(self, retries: int) -> None:
        self._retries = retries

    @staticmethod
    def _recommend(
        user_id: str | int | None,
        history: Iterable[str | int | Event] | None,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        return {**_person(user_id, history), **_options(options)}

    def _wait_s(self, status: int | None, retry_after: str, tries: int) -> float | None:
        """Return how long to wait before the next try; None where there is none."""
        if tries > self._retries or (status is not None and status not in _COME_AGAIN):
            return None
        asked = float(retry_after) if retry_after.isdigit() else 0.0
        # spread, so that clients that were refused together do not come again together
        grown: float = 0.1 * 2 ** (tries - 1) * (1.0 + random.random())
        return min(max(asked, grown), _LONGEST_WAIT_S)


class Client(_Calls):
    """Asks one service, and waits for the answer. Any number of threads may use one.

    Args:
        url: Where the service listens: "http://127.0.0.1:8000".
        key: API key; None for a service without keys.
        timeout_s: How long one try may take.
        retries: Further tries after a 429, a 503 or a lost connection.
        transport: Of httpx, in place of the network.

    Raises:
        MissingDependencyError: httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 5.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(retries)
        self._http = _httpx().Client(
            base_url=url, headers=_headers(key), timeout=timeout_s, transport=transport
        )

    def recommend(
        self,
        user_id: str | int | None = None,
        *,
        history: Iterable[str | int | Event] | None = None,
        **options: Any,
    ) -> ServedItems:
        """Return what Recommender.recommend returns; ``options`` are its options.

        Raises:
            UnknownItemError: The artifact does not know an item of the history.
            RequestError: The request is not well-formed.
            ServiceError: The service does not answer, or refuses the key.
        """
        return _items(self._ask("recommend", self._recommend(user_id, history, options)))

    def recommend_many(
        self, people: Sequence[Mapping[str, Any]], **options: Any
    ) -> list[ServedItems]:
        """Return an answer for each of ``people``: {"user_id": ...} or {"history": [...]}."""
        body = {"users": [_person(**person) for person in people], **_options(options)}
        return [_items(answer) for answer in self._ask("recommend-many", body)["answers"]]

    def similar(self, item_id: str | int, **options: Any) -> ServedItems:
        """Return the items most like one item."""
        return _items(self._ask("similar", {"item_id": item_id, **_options(options)}))

    def complementary(self, item_id: str | int, **options: Any) -> ServedItems:
        """Return the items that go with one item."""
        return _items(self._ask("complementary", {"item_id": item_id, **_options(options)}))

    def search(self, text: str, **options: Any) -> ServedItems:
        """Return the items whose titles are nearest to a text."""
        return _items(self._ask("search", {"text": text, **_options(options)}))

    def explain(
        self,
        user_id: str | int | None,
        item_id: str | int,
        *,
        history: Iterable[str | int | Event] | None = None,
    ) -> Explanation | None:
        """Return why an item would be recommended; None where no reason was found in time."""
        body = {"item_id": item_id, **_person(user_id, history)}
        return _explanation(self._ask("explain", body)["explanation"])

    def observe(self, user_id: str | int, item_id: str | int, **details: Any) -> dict[str, Any]:
        """Keep what a user did, and return what became of it, as Recommender.observe does.

        An event without an ``event_id`` is given one, so that a repeat counts once.
        """
        found: dict[str, Any] = self._ask("observe", _event(user_id, item_id, details))
        return dict(found["observed"][0])

    def forget(self, user_id: str | int) -> bool:
        """Forget a user; return False where they were forgotten before."""
        return bool(self._ask("forget", {"user_id": user_id})["newly"])

    def add_item(self, item_id: str | int, title: str, **details: Any) -> dict[str, Any]:
        """Add an item, ``details`` as Recommender.add_item has them; return what became of it."""
        body = {"item_id": item_id, "title": title, **details}
        return dict(self._ask("items/add", body))

    def remove_item(self, item_id: str | int) -> bool:
        """Take an item out of every answer; return False where it was out before."""
        return bool(self._ask("items/remove", {"item_id": item_id})["newly"])

    def ready(self) -> bool:
        """Return whether the service welcomes requests."""
        try:
            return bool(self._http.get("/ready").status_code == 200)
        except _httpx().TransportError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        tries = 0
        while True:
            tries += 1
            try:
                answer = self._http.post(f"/v1/{path}", json=body)
            except _httpx().TransportError as error:
                wait_s = self._wait_s(None, "", tries)
                if wait_s is None:
                    raise _unreached(self._http.base_url, error) from error
            else:
                wait_s = self._wait_s(
                    answer.status_code, answer.headers.get("Retry-After", ""), tries
                )
                if wait_s is None or answer.status_code < 400:
                    return _read(answer)
            time.sleep(wait_s)


class AsyncClient(_Calls):
    """The same for asyncio; its methods are those of Client, which says what they do."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 5.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(retries)
        self._http = _httpx().AsyncClient(
            base_url=url, headers=_headers(key), timeout=timeout_s, transport=transport
        )

    async def recommend(
        self,
        user_id: str | int | None = None,
        *,
        history: Iterable[str | int | Event] | None = None,
        **options: Any,
    ) -> ServedItems:
        """Return what Recommender.recommend returns."""
        return _items(await self._ask("recommend", self._recommend(user_id, history, options)))

    async def recommend_many(
        self, people: Sequence[Mapping[str, Any]], **options: Any
    ) -> list[ServedItems]:
        """Return an answer for each of ``people``."""
        body = {"users": [_person(**person) for person in people], **_options(options)}
        return [_items(answer) for answer in (await self._ask("recommend-many", body))["answers"]]

    async def similar(self, item_id: str | int, **options: Any) -> ServedItems:
        """Return the items most like one item."""
        return _items(await self._ask("similar", {"item_id": item_id, **_options(options)}))

    async def complementary(self, item_id: str | int, **options: Any) -> ServedItems:
        """Return the items that go with one item."""
        return _items(await self._ask("complementary", {"item_id": item_id, **_options(options)}))

    async def search(self, text: str, **options: Any) -> ServedItems:
        """Return the items whose titles are nearest to a text."""
        return _items(await self._ask("search", {"text": text, **_options(options)}))

    async def explain(
        self,
        user_id: str | int | None,
        item_id: str | int,
        *,
        history: Iterable[str | int | Event] | None = None,
    ) -> Explanation | None:
        """Return why an item would be recommended."""
        body = {"item_id": item_id, **_person(user_id, history)}
        return _explanation((await self._ask("explain", body))["explanation"])

    async def observe(
        self, user_id: str | int, item_id: str | int, **details: Any
    ) -> dict[str, Any]:
        """Keep what a user did, and return what became of it."""
        found = await self._ask("observe", _event(user_id, item_id, details))
        return dict(found["observed"][0])

    async def forget(self, user_id: str | int) -> bool:
        """Forget a user."""
        return bool((await self._ask("forget", {"user_id": user_id}))["newly"])

    async def add_item(self, item_id: str | int, title: str, **details: Any) -> dict[str, Any]:
        """Add an item."""
        body = {"item_id": item_id, "title": title, **details}
        return dict(await self._ask("items/add", body))

    async def remove_item(self, item_id: str | int) -> bool:
        """Take an item out of every answer."""
        return bool((await self._ask("items/remove", {"item_id": item_id}))["newly"])

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        tries = 0
        while True:
            tries += 1
            try:
                answer = await self._http.post(f"/v1/{path}", json=body)
            except _httpx().TransportError as error:
                wait_s = self._wait_s(None, "", tries)
                if wait_s is None:
                    raise _unreached(self._http.base_url, error) from error
            else:
                wait_s = self._wait_s(
                    answer.status_code, answer.headers.get("Retry-After", ""), tries
                )
                if wait_s is None or answer.status_code < 400:
                    return _read(answer)
            await asyncio.sleep(wait_s)


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise MissingDependencyError(
            f"Expected the library 'httpx' for the client, got: {error}; install it with "
            "'pip install \"kgrec[http]\"'"
        ) from error
    return httpx


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _person(
    user_id: str | int | None = None, history: Iterable[str | int | Event] | None = None
) -> dict[str, Any]:
    person: dict[str, Any] = {} if user_id is None else {"user_id": user_id}
    if history is not None:
        person["history"] = [asdict(e) if isinstance(e, Event) else e for e in history]
    return person


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(options)
    if "exclude" in given:
        given["exclude"] = list(given["exclude"])
    return given


def _event(user_id: str | int, item_id: str | int, details: Mapping[str, Any]) -> dict[str, Any]:
    event = {"event_id": uuid.uuid4().hex, **details, "user_id": user_id, "item_id": item_id}
    return {"events": [event]}


def _read(answer: httpx.Response) -> Any:
    if answer.status_code == 200:
        return answer.json()
    try:
        fault = answer.json()
        message = f"{fault['message']} (request {fault['request_id']})"
    except (ValueError, KeyError, TypeError):
        message = f"Expected an answer of kgrec, got status {answer.status_code}; check the url"
    kinds: dict[int, type[KgrecError]] = {404: UnknownItemError, 422: RequestError}
    raise kinds.get(answer.status_code, ServiceError)(message)


def _unreached(url: Any, error: Exception) -> ServiceError:
    return ServiceError(
        f"Expected an answer of the service at {url}, got {type(error).__name__}: {error}; "
        "is it running?"
    )


def _items(body: Mapping[str, Any]) -> ServedItems:
    return ServedItems(
        items=tuple(_item(item) for item in body["items"]),
        personalised=body["personalised"],
        artifact_id=body["artifact_id"],
        reason=body["reason"],
        served=body["served"],
        request_id=body["request_id"],
    )


def _item(body: Mapping[str, Any]) -> Recommendation:
    explanation = _explanation(body["explanation"])
    return Recommendation(**{**body, "sources": tuple(body["sources"]), "explanation": explanation})


def _explanation(body: Mapping[str, Any] | None) -> Explanation | None:
    if body is None:
        return None
    path = tuple(Edge(*edge) for edge in body["path"])
    return Explanation(**{**body, "path": path, "path_text": tuple(body["path_text"])})
