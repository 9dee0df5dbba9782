"""The client gives back the values of the Python API, and asks again where it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from http_fixtures import listening
from serving_data import make_artifact

from kgrec import Event, RequestError, UnknownItemError
from kgrec.client import AsyncClient, Client
from kgrec.errors import ServiceError
from kgrec.http.service import Service

ITEMS = {
    "items": [],
    "personalised": False,
    "reason": "",
    "served": "popular",
    "artifact_id": "a",
    "request_id": "r",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Service]]:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root)
    folders = {"event_log": root / "log", "state": root / "state"}
    with listening(root, no_auth=True, **folders) as (url, server), Client(url) as client:
        yield client, server.service


def test_answers_equal_those_in_process(service: tuple[Client, Service]) -> None:
    client, inner = service
    rec = inner.recommender
    history = [Event("item-1", 2.0, 1_500_000_000, True)]
    for asked in (
        {"user_id": "user-0", "k": 4, "explain": True},
        {"history": history, "exclude": ("item-2",), "explain": True},
        {"user_id": "nobody", "filters": {"about": "Topic 0"}},
    ):
        told, expected = client.recommend(**asked), rec.recommend(**asked)
        assert (told.items, told.personalised, told.reason) == (
            expected.items,
            expected.personalised,
            expected.reason,
        )
        assert told.artifact_id == rec.artifact_id
        assert told.served == ("personalised" if expected.personalised else "popular")
        assert len(told.request_id) == 32
    assert client.similar("item-0", k=3).items == rec.similar("item-0", k=3).items
    assert client.complementary("item-0").items == rec.complementary("item-0").items
    assert client.search("item 7").items == rec.search("item 7").items
    assert client.explain("user-0", "item-4") == rec.explain("user-0", "item-4")
    many = client.recommend_many([{"user_id": "user-0"}, {"history": ["item-0"]}], k=2)
    assert [one.items for one in many] == [
        rec.recommend("user-0", k=2).items,
        rec.recommend(history=["item-0"], k=2).items,
    ]
    assert client.ready()


def test_writes_count_once(service: tuple[Client, Service]) -> None:
    client, _ = service
    first = client.observe("new", "item-0", value=5.0, event_id="e")
    assert first["counts"]
    assert client.observe("new", "item-0", value=5.0, event_id="e")["repeated"]
    assert client.recommend("new").served == "personalised"
    assert client.forget("new")
    assert not client.forget("new")
    added = client.add_item("fresh", "A fresh one", triples=[("made_by", "Maker 0")])
    assert (added["item_id"], added["known_entities"]) == ("fresh", 1)
    assert client.remove_item("fresh")
    assert not client.remove_item("fresh")


def test_faults_are_errors_of_the_library(service: tuple[Client, Service]) -> None:
    client, _ = service
    with pytest.raises(UnknownItemError, match="Expected an item id"):
        client.similar("no")
    with pytest.raises(RequestError, match="Expected a body"):
        client.recommend("user-0", k=0)


def replies(*statuses: int, asked: list[bytes]) -> Callable[[httpx.Request], httpx.Response]:
    """What a service says to one request after the other; 0: the connection is lost."""
    left = list(statuses)

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        status = left.pop(0)
        if status == 0:
            raise httpx.ConnectError("lost")
        fault = {"error": "e", "message": "Expected less", "request_id": "r"}
        body = ITEMS if status == 200 else fault
        return httpx.Response(status, json=body, headers={"Retry-After": "0"})

    return reply


def test_what_passes_is_asked_again_and_what_stays_is_not() -> None:
    asked: list[bytes] = []
    for statuses in ((503, 429, 0, 200), (200,)):
        asked.clear()
        transport = httpx.MockTransport(replies(*statuses, asked=asked))
        with Client("http://service", transport=transport) as client:
            assert client.recommend("u").request_id == "r"
        assert len(asked) == len(statuses)
    for statuses, tries in (((503,) * 9, 2), ((0,) * 9, 2), ((401,), 1), ((500,), 1)):
        asked.clear()
        transport = httpx.MockTransport(replies(*statuses, asked=asked))
        with (
            Client("http://service", retries=1, transport=transport) as client,
            pytest.raises(ServiceError, match=r"Expected (less|an answer)"),
        ):
            client.observe("u", "i")
        assert len(asked) == tries
        # a repeat carries the id of the event it repeats
        assert len({json.loads(body)["events"][0]["event_id"] for body in asked}) == 1


def test_the_async_client_does_the_same(service: tuple[Client, Service]) -> None:
    blocking, inner = service
    rec = inner.recommender

    async def ask() -> None:
        async with AsyncClient(str(blocking._http.base_url)) as client:
            told = await client.recommend("user-0", k=3, explain=True)
            assert told.items == rec.recommend("user-0", k=3, explain=True).items
            (many,) = await client.recommend_many([{"user_id": "user-0"}], k=3)
            assert many.items == rec.recommend("user-0", k=3).items
            assert (await client.similar("item-0")).items == rec.similar("item-0").items
            assert (await client.complementary("item-0")).served == "catalogue"
            assert (await client.search("item 7")).items == rec.search("item 7").items
            assert await client.explain("user-0", "item-4") == rec.explain("user-0", "item-4")
            assert (await client.observe("other", "item-0", value=5.0))["counts"]
            assert await client.forget("other")
            assert (await client.add_item("other", "Another"))["item_id"] == "other"
            assert await client.remove_item("other")
            with pytest.raises(UnknownItemError):
                await client.similar("no")
        asked: list[bytes] = []
        mock = httpx.MockTransport(replies(503, 0, 200, asked=asked))
        async with AsyncClient("http://service", transport=mock) as client:
            assert (await client.recommend("u")).served == "popular"
        assert len(asked) == 3

    asyncio.run(ask())


def test_nobody_there_is_said() -> None:
    with Client("http://127.0.0.1:9", retries=0, timeout_s=0.5) as client:
        assert not client.ready()
        with pytest.raises(ServiceError, match="is it running"):
            client.recommend("u")
