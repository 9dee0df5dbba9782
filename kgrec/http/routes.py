"""The questions under /v1: each checks the limits, asks the ladder, and dresses the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request

from kgrec.data.interactions import FloatArray
from kgrec.http import responses as out
from kgrec.http.answer_cache import request_key
from kgrec.http.gate import RefusedError
from kgrec.http.ladder import NoAnswerError, Rung
from kgrec.http.requests import (
    AddItemRequest,
    ExplainRequest,
    ForgetRequest,
    ItemRequest,
    ObserveRequest,
    Person,
    RecommendManyRequest,
    RecommendRequest,
    RemoveItemRequest,
    SearchRequest,
    VectorsRequest,
)
from kgrec.http.service import Service
from kgrec.serving.answers import Recommendations
from kgrec.serving.new_items import AddedItem
from kgrec.serving.observing import make_event
from kgrec.serving.recommender import Recommender

router = APIRouter(prefix="/v1")
T = TypeVar("T")


class Call:
    """One request: the service it is for, its id, and what the log is told of it."""

    def __init__(self, request: Request) -> None:
        self.service: Service = request.app.state.service
        self._told = request.state.told
        self.request_id: str = self._told["request_id"]

    def tell(self, artifact_id: str, *rungs: Rung) -> None:
        """Leave artifact and rungs for the log and the counts."""
        self._told["artifact_id"] = artifact_id
        if rungs:
            self._told["served"] = rungs[0] if len(set(rungs)) == 1 else "mixed"
            self._told["rungs"] = rungs


async def _call(request: Request) -> Call:
    return Call(request)  # a class, or a function that is not async, would be called on a thread


This = Annotated[Call, Depends(_call)]


@router.post("/recommend")
async def recommend(asked: RecommendRequest, call: This) -> out.ItemsAnswer:
    """Return the best items for a user, or for anybody by a history."""
    _check(call, k=asked.k, people=[asked])
    (served,) = await call.service.ladder.recommend([asked], asked)
    call.tell(served.answer.artifact_id, served.rung)
    return out.ItemsAnswer.of(served.answer, served.rung, call.request_id)


@router.post("/recommend-many")
async def recommend_many(asked: RecommendManyRequest, call: This) -> out.ManyAnswer:
    """Return the best items for each of several people."""
    _check(call, k=asked.k, people=asked.users, batch=len(asked.users))
    found = await call.service.ladder.recommend(asked.users, asked)
    artifact_id = found[0].answer.artifact_id
    call.tell(artifact_id, *(served.rung for served in found))
    answers = [out.ItemsAnswer.of(one.answer, one.rung, call.request_id) for one in found]
    return out.ManyAnswer(artifact_id=artifact_id, request_id=call.request_id, answers=answers)


@router.post("/similar")
async def similar(asked: ItemRequest, call: This) -> out.ItemsAnswer:
    """Return the items most like one item."""
    _check(call, k=asked.k)
    served = await call.service.ladder.about_item("similar", asked.item_id, asked)
    call.tell(served.answer.artifact_id, served.rung)
    return out.ItemsAnswer.of(served.answer, served.rung, call.request_id)


@router.post("/complementary")
async def complementary(asked: ItemRequest, call: This) -> out.ItemsAnswer:
    """Return the items that go with one item: liked by the same people and after it."""
    _check(call, k=asked.k)
    served = await call.service.ladder.about_item("complementary", asked.item_id, asked)
    call.tell(served.answer.artifact_id, served.rung)
    return out.ItemsAnswer.of(served.answer, served.rung, call.request_id)


@router.post("/search")
async def search(asked: SearchRequest, call: This) -> out.ItemsAnswer:
    """Return the items whose titles are nearest to a text."""
    _check(call, k=asked.k)
    recommender = call.service.recommender
    answer, rung = await call.service.ladder.ask(
        request_key("search", asked.model_dump()),
        None,
        lambda: recommender.search(asked.text, k=asked.k, filters=asked.filters),
        "catalogue",
    )
    if answer is None:
        answer = Recommendations((), False, recommender.artifact_id, "no search in time")
    call.tell(answer.artifact_id, rung)
    return out.ItemsAnswer.of(answer, rung, call.request_id)


@router.post("/explain")
async def explain(asked: ExplainRequest, call: This) -> out.ExplainAnswer:
    """Say why an item would be recommended."""
    _check(call, people=[asked])
    recommender = call.service.recommender
    found, rung = await call.service.ladder.ask(
        request_key("explain", asked.model_dump()),
        asked.user_id,
        lambda: _of_one_artifact(
            recommender,
            lambda: recommender.explain(asked.user_id, asked.item_id, history=asked.events()),
        ),
        "personalised",
    )
    artifact_id, explanation = found or (recommender.artifact_id, None)
    call.tell(artifact_id, rung)
    return out.ExplainAnswer(
        artifact_id=artifact_id,
        request_id=call.request_id,
        explanation=None if explanation is None else out.ExplanationBody.of(explanation),
        served=rung,
    )


@router.post("/vectors")
async def vectors(asked: VectorsRequest, call: This) -> out.VectorsAnswer:
    """Return vectors of items, or the vector of one person."""
    _check(call, people=[asked])
    who = asked.user_id is not None or asked.history is not None
    if who == bool(asked.item_ids):
        raise RefusedError(
            422,
            "bad_request",
            "Expected item_ids or one person (user_id, history), got "
            f"{'both' if who else 'neither'}",
        )
    recommender = call.service.recommender

    def look_up() -> FloatArray:
        if who:
            return recommender.user_vector(asked.user_id, history=asked.events())[None]
        return recommender.item_vectors(asked.item_ids)

    found, rung = await call.service.ladder.ask(
        request_key("vectors", asked.model_dump()),
        asked.user_id,
        lambda: _of_one_artifact(recommender, look_up),
        "personalised" if who else "catalogue",
    )
    artifact_id, rows = found or (recommender.artifact_id, None)
    call.tell(artifact_id, rung)
    return out.VectorsAnswer(
        artifact_id=artifact_id,
        request_id=call.request_id,
        item_ids=asked.item_ids,
        vectors=None if rows is None else rows.tolist(),
        served=rung,
    )


@router.post("/observe")
async def observe(asked: ObserveRequest, call: This) -> out.ObserveAnswer:
    """Keep what users did; all events are on disk when the answer comes."""
    service = call.service
    if service.config.event_log is None:
        raise _not_set_up("event_log", "events to be kept")
    _check(call, batch=len(asked.events))
    artifact_id = service.recommender.artifact_id
    events = []
    for one in asked.events:
        details = one.details()
        details["artifact_version"] = details["artifact_version"] or artifact_id
        events.append(make_event(one.user_id, one.item_id, **details))
    observed = await _write(call, lambda: service.recommender.observe_many(events))
    for user_id in {event.user_id for event in events}:
        service.ladder.cache.drop_user(user_id)
    call.tell(artifact_id)
    return out.ObserveAnswer(
        artifact_id=artifact_id,
        request_id=call.request_id,
        observed=[out.ObservedBody.model_validate(one.to_dict()) for one in observed],
    )


@router.post("/forget")
async def forget(asked: ForgetRequest, call: This) -> out.ForgetAnswer:
    """Forget a user: gone from every answer that begins after this one."""
    service, user_id = call.service, asked.user_id
    if service.config.state is None:
        raise _not_set_up("state", "users to be forgotten")
    newly = await _write(call, lambda: service.recommender.forget(user_id))
    service.ladder.cache.drop_user(user_id)
    artifact_id = service.recommender.artifact_id
    call.tell(artifact_id)
    return out.ForgetAnswer(
        artifact_id=artifact_id, request_id=call.request_id, forgotten=True, newly=newly
    )


@router.post("/items/add")
async def add_item(asked: AddItemRequest, call: This) -> out.AddItemAnswer:
    """Add an item that the artifact does not hold; the next answer may recommend it."""
    service = call.service
    if service.config.state is None:
        raise _not_set_up("state", "items to be changed")

    def change() -> AddedItem:
        values = asked.model_dump(exclude={"item_id", "title"})
        added = service.recommender.add_item(asked.item_id, asked.title, **values)
        service.ladder.items_changed()
        return added

    added = await _write(call, change)
    artifact_id = service.recommender.artifact_id
    call.tell(artifact_id)
    return out.AddItemAnswer.model_validate(
        {**added.to_dict(), "artifact_id": artifact_id, "request_id": call.request_id}
    )


@router.post("/items/remove")
async def remove_item(asked: RemoveItemRequest, call: This) -> out.RemoveItemAnswer:
    """Take an item out of every answer that begins after this one."""
    service = call.service
    if service.config.state is None:
        raise _not_set_up("state", "items to be changed")

    def change() -> bool:
        newly = service.recommender.remove_item(asked.item_id)
        service.ladder.items_changed()
        return newly

    newly = await _write(call, change)
    artifact_id = service.recommender.artifact_id
    call.tell(artifact_id)
    return out.RemoveItemAnswer(
        artifact_id=artifact_id, request_id=call.request_id, removed=True, newly=newly
    )


def _check(call: Call, *, k: int = 1, people: Sequence[Person] = (), batch: int = 1) -> None:
    """Refuse what is larger than the service was set up for."""
    config = call.service.config
    longest = max((len(person.history or ()) for person in people), default=0)
    for name, size, most in (
        ("k", k, config.max_k),
        ("length of a history", longest, config.max_history),
        ("number of parts", batch, config.max_batch),
    ):
        if size > most:
            raise RefusedError(
                422,
                "too_many_parts",
                f"Expected a {name} of at most {most}, got {size}; ask for less",
            )


async def _write(call: Call, change: Callable[[], T]) -> T:
    try:
        return await call.service.ladder.write(change)
    except NoAnswerError as error:
        raise RefusedError(
            503,
            "write_failed",
            "Expected the write to end in time, got no answer from the disk; "
            "whether it was made is not known: send it again, with the same event_id",
            5,
        ) from error


def _not_set_up(setting: str, what: str) -> RefusedError:
    option = setting.replace("_", "-")
    return RefusedError(
        409,
        "not_set_up",
        f"Expected a service set up for {what}, got one without; start "
        f"'kgrec serve' with --{option} FOLDER",
    )


def _of_one_artifact(recommender: Recommender, ask: Callable[[], T]) -> tuple[str, T]:
    """Return what is told, and by which artifact; asks again where it changed meanwhile."""
    while True:
        artifact_id = recommender.artifact_id
        told = ask()
        if recommender.artifact_id == artifact_id:
            return artifact_id, told
