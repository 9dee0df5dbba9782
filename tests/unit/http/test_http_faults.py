"""Faults of callers get an answer that says so; faults of parts a lower rung, never an error."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from http_fixtures import Stalled, running
from serving_data import VectorEase, make_artifact
from starlette.testclient import TestClient

from kgrec.http.service import Service

HEADERS = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root, scorer=VectorEase)
    return root


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    with running(root, no_auth=True, max_body_bytes=300_000, timeout_s=10.0) as (client, _):
        yield client


@pytest.fixture
def stalled(root: Path) -> Iterator[tuple[TestClient, Service, Stalled]]:
    given = {"timeout_s": 0.1, "fallback_timeout_s": 0.1, "threads": 2}
    with running(root, kind=Stalled, no_auth=True, **given) as (client, service):
        recommender = service.recommender
        assert isinstance(recommender, Stalled)
        try:
            yield client, service, recommender
        finally:
            recommender.fault = None
            recommender.go_on.set()


def post(client: TestClient, path: str, content: str | bytes) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/v1/{path}", content=content, headers=HEADERS)
    found: dict[str, Any] = answer.json()
    return answer.status_code, found


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("similar", '{"item_id": "no"}', 404, "unknown_item"),
        ("explain", '{"user_id": "user-0", "item_id": "no"}', 404, "unknown_item"),
        ("recommend", '{"history": ["no"]}', 404, "unknown_item"),
        ("vectors", '{"item_ids": ["../../etc/passwd"]}', 404, "unknown_item"),
        ("recommend", '{"user_id": "user-0", "filters": {"no": "x"}}', 422, "bad_request"),
        ("recommend", '{"user_id": "user-0", "filters": {"year": NaN}}', 422, "bad_request"),
        ("recommend", '{"user_id": "user-0", "filters": {"year": [1e999, 2]}}', 422, "bad_request"),
        (
            "recommend",
            '{"history": [{"item_id": "item-0", "value": NaN}]}',
            422,
            "bad_request",
        ),
        (
            "recommend",
            '{"history": [{"item_id": "item-0", "value": -Infinity}]}',
            422,
            "bad_request",
        ),
        (
            "recommend",
            '{"history": [{"item_id": "item-0", "timestamp": 1}, "item-1"]}',
            422,
            "bad_request",
        ),
        ("recommend", '{"user_id": "user-0", "k": 0}', 422, "bad_request"),
        ("recommend", '{"user_id": "user-0", "k": "5"}', 422, "bad_request"),
        ("recommend", '{"user_id": "user-0", "k": 501}', 422, "too_many_parts"),
        ("recommend", '{"user_id": "user-0", "now": 1e30}', 422, "bad_request"),
        ("recommend", '{"user_id": true}', 422, "bad_request"),
        ("recommend", '{"user_id": ["user-0"]}', 422, "bad_request"),
        ("recommend", '{"user_id": "user-0", "extra": 1}', 422, "bad_request"),
        ("recommend", '{"user_id": "\\ud800", "filters": {"\\udc00": "x"}}', 422, "bad_request"),
        ("recommend", f'{{"user_id": {"9" * 5000}}}', 422, "bad_request"),
        ("recommend", '{"user_id": ', 422, "bad_request"),
        ("recommend", "", 422, "bad_request"),
        ("recommend", "[" * 100_000, 422, "bad_request"),
        ("recommend", b"\xff\xfe", 422, "bad_request"),
        ("recommend-many", '{"users": []}', 422, "bad_request"),
        ("observe", '{"events": [{"user_id": "u", "item_id": "i"}]}', 409, "not_set_up"),
        ("forget", '{"user_id": "u"}', 409, "not_set_up"),
        ("recommend", " " * 300_001, 413, "too_large"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    client: TestClient, path: str, body: str, status: int, error: str
) -> None:
    got, told = post(client, path, body)
    assert (got, told["error"]) == (status, error), told
    assert told["message"].startswith("Expected")


def test_what_is_not_there_is_told_as_a_fault_too(client: TestClient) -> None:
    for path in ("/", "/v1/nothing", "/v1/../etc/passwd", "/v1/%2e%2e%2fetc", "/docs"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "no_such_path")
    assert client.get("/v1/recommend").status_code == 405


def test_a_body_without_a_length_is_cut_off_too(client: TestClient) -> None:
    answer = client.post("/v1/recommend", content=(b" " * 1000 for _ in range(400)))
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


def test_a_history_of_ten_thousand_is_answered_and_one_more_refused(client: TestClient) -> None:
    history = [f"item-{n % 60}" for n in range(9_990)] + ["item-0", "item-1"] * 5
    status, told = post(client, "recommend", json.dumps({"history": history[:10_000]}))
    assert (status, told["items"]) == (200, [])  # it holds the whole catalogue
    few = [f"item-{n % 7}" for n in range(10_000)]
    status, told = post(client, "recommend", json.dumps({"history": few, "k": 3}))
    assert (status, told["served"], len(told["items"])) == (200, "personalised", 3)
    status, told = post(client, "recommend", json.dumps({"history": [*few, "item-0"]}))
    assert (status, told["error"]) == (422, "too_many_parts")


def test_a_slow_model_gives_the_last_answer_then_popular_items(
    stalled: tuple[TestClient, Service, Stalled],
) -> None:
    client, _, recommender = stalled
    body = {"user_id": "user-0", "k": 5}
    before = client.post("/v1/recommend", json=body).json()
    assert before["served"] == "personalised"
    recommender.go_on.clear()
    for _ in range(4):  # more than there are threads
        told = client.post("/v1/recommend", json=body).json()
        assert told["served"] == "cached"
        assert told["items"] == before["items"]
        assert told["reason"].startswith("last answer")
    fewer = client.post("/v1/recommend", json={**body, "k": 2}).json()
    assert (fewer["served"], fewer["items"]) == ("cached", before["items"][:2])
    more = client.post("/v1/recommend", json={**body, "k": 6}).json()
    assert (more["served"], len(more["items"])) == ("popular", 6)
    told = client.post("/v1/recommend", json={"history": ["item-0"], "k": 4}).json()
    assert told["served"] == "popular"
    assert not told["personalised"]
    assert told["reason"].startswith("popular items: the model")
    assert "item-0" not in [item["item_id"] for item in told["items"]]
    recommender.go_on.set()
    for _ in range(100):
        if client.post("/v1/recommend", json=body).json()["served"] == "personalised":
            break
        time.sleep(0.05)
    assert client.post("/v1/recommend", json=body).json()["served"] == "personalised"


def test_popular_items_hold_nothing_that_the_user_has(
    stalled: tuple[TestClient, Service, Stalled],
) -> None:
    client, _, recommender = stalled
    recommender.fault = RuntimeError("broken")
    popular = recommender.recommend(history=(), k=60)
    row = recommender.artifact.users.ids.tolist().index("user-0")
    events = recommender.artifact.interactions
    seen = {f"item-{item}" for item in events.item_idx[events.user_idx == row]}
    told = client.post("/v1/recommend", json={"user_id": "user-0", "k": 60}).json()
    got = [item["item_id"] for item in told["items"]]
    assert told["served"] == "popular"
    assert got == [item.item_id for item in popular if item.item_id not in seen]


@pytest.mark.parametrize("fault", [RuntimeError("user-0 broke it"), TimeoutError(), MemoryError()])
def test_a_broken_model_is_no_error(
    stalled: tuple[TestClient, Service, Stalled], fault: Exception
) -> None:
    client, _, recommender = stalled
    recommender.fault = fault
    for path, body, rung in (
        ("recommend", {"user_id": "user-0"}, "popular"),
        ("recommend", {"user_id": "user-0", "filters": {"about": "Topic 1"}}, "popular"),
        ("similar", {"item_id": "item-0"}, "popular"),
        ("search", {"text": "item 1"}, "unavailable"),
        ("explain", {"user_id": "user-0", "item_id": "item-0"}, "unavailable"),
        ("vectors", {"user_id": "user-0"}, "unavailable"),
    ):
        answer = client.post(f"/v1/{path}", json=body)
        assert (answer.status_code, answer.json()["served"]) == (200, rung), answer.text
    many = client.post("/v1/recommend-many", json={"users": [{"user_id": "a"}, {"user_id": "b"}]})
    assert [one["served"] for one in many.json()["answers"]] == ["popular", "popular"]


def test_where_popularity_fails_too_the_ready_list_answers_and_keeps_filters(
    stalled: tuple[TestClient, Service, Stalled],
) -> None:
    client, _, recommender = stalled
    ready = [item.item_id for item in recommender.recommend(history=(), k=60)]
    recommender.popular_too = True
    recommender.go_on.clear()
    asked = {"history": [ready[0]], "exclude": [ready[1]], "k": 3}
    told = client.post("/v1/recommend", json=asked).json()
    assert [item["item_id"] for item in told["items"]] == ready[2:5]
    assert [item["rank"] for item in told["items"]] == [1, 2, 3]
    told = client.post("/v1/recommend", json={**asked, "filters": {"about": "Topic 1"}}).json()
    assert (told["served"], told["items"]) == ("popular", [])
    assert "filters could not be looked up" in told["reason"]


def test_an_unknown_item_is_told_where_the_model_is_broken_as_well(
    stalled: tuple[TestClient, Service, Stalled],
) -> None:
    client, _, recommender = stalled
    recommender.fault = RuntimeError("broken")
    asked = {"user_id": "user-0", "filters": {"nothing": 1}}
    assert client.post("/v1/recommend", json=asked).status_code == 422


def test_the_last_answer_is_not_told_after_an_event_nor_after_a_forget(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    given = {"no_auth": True, "event_log": tmp_path / "log", "state": tmp_path / "state"}
    with running(tmp_path, kind=Stalled, **given) as (client, service):
        recommender = service.recommender
        assert isinstance(recommender, Stalled)
        for change, body in (
            ("observe", {"events": [{"user_id": "user-0", "item_id": "item-0"}]}),
            ("forget", {"user_id": "user-0"}),
        ):
            recommender.fault = None
            asked = {"user_id": "user-0"}
            assert client.post("/v1/recommend", json=asked).json()["served"] == "personalised"
            assert len(service.ladder.cache) == 1
            assert client.post(f"/v1/{change}", json=body).status_code == 200
            assert len(service.ladder.cache) == 0
            recommender.fault = RuntimeError("broken")
            assert client.post("/v1/recommend", json=asked).json()["served"] == "popular"


def test_an_artifact_deleted_while_it_serves_goes_on_answering(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    with running(tmp_path, no_auth=True) as (client, service):
        before = client.post("/v1/recommend", json={"user_id": "user-0"}).json()["items"]
        shutil.rmtree(folder)
        (tmp_path / "current").write_text(f"../../etc {'0' * 64}\n")
        service.look()
        assert client.get("/ready").status_code == 200
        assert client.post("/v1/recommend", json={"user_id": "user-0"}).json()["items"] == before
        (tmp_path / "current").unlink()
        service.look()
        assert client.post("/v1/recommend", json={"user_id": "user-0"}).json()["items"] == before
        assert 'kgrec_artifact_swaps_total{outcome="failed"}' in client.get("/metrics").text


def test_a_full_event_log_is_told_to_come_again(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    with running(tmp_path, no_auth=True, event_log=tmp_path / "log") as (client, service):
        service.recommender.close()  # nothing can be appended any more
        body = {"events": [{"user_id": "user-0", "item_id": "item-0"}]}
        answer = client.post("/v1/observe", json=body)
        assert (answer.status_code, answer.json()["error"]) == (503, "write_failed")
        assert answer.headers["retry-after"] == "5"
        assert client.post("/v1/recommend", json={"user_id": "user-0"}).status_code == 200


def test_too_many_at_once_and_a_service_that_stops_say_come_again(root: Path) -> None:
    with running(root, no_auth=True, max_in_flight=1) as (client, service):
        service.in_flight = 1
        answer = client.post("/v1/recommend", json={"user_id": "user-0"})
        assert (answer.status_code, answer.json()["error"]) == (503, "overloaded")
        service.in_flight = 0
        service.draining = True
        answer = client.post("/v1/recommend", json={"user_id": "user-0"})
        assert (answer.status_code, answer.json()["error"]) == (503, "draining")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
