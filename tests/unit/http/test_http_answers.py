"""Over HTTP the answers are those of the Python API; each says which artifact and rung it is of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from http_fixtures import running
from serving_data import SCORERS, VectorEase, make_artifact
from starlette.testclient import TestClient

from kgrec import Event, Recommender

HISTORY = ["item-0", {"item_id": "item-1", "value": 2.0}, {"item_id": "item-16", "positive": True}]
EVENTS = ["item-0", Event("item-1", 2.0), Event("item-16", positive=True)]
FILTERS = {"about": ["Topic 0", "Topic 1"], "year": [1962, None]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root, scorer=VectorEase)
    return root


@pytest.fixture(scope="module")
def rec(root: Path) -> Recommender:
    return Recommender.load(root / "current", scorers=SCORERS)


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    folders = {"event_log": root / "log", "state": root / "state"}
    with running(root, no_auth=True, **folders) as (client, _):
        yield client


def ask(client: TestClient, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


def without_http(body: dict[str, Any]) -> dict[str, Any]:
    """The answer without what HTTP adds."""
    return {name: value for name, value in body.items() if name not in {"served", "request_id"}}


@pytest.mark.parametrize(
    ("body", "user", "options"),
    [
        ({"user_id": "user-0", "k": 5}, "user-0", {"k": 5}),
        ({"user_id": "user-3", "explain": True}, "user-3", {"explain": True}),
        ({"history": HISTORY}, None, {"history": EVENTS}),
        ({"user_id": "user-1", "filters": FILTERS}, "user-1", {"filters": FILTERS}),
        (
            {"user_id": "user-2", "exclude": ["item-30", "gone"], "now": 2_000_000_000},
            "user-2",
            {"exclude": ["item-30", "gone"], "now": 2_000_000_000},
        ),
        ({"user_id": 7, "k": 3}, 7, {"k": 3}),
        (
            {"history": ["item-0", "no"], "skip_unknown": True},
            None,
            {"history": ["item-0", "no"], "skip_unknown": True},
        ),
    ],
    ids=["user", "explained", "history", "filters", "exclude", "stranger", "unknown skipped"],
)
def test_http_recommends_what_python_recommends(
    client: TestClient, rec: Recommender, body: Any, user: Any, options: Any
) -> None:
    expected = rec.recommend(user, **options)
    told = ask(client, "recommend", body)
    assert without_http(told) == expected.to_dict()
    assert told["served"] == ("personalised" if expected.personalised else "popular")


def test_many_people_get_what_each_gets_alone(client: TestClient, rec: Recommender) -> None:
    users = [{"user_id": "user-0"}, {"history": HISTORY}, {"user_id": "nobody"}, {"history": []}]
    told = ask(client, "recommend-many", {"users": users, "k": 4})
    alone = [ask(client, "recommend", {**user, "k": 4}) for user in users]
    for many, one in zip(told["answers"], alone, strict=True):
        assert [i["item_id"] for i in many["items"]] == [i["item_id"] for i in one["items"]]
        assert many["served"] == one["served"]
    assert told["artifact_id"] == rec.artifact_id
    assert [answer["served"] for answer in told["answers"]] == [
        "personalised",
        "personalised",
        "popular",
        "popular",
    ]


def test_items_texts_and_vectors_are_those_of_python(client: TestClient, rec: Recommender) -> None:
    for question in ("similar", "complementary"):
        told = ask(client, question, {"item_id": "item-0", "k": 4, "exclude": ["item-1"]})
        expected = getattr(rec, question)("item-0", k=4, exclude=["item-1"])
        assert without_http(told) == expected.to_dict()
        assert told["served"] == "catalogue"
    assert without_http(ask(client, "search", {"text": "itm 12", "k": 3})) == (
        rec.search("itm 12", k=3).to_dict()
    )
    told = ask(client, "explain", {"user_id": "user-0", "item_id": "item-2"})
    assert told["explanation"] == rec.explain("user-0", "item-2").to_dict()
    told = ask(client, "explain", {"history": HISTORY, "item_id": "item-2"})
    assert told["explanation"] == rec.explain(None, "item-2", history=EVENTS).to_dict()
    told = ask(client, "vectors", {"item_ids": ["item-0", "item-5"]})
    assert told["vectors"] == rec.item_vectors(["item-0", "item-5"]).tolist()
    told = ask(client, "vectors", {"user_id": "user-0"})
    assert told["vectors"] == [rec.user_vector("user-0").tolist()]
    for body in ({}, {"user_id": "user-0", "item_ids": ["item-0"]}):
        assert ask(client, "vectors", body, 422)["error"] == "bad_request"


def test_what_is_observed_counts_at_once_and_who_is_forgotten_is_gone(client: TestClient) -> None:
    event = {"user_id": "new", "item_id": "item-0", "value": 5.0, "event_id": "one"}
    assert ask(client, "recommend", {"user_id": "new"})["served"] == "popular"
    (told,) = ask(client, "observe", {"events": [event]})["observed"]
    assert told == {
        "event_id": "one",
        "offset": 0,
        "repeated": False,
        "counts": True,
        "item_known": True,
    }
    assert ask(client, "observe", {"events": [event]})["observed"][0]["repeated"]
    answer = ask(client, "recommend", {"user_id": "new"})
    assert answer["served"] == "personalised"
    assert "item-0" not in [item["item_id"] for item in answer["items"]]
    assert ask(client, "forget", {"user_id": "new"})["newly"]
    assert not ask(client, "forget", {"user_id": "new"})["newly"]
    assert ask(client, "recommend", {"user_id": "new"})["served"] == "popular"
    assert ask(client, "observe", {"events": [event]})["observed"][0]["offset"] is None


def test_an_item_comes_and_goes(client: TestClient) -> None:
    item = {
        "item_id": "fresh",
        "title": "A fresh one",
        "triples": [["made_by", "Maker 0"]],
        "numeric": {"year": 1999},
    }
    told = ask(client, "items/add", item)
    assert (told["item_id"], told["known_entities"]) == ("fresh", 1)
    filters = {"made_by": "Maker 0", "year": 1999}
    found = ask(client, "recommend", {"user_id": "nobody", "filters": filters})
    assert [one["title"] for one in found["items"]] == ["A fresh one"]
    assert ask(client, "items/remove", {"item_id": "fresh"})["newly"]
    assert not ask(client, "items/remove", {"item_id": "fresh"})["newly"]
    assert ask(client, "recommend", {"user_id": "nobody", "filters": filters})["items"] == []
    assert ask(client, "items/remove", {"item_id": "never"}, 404)["error"] == "unknown_item"
    assert ask(client, "items/add", {**item, "item_id": "item-0"}, 422)["error"] == "bad_request"


def test_health_readiness_and_metrics(client: TestClient, rec: Recommender) -> None:
    assert client.get("/health").json() == {"status": "ok", "users_from": "memory"}
    assert client.get("/ready").json() == {"status": "ready", "artifact_id": rec.artifact_id}
    ask(client, "recommend", {"user_id": "user-0"})
    text = client.get("/metrics").text
    assert f'kgrec_artifact_info{{artifact_id="{rec.artifact_id}"}} 1.0' in text
    assert 'kgrec_http_requests_total{route="/v1/recommend",status="200"}' in text
    assert 'kgrec_served_total{route="/v1/recommend",rung="personalised"}' in text
    assert "user-0" not in text


def test_a_request_id_is_kept_where_it_is_harmless(client: TestClient) -> None:
    given = {"X-Request-ID": "shop-1.a_B"}
    body = {"user_id": "user-0"}
    assert (
        client.post("/v1/recommend", json=body, headers=given).json()["request_id"] == "shop-1.a_B"
    )
    for harm in ('x"\\n{', "me@example.org", "a" * 65):
        answer = client.post("/v1/recommend", json=body, headers={"X-Request-ID": harm})
        assert answer.json()["request_id"] != harm
        assert len(answer.json()["request_id"]) == 32
